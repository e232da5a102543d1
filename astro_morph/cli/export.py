# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write a model as an ONNX file, for machines without PyTorch."""

from pathlib import Path

from astro_morph.cli import options
from astro_morph.cli.files import check_exists, find_source, make_folder, read_catalog
from astro_morph.utils.files import check_new

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main']

EXAMPLE = (
    "model.onnx --model model.pt --precision int8 --on labelled.fits --source 'tiles/*-{band}.fits'"
)
SHARED = [options.SOURCE, options.LABELS, options.OVERWRITE]


def add_arguments(command):
    """Add the arguments of this task."""
    command.add_argument('output', type=Path, help='ONNX file')
    command.add_argument('--model', type=Path, required=True, help='file of the model, from fit')
    command.add_argument(
        '--precision',
        default='float32',
        choices=['float32', 'float16', 'int8'],
        help='precision of the encoder; int8 is the fastest (default: float32)',
    )
    command.add_argument(
        '--views',
        type=int,
        choices=[1, 4, 8],
        help='rotations and reflections to average (default: as many as the model)',
    )
    command.add_argument(
        '--on',
        dest='X',
        type=Path,
        metavar='CATALOGUE',
        help='galaxies, best with labels, on which the effect of lower precision and fewer views '
        'is measured; needed for both',
    )


def main(arguments):
    """Run the task."""
    check_new(arguments.output, overwrite=arguments.overwrite)
    check_exists(arguments.model)
    X = None if arguments.X is None else read_catalog(arguments.X)
    from astro_morph.estimators.classifier import MorphologyClassifier

    classifier = MorphologyClassifier.load(arguments.model, label_column=arguments.label_column)
    if X is not None:
        bands = classifier.model_.spec.bands
        classifier.source = find_source(arguments, X, bands=bands)
    make_folder(arguments.output)
    cost = classifier.to_onnx(
        arguments.output,
        X,
        precision=arguments.precision,
        views=arguments.views,
        overwrite=arguments.overwrite,
    )
    print(cost)
