# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Label galaxies by eye, on a web page that only this machine can open."""

from pathlib import Path

from astro_morph.cli import options
from astro_morph.cli.files import find_source, make_folder, name_beside, read_catalog

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main']

EXAMPLE = "survey.fits --classes spiral,elliptical,merger --source 'tiles/*-{band}.fits'"
SHARED = [options.CATALOG, options.LABELS, options.SIZE, options.RUN]


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
        type=names_of_classes,
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
        help="encoder that computes the features: 'auto' for the bundled one, or the file of one "
        '(default: auto)',
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
    X = read_catalog(arguments.X)
    source = find_source(arguments, X)
    output = arguments.output or name_beside(arguments.X, 'labelled')
    make_folder(output)
    from astro_morph.estimators.classifier import MorphologyClassifier
    from astro_morph.labelling import label

    classifier = MorphologyClassifier(
        source,
        label_column=arguments.label_column,
        encoder=arguments.encoder,
        size=arguments.size,
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


def names_of_classes(text):
    """Read the names of classes."""
    return [name.strip() for name in text.split(',')]
