# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Define the options that several tasks share, and read the values of options.

An option is stored under the name of the argument that it is passed on as: messages about that
argument then name the option, see `astro_morph.utils.messages`.
"""

import argparse
import re
from pathlib import Path

SOURCE = argparse.ArgumentParser(add_help=False)
SOURCE.add_argument(
    '--source',
    '--images',
    '--survey',
    dest='source',
    metavar='SOURCE',
    default='auto',
    help="where the images are: the path pattern of FITS mosaics such as 'tiles/*-{band}.fits', "
    "the name of a survey such as 'legacy-dr10', or 'auto' for the image paths (relative to the "
    'catalogue) or images in the catalogue (default: auto)',
)
SOURCE.add_argument(
    '--coord-columns',
    nargs=2,
    metavar=('RA', 'DEC'),
    help='columns of right ascension and declination (default: found by their names and UCDs)',
)

CATALOG = argparse.ArgumentParser(add_help=False, parents=[SOURCE])
CATALOG.add_argument(
    'X', metavar='catalogue', type=Path, help='file of the catalogue, or of cutouts from fetch'
)

LABELS = argparse.ArgumentParser(add_help=False)
LABELS.add_argument(
    '--labels',
    dest='label_column',
    metavar='LABELS',
    default='morphology',
    help='column of the labels (default: morphology)',
)

OVERWRITE = argparse.ArgumentParser(add_help=False)
OVERWRITE.add_argument('--overwrite', action='store_true', help='replace the file if it exists')

QUIET = argparse.ArgumentParser(add_help=False)
QUIET.add_argument(
    '--quiet',
    dest='verbose',
    action='store_const',
    const=0,
    default=1,
    help='do not show the progress',
)


def whole_number(low, high):
    """Return the reader of a whole number within limits."""

    def read(text):
        if not text.isdecimal() or not low <= int(text) <= high:
            msg = f'{text!r} must be a whole number from {low} to {high}'
            raise argparse.ArgumentTypeError(msg)
        return int(text)

    return read


def number_of_epochs(text):
    """Read a number of epochs, or 'auto'."""
    return text if text == 'auto' else whole_number(1, 10**6)(text)


def seconds(text):
    """Read a time above zero."""
    if not float(text) > 0:
        msg = f'{text!r} must be a number of seconds above 0'
        raise argparse.ArgumentTypeError(msg)
    return float(text)


def side(text):
    """Read the side of cutouts: pixels, an angle, or a factor and a column."""
    from astropy.units import Quantity

    from astro_morph.models.spec import SMALLEST_SIDE

    if text.isdecimal():
        return whole_number(SMALLEST_SIDE, 10**5)(text)
    is_quantity = re.fullmatch(r'[\d.]+\s*[a-z]+', text)
    return Quantity(text) if is_quantity else text


RUN = argparse.ArgumentParser(add_help=False, parents=[QUIET])
RUN.add_argument(
    '--random-state', type=whole_number(0, 2**32 - 1), default=0, help='seed (default: 0)'
)

SIZE = argparse.ArgumentParser(add_help=False)
SIZE.add_argument(
    '--size',
    type=side,
    help="side of the cutouts in pixels, as an angle such as '30 arcsec', or as a factor and a "
    "column such as '4*petroR90_r' (default: 64 pixels)",
)

TRAINING = argparse.ArgumentParser(add_help=False, parents=[SIZE, RUN])
TRAINING.add_argument(
    '--epochs',
    type=number_of_epochs,
    default='auto',
    help='passes over the images (default: auto)',
)
TRAINING.add_argument(
    '--max-time', type=seconds, help='seconds after which training ends (default: no limit)'
)


def training_options(arguments):
    """Return the options of a training as the estimators take them."""
    names = ('size', 'epochs', 'max_time', 'random_state', 'verbose')
    return {name: getattr(arguments, name) for name in names}
