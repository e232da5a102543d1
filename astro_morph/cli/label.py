# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Label galaxies by eye, on a web page that only this machine can open."""

from pathlib import Path

from astro_morph.cli import options
from astro_morph.cli.files import (
    check_encoder,
    check_images,
    check_table_output,
    find_source,
    make_folder,
    name_beside,
    read_catalog,
    require_images,
)

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main']

EXAMPLE = "survey.fits --classes spiral,elliptical,merger --source 'tiles/*-{band}.fits'"
SHARED = [options.CATALOG, options.LABELS, options.CUTOUTS, options.RUN]


def add_arguments(command):
    """Add the arguments of this task."""
    command.add_argument(
        '--output',
        type=Path,
        help='file of the labelled catalogue; if it exists, labelling continues from it (default: '
        'the name of the catalogue with -labelled)',
    )
    command.add_argument(
        '--classes',
        type=options.names,
        help='classes to choose from, such as spiral,elliptical,merger (default: those of the '
        'labels in the catalogue)',
    )
    command.add_argument(
        '--criterion',
        default='diverse',
        choices=['diverse', 'margin', 'entropy', 'novelty'],
        help='how the next galaxies are chosen (default: diverse)',
    )
    command.add_argument(
        '--encoder',
        default='auto',
        help="encoder that computes the features: 'auto' for the bundled one, the file of one, or "
        "a published one as 'hf-hub:OWNER/NAME', 'local-dir:FOLDER' or 'timm:NAME' (default: auto)",
    )
    command.add_argument(
        '--port',
        type=options.whole_number(0, 65535),
        default=0,
        help='port of the page (default: any free one)',
    )
    command.add_argument(
        '--no-browser',
        dest='show',
        action='store_false',
        help='print the address of the page, but do not open it',
    )


def main(arguments):
    """Run the task."""
    from astro_morph.cutouts import catalog_of
    from astro_morph.labelling.label_table import LabelTable
    from astro_morph.labelling.page import check_flask, listen

    check_flask()
    output = arguments.output or name_beside(arguments.X, 'labelled')
    check_table_output(output, overwrite=True)
    check_encoder(arguments.encoder, names=['auto'])
    X = read_catalog(arguments.X)
    source = find_source(arguments, X, bands=arguments.bands)
    check_images(source, X, size=arguments.size, bands=arguments.bands)
    require_images()
    listen(arguments.port).close()
    make_folder(output)
    LabelTable(
        catalog_of(X), output, classes=arguments.classes, label_column=arguments.label_column
    )
    from astro_morph.estimators.classifier import MorphologyClassifier
    from astro_morph.labelling import label

    classifier = MorphologyClassifier(
        source,
        label_column=arguments.label_column,
        encoder=arguments.encoder,
        size=arguments.size,
        bands=arguments.bands,
        random_state=arguments.random_state,
        verbose=arguments.verbose,
    )
    table = label(
        X,
        output,
        classifier=classifier,
        classes=arguments.classes,
        criterion=arguments.criterion,
        port=arguments.port,
        show=arguments.show,
    )
    n_labels = len(table) - table[arguments.label_column].mask.sum()
    print(f'{n_labels} of {len(table)} galaxies have a label in {output}')
