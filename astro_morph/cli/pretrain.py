# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pretrain an encoder on all galaxies of a catalogue, labelled or not."""

from pathlib import Path

from astro_morph.cli import options
from astro_morph.cli.files import (
    MODEL_ENDINGS,
    check_encoder,
    check_images,
    check_output,
    find_source,
    make_folder,
    read_catalog,
    require_images,
)
from astro_morph.utils.messages import as_written

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main']

EXAMPLE = "survey.fits encoder.pt --source 'tiles/*-{band}.fits'"
SHARED = [options.CATALOG, options.CUTOUTS, options.TRAINING, options.OVERWRITE]


def add_arguments(command):
    """Add the arguments of this task."""
    command.add_argument('output', type=Path, help='file of the encoder')
    command.add_argument(
        '--start',
        help="encoder to continue: 'auto' for the bundled one, its file, or a name as for fit "
        '(default: random weights)',
    )
    command.add_argument(
        '--batch-size',
        type=options.whole_number(2, 10**6),
        default=256,
        help='images in a step, over all processes (default: 256)',
    )
    command.add_argument(
        '--checkpoint',
        type=Path,
        help='file that is written every few minutes, and when Ctrl-C or SIGTERM ends the run; '
        'if it exists, the run continues from it',
    )


def main(arguments):
    """Run the task."""
    check_output(arguments.output, endings=MODEL_ENDINGS, overwrite=arguments.overwrite)
    if arguments.start is not None:
        check_encoder(arguments.start, names=['auto'], argument='start')
    if arguments.checkpoint is not None:
        check_checkpoint(arguments)
    X = read_catalog(arguments.X)
    source = find_source(arguments, X, bands=arguments.bands)
    check_images(source, X, size=arguments.size, bands=arguments.bands)
    require_images()
    if arguments.checkpoint is not None:
        make_folder(arguments.checkpoint)
    from astro_morph.estimators.encoder import MorphologyEncoder
    from astro_morph.learning.training.processes import is_first

    encoder = MorphologyEncoder(
        source=source,
        start=arguments.start,
        batch_size=arguments.batch_size,
        checkpoint=arguments.checkpoint,
        **options.training_options(arguments),
    ).fit(X)
    if is_first():
        make_folder(arguments.output)
        encoder.save(arguments.output, overwrite=arguments.overwrite)


def check_checkpoint(arguments):
    """Check before the work that the checkpoint can be written, and is no other file."""
    path = arguments.checkpoint
    if path.resolve() in (arguments.output.resolve(), arguments.X.resolve()):
        msg = f'{as_written("checkpoint", path)} is the catalogue or the output; name another file'
        raise ValueError(msg)
    check_output(path, overwrite=True)
