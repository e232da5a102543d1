# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Imitate the image service of Pan-STARRS1: a list of the stacks at a position, and parts of stacks.

Overlapping stacks cover the sky, the first on its pixels, others rotated by up to four degrees. As
in the archive (https://outerspace.stsci.edu/display/PANSTARRS/PS1+Image+Cutout+Service), the list
names the one stack that holds the position best, and the parts have linear counts with the zero
point 25 + 2.5 log10(exposure time). What was not observed is NaN.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D, NoOverlapError
from astropy.wcs import WCS

from astro_morph.simulation.services.rendering import fits_bytes, render, render_planes
from astro_morph.simulation.services.server import Answer

__all__ = ['BITS', 'HANDLERS', 'STACK']

#: Side of a stack, and overlap with the next one, in pixels. Those of the archive have 6240 pixels.
STACK, _OVERLAP = 320, 40

# Stacks of so many angles.
_N_ANGLES = 5

#: Bits of a bad pixel, and of one that is only suspected
#: (https://outerspace.stsci.edu/display/PANSTARRS/PS1+Pixel+flags+in+Image+Table+Data).
BITS = {'SAT': 0x0020, 'SUSPECT': 0x0080}

_EXPOSURES = {'g': 516.0, 'r': 720.0, 'i': 900.0, 'z': 540.0, 'y': 480.0}

_COLUMNS = 'projcell subcell ra dec filter mjd type filename shortname badflag'
_ENDINGS = {'stack': '', 'stack.wt': '.wt', 'stack.mask': '.mask'}


def list_files(sky, request):
    """List the stack that holds a position, in each filter and of each type."""
    params = request.params
    position = SkyCoord(params['ra'], params['dec'], unit='deg')
    number = _find_stack(sky, position)
    lines = [_COLUMNS]
    if number is not None:
        for band, kind in product(params.get('filters', 'grizy'), params['type'].split(',')):
            name = f'rings.v3.skycell.1234.{number:03d}.stk.{band}.unconv{_ENDINGS[kind]}.fits'
            where = f'1234 {number} {params["ra"]} {params["dec"]}'
            path = f'/rings.v3.skycell/1234/{number:03d}/{name}'
            if band in sky.bands:
                lines.append(f'{where} {band} 0.0 {kind} {path} {name} 0')
    return Answer('\n'.join([*lines, '']), 'text/plain')


def send_part(sky, request):
    """Send the part of a stack, its variance or its mask around a position."""
    params = request.params
    _, number, _, band, _, *kind, _ = params['red'].rpartition('skycell.1234')[2].split('.')
    stack = _stacks(sky)[int(number)]
    exposure = _EXPOSURES[band]
    pixels = _draw(sky, stack, band, kind[0] if kind else 'image', exposure)
    position = SkyCoord(params['ra'], params['dec'], unit='deg')
    try:
        part = Cutout2D(
            pixels, position, int(params['size']), stack.wcs, mode='partial', fill_value=np.nan
        )
    except NoOverlapError:
        return Answer('<html>Error: position is outside the image</html>')
    hdu = fits.PrimaryHDU(part.data, part.wcs.to_header())
    hdu.header['EXPTIME'] = exposure
    return Answer(fits_bytes([hdu]), 'image/fits')


HANDLERS = {'/cgi-bin/ps1filenames.py': list_files, '/cgi-bin/fitscut.cgi': send_part}


class _Stack(NamedTuple):
    wcs: WCS
    centre: SkyCoord


def _stacks(sky):
    """Return the stacks that cover the sky."""
    ny, nx = sky.flux.shape[1:]
    step = STACK - _OVERLAP
    stacks = []
    first = -_OVERLAP // 2
    for y, x in product(range(first, ny, step), range(first, nx, step)):
        centre = sky.wcs.deepcopy().pixel_to_world(x + (STACK - 1) / 2, y + (STACK - 1) / 2)
        wcs = sky.wcs.deepcopy()
        wcs.wcs.crval = centre.ra.deg, centre.dec.deg
        wcs.wcs.crpix = (STACK + 1) / 2, (STACK + 1) / 2
        angle = np.radians(len(stacks) % _N_ANGLES)
        wcs.wcs.pc = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        stacks.append(_Stack(wcs, centre))
    return stacks


def _find_stack(sky, position):
    """Return the number of the stack whose centre is nearest, None if none holds the position."""
    stacks = _stacks(sky)
    distances = [position.separation(stack.centre).deg for stack in stacks]
    number = int(np.argmin(distances))
    x, y = stacks[number].wcs.world_to_pixel(position)
    return number if -0.5 < x < STACK - 0.5 and -0.5 < y < STACK - 0.5 else None


def _draw(sky, stack, band, kind, exposure):
    """Return the pixels of a stack: counts, their variance, or the bits of its mask."""
    shape = STACK, STACK
    counts = np.float32(10 * exposure)  # of a nanomaggy
    if kind == 'image':
        return render(sky, stack.wcs, shape, band) * counts
    variance, is_bad = render_planes(sky, stack.wcs, shape, band)
    if kind == 'wt':
        return variance * counts**2
    # Every pixel is suspected, which is no reason to leave it out.
    return np.where(is_bad, BITS['SAT'] | BITS['SUSPECT'], BITS['SUSPECT']).astype(np.float32)
