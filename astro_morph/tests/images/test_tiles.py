# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Maps that go round the sky: positions are found across the seam, and beyond 180 degrees."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from astro_morph import decode_flags
from astro_morph.cutouts import Mosaics

STEP = 0.5


def write_map(path, projection, *, first, n, direction=-1):
    """Write a map from a Galactic longitude on, where each pixel holds its cos(lon) + 2."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = f'GLON-{projection}', f'GLAT-{projection}'
    wcs.wcs.crval = first, 0
    wcs.wcs.crpix = 1, 21
    wcs.wcs.cdelt = direction * STEP, STEP
    lon = np.radians(first + direction * STEP * np.arange(n))
    data = np.tile(np.cos(lon) + 2, (41, 1)).astype(np.float32)
    fits.PrimaryHDU(data, wcs.to_header()).writeto(path)
    return path


def galactic(*longitudes):
    return SkyCoord(list(longitudes), np.zeros(len(longitudes)), unit='deg', frame='galactic')


@pytest.mark.parametrize('projection', ['CAR', 'CEA', 'MER', 'CYP', 'SFL'])
@pytest.mark.parametrize('direction', [-1, 1])
def test_positions_beyond_180_degrees_from_the_reference(tmp_path, projection, direction):
    n = 361 if projection == 'SFL' else 721
    path = write_map(tmp_path / 'a.fits', projection, first=180, n=n, direction=direction)
    # The map of sines ends 180 degrees from its centre.
    longitudes = [170, 60, 10] if projection == 'SFL' else [170, 60, 10, 350, 330, 200, 190]
    longitudes = [direction * -lon for lon in longitudes]
    cutouts = Mosaics(path).fetch(galactic(*longitudes), size=5)
    assert cutouts.is_ok.all()
    # A cutout is centred to half a pixel.
    np.testing.assert_allclose(
        cutouts.images[:, 0, 2, 2], np.cos(np.radians(longitudes)) + 2, atol=np.radians(STEP)
    )
    assert not cutouts.flags.any()


def test_cutout_on_the_seam_is_whole(tmp_path):
    # 720 pixels without overlap: the first pixel is the neighbour of the last.
    path = write_map(tmp_path / 'a.fits', 'CAR', first=180, n=720)
    cutouts = Mosaics(path).fetch(galactic(180.1, 179.9, 181, 178.9, 90), size=9)
    assert cutouts.is_ok.all()
    assert decode_flags(cutouts.flags) == [[]] * 5
    offsets = STEP * (4 - np.arange(9))
    for image, lon in zip(cutouts.images[:, 0], [180.1, 179.9, 181, 178.9, 90], strict=True):
        expected = np.cos(np.radians(lon + offsets)) + 2
        np.testing.assert_allclose(image, np.tile(expected, (9, 1)), atol=1e-2)


def test_map_of_a_part_of_the_sky_has_no_repetition(tmp_path):
    path = write_map(tmp_path / 'a.fits', 'CAR', first=300, n=500)
    cutouts = Mosaics(path).fetch(galactic(299, 301, 52, 49, 0), size=5)
    assert cutouts.status.tolist() == ['ok', 'no_coverage', 'ok', 'no_coverage', 'no_coverage']


def test_part_far_from_its_reference_is_found(tmp_path):
    # The reference pixel lies 500 degrees away from the map.
    path = write_map(tmp_path / 'a.fits', 'CAR', first=180, n=100)
    with fits.open(path, mode='update') as hdus:
        hdus[0].header['CRPIX1'] = 1 - 720
    coords = galactic(175, 140)
    expected = Mosaics(write_map(tmp_path / 'b.fits', 'CAR', first=180, n=100)).fetch(
        coords, size=5
    )
    cutouts = Mosaics(path).fetch(coords, size=5)
    assert cutouts.is_ok.all()
    np.testing.assert_array_equal(cutouts.images, expected.images)
