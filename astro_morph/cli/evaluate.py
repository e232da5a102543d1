# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Compare the predictions of a model with the labels of a catalogue."""

from pathlib import Path

from astro_morph.cli import options
from astro_morph.cli.files import find_source, load_model, make_folder, read_catalog
from astro_morph.utils.files import check_new

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main']

EXAMPLE = "labelled.fits --model model.pt --source 'tiles/*-{band}.fits'"
SHARED = [options.CATALOG, options.LABELS, options.OVERWRITE]


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
        check_new(arguments.report, overwrite=arguments.overwrite)
    X = read_catalog(arguments.X)
    model = load_model(arguments.model, label_column=arguments.label_column)
    model.source = find_source(arguments, X, bands=model.model_.spec.bands)
    if arguments.report is None:
        print(model.evaluate(X))
    else:
        make_folder(arguments.report)
        print(model.report(X, arguments.report, overwrite=arguments.overwrite))
