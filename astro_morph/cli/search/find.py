# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Search the index of a catalogue for galaxies like some examples."""

import argparse
from pathlib import Path

from astro_morph.cli import options
from astro_morph.cli.files import check_table_output, load_model, make_folder

__all__ = ['EXAMPLE', 'SHARED', 'add_arguments', 'main']

EXAMPLE = 'galaxies.index --like 1207 --like 185.73,15.82 --unlike 44'
SHARED = [options.OVERWRITE]

MOST_FOUND = 10**6


def add_arguments(command):
    """Add the arguments of this task."""
    command.add_argument('index', type=Path, help='folder of the index, from the task index')
    command.add_argument(
        '--like',
        dest='examples',
        metavar='EXAMPLE',
        type=example,
        action='append',
        required=True,
        help='a galaxy to search for: the number of its row in the catalogue, from 0; its position '
        'RA,DEC in degrees; or an image file. Repeat it for several',
    )
    command.add_argument(
        '--unlike',
        metavar='EXAMPLE',
        type=example,
        action='append',
        default=[],
        help='a counter-example, likewise',
    )
    command.add_argument(
        '--n',
        type=options.whole_number(1, MOST_FOUND),
        default=20,
        help='number of galaxies to find (default: %(default)s)',
    )
    command.add_argument(
        '--output', type=Path, help='file of the table of these galaxies (default: print it)'
    )
    command.add_argument(
        '--model',
        type=Path,
        help='the model that the index was built with, for image files and for positions that are '
        'not in the catalogue',
    )
    command.add_argument(
        '--source',
        '--images',
        '--survey',
        dest='source',
        metavar='SOURCE',
        default='auto',
        help='where the images of such positions are: the name of a survey, or the path pattern '
        'of FITS mosaics',
    )


def example(text):
    """Read an example: the number of a row, a position, or the path of an image."""
    if text.isdecimal():
        return int(text)
    parts = text.split(',')
    try:
        ra, dec = map(float, parts)
    except ValueError:
        if Path(text).is_file():
            return Path(text)
        msg = (
            f'{text!r} must be the number of a row, a position RA,DEC in degrees, or the path of '
            'an image file, and there is no such file'
        )
        raise argparse.ArgumentTypeError(msg) from None
    from astropy.coordinates import SkyCoord

    try:
        return SkyCoord(ra, dec, unit='deg')
    except ValueError as error:
        msg = f'{text!r} is no position RA,DEC in degrees'
        raise argparse.ArgumentTypeError(msg) from error


def main(arguments):
    """Run the task."""
    if arguments.output is not None:
        check_table_output(arguments.output, overwrite=arguments.overwrite)
    from astro_morph.prediction.search import SearchIndex

    SearchIndex(arguments.index)  # refuses what is no index before the model is loaded
    has_model = arguments.model is not None
    index = SearchIndex(
        arguments.index,
        model=load_model(arguments.model, may_be_encoder=True) if has_model else None,
        source=arguments.source,
    )
    found = index.search(arguments.examples, arguments.n, unlike=arguments.unlike)
    if arguments.output is None:
        print(*found.pformat(max_lines=-1, max_width=-1), sep='\n')
        return
    from astro_morph.catalog.io.tables import write_table

    make_folder(arguments.output)
    write_table(found, arguments.output, overwrite=arguments.overwrite)
