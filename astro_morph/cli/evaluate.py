# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Compare the predictions of a model with the labels of a catalogue."""

from pathlib import Path

from astro_morph.cli import options
from astro_morph.cli.files import (
    check_images,
    check_labels,
    check_model,
    check_output,
    find_source,
    load_classifier,
    make_folder,
    read_catalog,
    require_images,
)

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main']

EXAMPLE = "labelled.fits --model model.pt --source 'tiles/*-{band}.fits'"
SHARED = [options.CATALOG, options.LABELS, options.OVERWRITE, options.QUIET]


def add_arguments(command):
    """Add the arguments of this task."""
    command.add_argument(
        '--model', type=Path, required=True, help='file of the model, from fit or export'
    )
    command.add_argument(
        '--report',
        type=Path,
        help='HTML file of a web page with charts and the most confident misclassifications',
    )


def main(arguments):
    """Run the task."""
    if arguments.report is not None:
        check_output(arguments.report, endings=('.html', '.htm'), overwrite=arguments.overwrite)
    check_model(arguments.model)
    X = read_catalog(arguments.X)
    check_labels(X, arguments.label_column)
    check_images(find_source(arguments, X), X)
    require_images()
    model = load_classifier(
        arguments.model, label_column=arguments.label_column, verbose=arguments.verbose
    )
    model.source = find_source(arguments, X, bands=model.model_.spec.bands)
    if arguments.report is None:
        print(model.evaluate(X))
    else:
        make_folder(arguments.report)
        print(model.report(X, arguments.report, overwrite=arguments.overwrite))
