# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of reprojected downloads against an analytic sky, and the same images as files."""

import bz2
import gzip
import io

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from astro_morph.cutouts import Mosaics
from astro_morph.cutouts.services.fields import Places, share_fields
from astro_morph.cutouts.services.reprojection import cut_for_request, cut_from_images
from astro_morph.images.errors import ImageError
from astro_morph.images.reading import decode_fits_file

CENTRE = SkyCoord(150, 30, unit='deg')
EAST_ARCSEC = CENTRE.spherical_offsets_by(1 * u.arcsec, 0 * u.arcsec)


def make_wcs(centre=CENTRE, *, scale=0.4, shape=(120, 120), angle=0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
    wcs.wcs.crval = centre.ra.deg, centre.dec.deg
    wcs.wcs.crpix = (np.array(shape[::-1]) + 1) / 2
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = scale / 3600 * np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1, 1])
    return wcs


def draw_blobs(wcs, scale, shape=(120, 120)):
    """Draw two blobs, one of them east of the other, as flux per pixel."""
    sky = wcs.pixel_to_world(*np.meshgrid(np.arange(shape[1]), np.arange(shape[0])))
    x, y = (offset.to_value(u.arcsec) for offset in CENTRE.spherical_offsets_to(sky))
    return scale**2 * (np.exp(-(x**2 + y**2) / 8) + np.exp(-((x - 7) ** 2 + (y - 2) ** 2) / 10))


def make_image(*, scale=0.4, shape=(120, 120), centre=CENTRE, **settings):
    wcs = make_wcs(centre, scale=scale, shape=shape, **settings)
    return fits.PrimaryHDU(draw_blobs(wcs, scale, shape).astype(np.float32), wcs.to_header())


def test_cutouts_are_north_up_on_grids_of_their_own():
    coords = SkyCoord([CENTRE, EAST_ARCSEC, CENTRE, EAST_ARCSEC])
    scales = [0.4, 0.3, 0.9, 0.25]
    images = [make_image(angle=40)]
    cutouts = cut_from_images(images, coords, side=24, pixel_scale=scales * u.arcsec)
    assert cutouts.shape == (4, 24, 24)
    assert cutouts.dtype == np.float32
    for coord, scale, cutout in zip(coords, scales, cutouts, strict=True):
        # The mean over 3 x 3 points stands for what a pixel sees.
        fine = draw_blobs(make_wcs(coord, scale=scale / 3, shape=(72, 72)), scale, (72, 72))
        expected = fine.reshape(24, 3, 24, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(cutout, expected, atol=0.015 * expected.max())
        alone = cut_from_images(images, coord[np.newaxis], side=24, pixel_scale=scale * u.arcsec)
        np.testing.assert_allclose(cutout, alone[0], atol=1e-4 * expected.max())


def test_images_in_memory_are_cut_as_files_are(tmp_path):
    """With overlap, gap, hole and compressed extension."""
    images = [
        make_image(centre=CENTRE.spherical_offsets_by(offset * u.arcsec, 0 * u.arcsec), angle=angle)
        for offset, angle in [(-20, 3), (15, 80), (70, 0)]
    ]
    images[0].data[50:60, 30:40] = np.nan
    lossless = {'compression_type': 'GZIP_2', 'quantize_level': 0}
    compressed = fits.CompImageHDU(images[1].data, images[1].header, **lossless)
    images[1] = compressed
    for i, image in enumerate(images):
        image.writeto(tmp_path / f'{i}.fits')
    offsets = np.random.default_rng(0).uniform(-60, 100, (2, 60)) * [[1], [0.3]] * u.arcsec
    coords = CENTRE.spherical_offsets_by(*offsets)
    cutouts = cut_from_images(images, coords, side=32, pixel_scale=0.5 * u.arcsec)
    expected = Mosaics(tmp_path / '*.fits', pixel_scale=0.5 * u.arcsec).fetch(coords, size=32)
    np.testing.assert_allclose(cutouts, expected.images[:, 0], rtol=1e-6, atol=1e-12)
    counts = [np.isnan(cutouts).all(axis=(1, 2)).sum(), np.isnan(cutouts).any(axis=(1, 2)).sum()]
    assert 0 < counts[0] < counts[1] < len(coords)


def test_no_rows_and_no_images():
    nothing = SkyCoord([], [], unit='deg')
    settings = {'side': 8, 'pixel_scale': 1 * u.arcsec}
    assert cut_from_images([make_image()], nothing, **settings).shape == (0, 8, 8)
    cutouts = cut_from_images([], SkyCoord([CENTRE]), **settings)
    assert cutouts.shape == (1, 8, 8)
    assert np.isnan(cutouts).all()


def truncated():
    content = make_image()
    whole = content.header.tostring().encode() + content.data.astype('>f4').tobytes()
    return fits.HDUList.fromstring(whole[: len(whole) // 2])[0]


@pytest.mark.parametrize(
    ('broken', 'status'),
    [
        (truncated(), 'truncated'),
        (fits.PrimaryHDU(), 'not_an_image'),
        (fits.PrimaryHDU(np.zeros((9, 9))), 'not_an_image'),
    ],
)
def test_what_is_no_whole_image_is_an_error(broken, status):
    with pytest.raises(ImageError) as error:
        cut_from_images(
            [make_image(), broken], SkyCoord([CENTRE]), side=8, pixel_scale=1 * u.arcsec
        )
    assert error.value.status == status


def test_sources_that_share_a_request_are_cut_at_their_centres():
    offsets = [[-9.3, 14.1, 3.3], [7.7, -2.2, 0.4]] * u.arcsec
    coords = CENTRE.spherical_offsets_by(*offsets)
    places = Places(np.arange(3), coords.ra.deg, coords.dec.deg, np.full(3, 0.5), 20)
    (request,) = share_fields(places, 'r')
    images = [make_image(angle=15)]
    cutouts = cut_for_request(images, request)
    order = np.argsort(request.rows)
    expected = cut_from_images(images, coords, side=20, pixel_scale=0.5 * u.arcsec)
    np.testing.assert_allclose(cutouts[order], expected, atol=1e-5 * expected.max())


@pytest.mark.parametrize('compress', [bytes, gzip.compress, bz2.compress])
def test_downloads_are_opened_whether_compressed_or_not(compress):
    content = io.BytesIO()
    make_image().writeto(content)
    content = compress(content.getvalue())
    np.testing.assert_array_equal(decode_fits_file(content)[0].data, make_image().data)
    coords, settings = SkyCoord([CENTRE]), {'side': 8, 'pixel_scale': 1 * u.arcsec}
    with pytest.raises(ImageError) as error:
        cut_from_images(decode_fits_file(content[: len(content) // 2]), coords, **settings)
    assert error.value.status == 'truncated'


# Named, as bytes of gzip hold the time, and two processes of the tests are to find the same ones.
@pytest.mark.parametrize(
    'content',
    [b'', b'<html>sorry</html>', gzip.compress(b'sorry', mtime=0)],
    ids=['empty', 'html', 'gzip'],
)
def test_what_is_no_fits_file_is_an_error(content):
    with pytest.raises(ImageError) as error:
        decode_fits_file(content)
    assert error.value.status == 'not_an_image'
