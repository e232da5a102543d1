# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `HscCutouts` with a server on loopback that asks for an account."""

import io
import os
import tarfile
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from astro_morph import conf, decode_flags, surveys
from astro_morph.cutouts import HscCutouts
from astro_morph.cutouts.fetching import http
from astro_morph.simulation import SimulatedSurvey
from astro_morph.simulation.services import Server, faults
from astro_morph.simulation.services.accounts import hsc
from astro_morph.simulation.services.rendering import true_planes
from astro_morph.tests.helpers import at_corners, cut_from_sky

# Counts in a nanomaggy.
COUNTS = 10 ** (0.4 * (hsc.ZERO_POINT - 22.5))


@pytest.fixture(scope='module')
def sky():
    return SimulatedSurvey(n_galaxies=9)


@pytest.fixture
def server(sky):
    with Server(sky, hsc.HANDLERS) as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name in 'SSP_PDR_USR', 'SSP_PDR_PWD':
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(http, 'BACK_OFF', 0.01)
    with conf.set_temp('requests_per_second', 1000.0), conf.set_temp('tries', 2):
        yield


def make_source(sky, server, **options):
    """Make a source whose cutouts have the pixels of the sky."""
    survey = replace(surveys.get('hsc-pdr3'), pixel_scale=sky.pixel_scale)
    address = f'{server.url}/das_cutout/pdr3/cgi-bin/cutout'
    options = {'bands': 'gr', 'account': hsc.ACCOUNT, 'cache': False, 'server': address} | options
    return HscCutouts(survey, **options)


def test_pixels_bands_and_zero_point(sky, server):
    pixels = [(100, 90), (210, 130)]
    cutouts = make_source(sky, server, bands='ig').fetch(at_corners(sky, *pixels), size=32)
    assert cutouts.bands == ('i', 'g')
    assert cutouts.is_ok.all()
    assert not cutouts.flags.any()
    assert cutouts.variance is cutouts.mask is None
    np.testing.assert_array_equal(cutouts.zero_point, [27, 27])
    for image, (x, y) in zip(cutouts.images, pixels, strict=True):
        expected = cut_from_sky(sky, x, y, 32)[[2, 0]] * COUNTS
        np.testing.assert_allclose(image, expected, rtol=1e-3, atol=1e-4)


def test_variance_and_mask(sky, server):
    """Saturated pixels are masked; those of detected sources are not."""
    x, y, side = 100, 90, 32
    cutouts = make_source(sky, server, planes=True).fetch(at_corners(sky, (x, y)), size=side)
    part = np.s_[y - side // 2 : y + side // 2, x - side // 2 : x + side // 2]
    for band, variance, mask in zip('gr', cutouts.variance[0], cutouts.mask[0], strict=True):
        true_variance, is_bad = (plane[part] for plane in true_planes(sky, band))
        np.testing.assert_array_equal(mask, is_bad)
        expected = true_variance[~is_bad] * COUNTS**2
        np.testing.assert_allclose(variance[~is_bad], expected, rtol=1e-3)
    assert decode_flags(cutouts.flags[0]) == ['missing_pixels']


def test_wcs(sky, server):
    """The grid is north up, at the scale that is asked for, around the source."""
    coord = SkyCoord([sky.catalogue['ra'][4]], [sky.catalogue['dec'][4]], unit='deg')
    source = make_source(sky, server, bands='r', pixel_scale=0.6 * u.arcsec)
    cutouts = source.fetch(coord, size=25)
    assert cutouts.wcs(0).pixel_to_world(12, 12).separation(coord[0]) < 0.001 * u.arcsec
    assert np.abs(np.argwhere(cutouts.images[0, 0] == cutouts.images.max()) - 12).max() <= 1


def test_one_request_has_all_bands_of_a_field(sky, server):
    """Sources that lie close together share it."""
    cutouts = make_source(sky, server, bands='gri').fetch(at_corners(sky, (60, 60), (90, 60)))
    assert cutouts.is_ok.all()
    assert [request.method for request in server.requests] == ['POST']


def test_no_coverage_is_remembered(sky, server, tmp_path):
    coords = SkyCoord([*at_corners(sky, (100, 90)), SkyCoord(10, 50, unit='deg')])
    for _ in range(2):
        source = make_source(sky, server, cache=tmp_path / 'cutouts.sqlite')
        assert source.fetch(coords, size=16).status.tolist() == ['ok', 'no_coverage']
    assert len(server.requests) == 2


def test_a_band_without_image_is_flagged(sky, server):
    cutouts = make_source(sky, server, bands=['r', 'NB0816']).fetch(at_corners(sky, (100, 90)))
    assert cutouts.is_ok.all()
    assert decode_flags(cutouts.flags[0]) == ['missing_band']
    assert b' NB0816 ' in server.requests[0].body


def archive(*files):
    """Return an archive of files with names of the service and some content."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode='w') as tar:
        for name, content in files:
            info = tarfile.TarInfo(f'arch-261129-020000/{name}')
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return body.getvalue()


@pytest.mark.parametrize(
    ('fault', 'status'),
    [
        (faults.status(503), 'http_503'),
        (faults.reset(), 'connection'),
        (faults.status(401), 'http_401'),
        (faults.status(404), 'no_coverage'),  # as it answers where it has no image at all
        (faults.status(400), 'http_400'),
        (faults.html(), 'not_an_image'),
        (faults.truncated(), 'truncated'),
        (faults.broken(), 'connection'),
        (faults.status(200, archive()), 'no_coverage'),
        (faults.status(200, archive(('2-cutout-HSC-G-1-x.fits', b'<html>'))), 'not_an_image'),
        (faults.status(200, archive(('README', b'none of these'))), 'no_coverage'),
    ],
)
def test_faults(sky, server, fault, status):
    server.faults = lambda request: fault
    source = make_source(sky, server)
    place = at_corners(sky, (100, 90))
    assert source.fetch(place, size=16).status.tolist() == [status]
    server.faults = None
    assert source.fetch(place, size=16).is_ok.all()


def test_what_it_can_not_do():
    with pytest.raises(ValueError, match='no colour pictures'):
        HscCutouts(bands='rgb')
    with pytest.raises(ValueError, match="no 'hsc' in its ids"):
        HscCutouts('sdss')
    with pytest.raises(ValueError, match=r"has no \['x'\]"):
        HscCutouts(bands='gx')


@pytest.mark.remote_data
@pytest.mark.skipif(
    'SSP_PDR_PWD' not in os.environ, reason='needs an account in SSP_PDR_USR and SSP_PDR_PWD'
)
def test_live(monkeypatch):
    """A galaxy of the Wide layer, with noise near that of its variance."""
    account = os.environ['SSP_PDR_USR'], os.environ['SSP_PDR_PWD']
    source = HscCutouts('hsc-pdr3', bands='gri', account=account, cache=False, planes=True)
    cutouts = source.fetch(SkyCoord([33.99527] * u.deg, [-5.011639] * u.deg), size=64)
    assert cutouts.is_ok.all()
    image, variance = cutouts.images[0, 1], cutouts.variance[0, 1]
    noise = 1.4826 * np.nanmedian(np.abs(image - np.nanmedian(image)))
    assert 0.3 < noise / np.sqrt(np.nanmedian(variance)) < 3
