# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Define the options that several tasks share, and read the values of options.

An option is stored under the name of the argument that it is passed on as: messages about that
argument then name the option, see `astro_morph.utils.messages`.
"""

import argparse
import math
import re
from pathlib import Path


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


def number(text):
    """Read a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        msg = f'{text!r} must be a number'
        raise argparse.ArgumentTypeError(msg)
    return value


def number_or_column(text):
    """Read a number, or the name of a column."""
    try:
        return float(text)
    except ValueError:
        return text


def seconds(text):
    """Read a time above zero."""
    if number(text) <= 0:
        msg = f'{text!r} must be a number of seconds above 0'
        raise argparse.ArgumentTypeError(msg)
    return number(text)


def names(text):
    """Read names between commas."""
    read = [name.strip() for name in text.split(',')]
    if '' in read or len({*read}) < len(read):
        msg = f'{text!r} must be different names with a comma between each two, such as a,b,c'
        raise argparse.ArgumentTypeError(msg)
    return read


def names_of_bands(text):
    """Read the names of bands, or 'rgb'."""
    return text if text == 'rgb' else names(text)


def zero_points(text):
    """Read the zero point of all bands, or those of each band."""
    values = [number(part) for part in text.split(',')]
    return values[0] if len(values) == 1 else values


def quantity(text, unit, example):
    """Read a number with a unit."""
    from astropy.units import Quantity

    try:
        value = Quantity(text)
        is_valid = value.isscalar and value > 0 * unit
    except (TypeError, ValueError):
        is_valid = False
    if not is_valid:
        msg = f'{text!r} must be a number above 0 and a unit, such as {example!r}'
        raise argparse.ArgumentTypeError(msg)
    return value


def side(text):
    """Read the side of cutouts: pixels, an angle, or a factor and a column."""
    from astropy.units import arcsec

    from astro_morph.models.spec import SMALLEST_SIDE

    if re.fullmatch(r'[-+]?[\d.]+', text):
        return whole_number(SMALLEST_SIDE, 10**5)(text)
    if re.fullmatch(r'[-+]?[\d.]+\s*[A-Za-z]+', text):
        return quantity(text, arcsec, '30 arcsec')
    return text


def _shared(*parents):
    """Return the parser of options that several tasks share."""
    return argparse.ArgumentParser(add_help=False, parents=parents)


SOURCE = _shared()
SOURCE.add_argument(
    '--source',
    '--images',
    '--survey',
    dest='source',
    metavar='SOURCE',
    default='auto',
    help="where the images are: the path pattern of FITS mosaics such as 'tiles/*-{band}.fits', "
    "the name of a survey such as 'legacy-dr10' or a TOML file that describes yours, or 'auto' for "
    'the image paths (relative to the catalogue) or images in the catalogue (default: auto)',
)
SOURCE.add_argument(
    '--coord-columns',
    nargs=2,
    metavar=('RA', 'DEC'),
    help='columns of right ascension and declination (default: found by their names and UCDs)',
)
SOURCE.add_argument(
    '--image-column',
    metavar='PATH',
    help='column of image paths (default: found by its name)',
)
SOURCE.add_argument(
    '--zero-point',
    type=zero_points,
    help='AB magnitude of a value of one in FITS mosaics: a number, or one for each band such as '
    '22.5,22.5,22.4 (default: from the unit in their headers)',
)
SOURCE.add_argument(
    '--planes',
    action='store_true',
    help='request variance and mask from the service of a survey, too; files have them anyway',
)

CATALOG = _shared(SOURCE)
CATALOG.add_argument(
    'X', metavar='catalogue', type=Path, help='file of the catalogue, or of cutouts from fetch'
)

LABEL_COLUMN = 'morphology'
LABELS = _shared()
LABELS.add_argument(
    '--labels',
    dest='label_column',
    metavar='LABELS',
    default=LABEL_COLUMN,
    help='column of the labels (default: %(default)s)',
)

OVERWRITE = _shared()
OVERWRITE.add_argument('--overwrite', action='store_true', help='replace the file if it exists')

DEBUG = _shared()
DEBUG.add_argument(
    '--debug',
    action='store_true',
    help='show where an error was raised, and the warnings of other packages',
)

QUIET = _shared()
QUIET.add_argument(
    '--quiet',
    dest='verbose',
    action='store_const',
    const=0,
    default=1,
    help='do not show the progress',
)

RUN = _shared(QUIET)
RUN.add_argument(
    '--random-state', type=whole_number(0, 2**32 - 1), default=0, help='seed (default: 0)'
)

# A model knows size and bands of its images; these are for tasks that have none yet.
CUTOUTS = _shared()
CUTOUTS.add_argument(
    '--size',
    type=side,
    help="side of the cutouts in pixels, as an angle such as '30 arcsec', or as a factor and a "
    "column such as '4*petroR90_r' (default: 64 pixels)",
)
CUTOUTS.add_argument(
    '--bands',
    type=names_of_bands,
    help="bands such as 'g,r,z', or 'rgb' for colour pictures (default: all of the images)",
)

FRAMING = _shared()
FRAMING.add_argument(
    '--size',
    type=side,
    help='what the cutouts span, for a model whose cutouts follow a column of sizes: a column or '
    "an expression in its place such as '3.28*my_r90', or an angle such as 20arcsec (default: "
    'that of the training)',
)

TRAINING = _shared(RUN)
TRAINING.add_argument(
    '--epochs',
    type=number_of_epochs,
    default='auto',
    help='passes over the images (default: auto)',
)
TRAINING.add_argument(
    '--max-time', type=seconds, help='seconds after which training ends (default: no limit)'
)
TRAINING.add_argument(
    '--views',
    choices=['all', 'rotations'],
    default='all',
    help='what training and predictions average over: all eight rotations and reflections of the '
    'square, or its four rotations, so that the sense of winding can be learnt (default: all)',
)


def training_options(arguments):
    """Return the options of a training as the estimators take them."""
    names = ('size', 'bands', 'epochs', 'max_time', 'random_state', 'verbose', 'views')
    return {name: getattr(arguments, name) for name in names}
