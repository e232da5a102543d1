# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Show, prune or clear the cache of fetched images."""

from astro_morph.cli import options
from astro_morph.utils.messages import as_written

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main']

EXAMPLE = 'prune --max-size 2GB'
SHARED = []


def add_arguments(command):
    """Add the arguments of this task."""
    command.add_argument(
        'action', nargs='?', default='show', choices=['show', 'prune', 'clear'], help='what to do'
    )
    command.add_argument(
        '--max-size',
        type=size_in_bytes,
        help='size to prune to; the images unused for longest are removed first (default: that '
        'of the configuration)',
    )


def main(arguments):
    """Run the task."""
    if arguments.max_size is not None and arguments.action != 'prune':
        msg = f'{as_written("max_size")} is for prune, not for {arguments.action}'
        raise ValueError(msg)
    from astro_morph.cutouts import CutoutCache

    cache = CutoutCache()
    if arguments.action == 'prune':
        cache.prune(cache.max_size if arguments.max_size is None else arguments.max_size)
    elif arguments.action == 'clear':
        cache.clear()
    print(cache.describe())


def size_in_bytes(text):
    """Read a size such as 2GB."""
    from astropy.units import byte

    return options.quantity(text, byte, '2GB').to_value(byte)
