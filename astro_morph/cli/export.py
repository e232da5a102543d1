# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write a model as an ONNX file, for machines without PyTorch."""

from pathlib import Path

from astro_morph.cli import options
from astro_morph.cli.files import (
    check_images,
    check_model,
    check_output,
    find_source,
    frame_model,
    load_estimator,
    make_folder,
    read_catalog,
    require_images,
)
from astro_morph.utils.messages import as_written

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main']

EXAMPLE = (
    "model.onnx --model model.pt --precision int8 --on labelled.fits --source 'tiles/*-{band}.fits'"
)
SHARED = [options.SOURCE, options.FRAMING, options.LABELS, options.OVERWRITE, options.QUIET]


def add_arguments(command):
    """Add the arguments of this task."""
    command.add_argument('output', type=Path, help='ONNX file')
    command.add_argument(
        '--model',
        type=Path,
        required=True,
        help='file of the model, from fit, or the name of a bundled one',
    )
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
    check_output(arguments.output, endings=('.onnx',), overwrite=arguments.overwrite)
    check_model(arguments.model)
    if arguments.model.suffix == '.onnx':
        msg = f'{str(arguments.model)!r} is an ONNX file already; name the model that fit wrote'
        raise ValueError(msg)
    if arguments.X is None and arguments.precision != 'float32':
        msg = (
            f'{as_written("precision", arguments.precision)} changes the predictions; name a '
            f'catalogue of a few hundred galaxies as {as_written("X")} to measure how much'
        )
        raise ValueError(msg)
    X = None if arguments.X is None else read_catalog(arguments.X)
    if X is not None:
        check_images(find_source(arguments, X), X)
        require_images()
    estimator = load_estimator(
        arguments.model, label_column=arguments.label_column, verbose=arguments.verbose
    )
    if X is not None:
        frame_model(estimator.model_, arguments.size)
        estimator.size = arguments.size
        bands = estimator.model_.spec.bands
        estimator.source = find_source(arguments, X, bands=bands)
    make_folder(arguments.output)
    cost = estimator.to_onnx(
        arguments.output,
        X,
        precision=arguments.precision,
        views=arguments.views,
        overwrite=arguments.overwrite,
    )
    print(cost)
