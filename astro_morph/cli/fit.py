# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Train a classifier on the labelled galaxies of a catalogue."""

from pathlib import Path

from astro_morph.cli import options
from astro_morph.cli.files import find_source, make_folder, read_catalog
from astro_morph.utils.files import check_new

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main']

EXAMPLE = "labelled.fits model.pt --source 'tiles/*-{band}.fits'"
SHARED = [options.CATALOG, options.LABELS, options.TRAINING, options.OVERWRITE]


def add_arguments(command):
    """Add the arguments of this task."""
    command.add_argument('output', type=Path, help='file of the model')
    command.add_argument(
        '--encoder',
        default='auto',
        help="encoder to start from: 'auto' for the bundled one, 'moco' to pretrain one on this "
        "catalogue first, 'random', or the file of one (default: auto)",
    )
    command.add_argument(
        '--strategy',
        default='auto',
        choices=['auto', 'linear', 'head', 'fine-tune', 'semi-supervised'],
        help='how the classes are learnt (default: auto)',
    )


def main(arguments):
    """Run the task."""
    check_new(arguments.output, overwrite=arguments.overwrite)
    X = read_catalog(arguments.X)
    source = find_source(arguments, X)
    make_folder(arguments.output)
    from astro_morph.estimators.classifier import MorphologyClassifier
    from astro_morph.learning.training.processes import is_first

    classifier = MorphologyClassifier(
        source,
        label_column=arguments.label_column,
        encoder=arguments.encoder,
        strategy=arguments.strategy,
        **options.training_options(arguments),
    ).fit(X)
    if is_first():
        classifier.save(arguments.output, overwrite=arguments.overwrite)
