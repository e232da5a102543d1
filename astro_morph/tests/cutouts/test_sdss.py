# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `SdssFrames` with the real astroquery client and a server on loopback."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from astro_morph import conf, decode_flags
from astro_morph.cutouts.fetching import http
from astro_morph.cutouts.services import sdss
from astro_morph.cutouts.services.sdss import SdssFrames
from astro_morph.simulation import SimulatedSurvey
from astro_morph.simulation.services import Server, faults
from astro_morph.simulation.services.sdss import FRAME, HANDLERS, OVERLAP
from astro_morph.tests.helpers import at_corners, cut_from_sky

BANDS = ('g', 'r')
STEP = np.array(FRAME) - OVERLAP


@pytest.fixture(scope='module')
def sky():
    """A sky at least two frames wide and three high."""
    return SimulatedSurvey(n_galaxies=25, bands=BANDS)


@pytest.fixture
def server(sky):
    with Server(sky, HANDLERS) as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(http, 'BACK_OFF', 0.01)
    with conf.set_temp('requests_per_second', 1000.0), conf.set_temp('tries', 2):
        yield


def make_source(server, *, bands=BANDS, cache=False, **options):
    return SdssFrames(bands=bands, server=server.url, cache=cache, **options)


def frames_asked_for(server):
    names = [request.path.rpartition('/')[2] for request in server.requests]
    return [name.removesuffix('.fits.bz2') for name in names if name.startswith('frame')]


def queries(server):
    return [request for request in server.requests if request.method == 'POST']


def test_pixels_bands_and_grid(sky, server):
    pixels = [(100, 90), (250, 130), (201, 300)]
    cutouts = make_source(server, bands='rg').fetch(at_corners(sky, *pixels), size=32)
    assert cutouts.bands == ('r', 'g')
    assert cutouts.kind == 'flux'
    assert cutouts.pixel_scale == sky.pixel_scale
    assert cutouts.is_ok.all()
    assert not cutouts.flags.any()
    for image, (x, y) in zip(cutouts.images, pixels, strict=True):
        # North at the cutout is up, and turned by 1e-4 or less from that of the sky's grid.
        np.testing.assert_allclose(image, cut_from_sky(sky, x, y, 32)[::-1], rtol=5e-3, atol=5e-3)


def test_a_frame_is_fetched_once_for_all_sources_on_it(sky, server):
    coords = at_corners(sky, (90, 90), (120, 80), (100, 130), (90 + STEP[1], 90))
    source = make_source(server)
    assert source.plan(coords).n_requests == 4
    assert frames_asked_for(server) == []
    assert source.fetch(coords).is_ok.all()
    expected = [f'frame-{band}-000094-{camcol}-0001' for band in BANDS for camcol in (1, 2)]
    assert sorted(frames_asked_for(server)) == expected
    assert len(queries(server)) == 2


def test_a_large_cutout_is_joined_from_frames(sky, server):
    x, y = STEP[1] + OVERLAP // 2, STEP[0] + OVERLAP // 2
    coords = at_corners(sky, (x, y), (x + 4, y + 2))
    cutouts = make_source(server, bands='r').fetch(coords, size=160)
    assert len(frames_asked_for(server)) == 4
    assert not cutouts.flags.any()
    np.testing.assert_allclose(
        cutouts.images[0, 0], cut_from_sky(sky, x, y, 160)[1], rtol=0.02, atol=0.02
    )


def test_each_row_may_have_its_scale(sky, server):
    coords = at_corners(sky, (100, 90), (100, 90))
    table = Table({'coord': coords, 'radius': [6.336, 3.168]})
    cutouts = make_source(server, bands='r').fetch(table, size=(32, '2 * radius'))
    np.testing.assert_allclose(cutouts.pixel_scale.value, [0.396, 0.198])
    np.testing.assert_allclose(
        cutouts.images[0, 0], cut_from_sky(sky, 100, 90, 32)[1], rtol=5e-3, atol=5e-3
    )
    # Half the scale: the same flux in four times as many pixels.
    middle = cutouts.images[0, 0, 8:24, 8:24].sum()
    assert cutouts.images[1, 0].sum() == pytest.approx(middle, rel=0.05, abs=0.5)


def test_outside_the_survey(sky, server, tmp_path):
    nx = sky.flux.shape[2]
    coords = SkyCoord(
        [*at_corners(sky, (100, 90), (nx + 50, 90), (nx - 10, 90)), SkyCoord('0d 60d')]
    )
    source = make_source(server, cache=tmp_path / 'cutouts.sqlite')
    cutouts = source.fetch(coords)
    assert cutouts.status.tolist() == ['ok', 'no_coverage', 'ok', 'no_coverage']
    assert decode_flags(cutouts.flags)[2] == ['partial_coverage']
    assert np.isnan(cutouts.images[2, 0]).mean() == pytest.approx((32 - 10) / 64, abs=0.02)
    n_requests = len(server.requests)
    np.testing.assert_array_equal(source.fetch(coords).images, cutouts.images)
    assert len(server.requests) == n_requests


def test_many_positions_take_few_queries(sky, server, monkeypatch):
    monkeypatch.setattr(sdss, 'POSITIONS_A_QUERY', 10)
    source = make_source(server, bands='r')
    assert source.fetch(sky.catalogue).is_ok.all()
    assert len(queries(server)) == 3
    assert len(frames_asked_for(server)) == len(set(frames_asked_for(server)))

    is_third = iter([False, False, True, True])
    server.faults = lambda request: (
        faults.status(503) if request.method == 'POST' and next(is_third) else None
    )
    status = source.fetch(sky.catalogue).status.tolist()
    assert status == ['ok'] * 20 + ['http_503'] * 5


@pytest.mark.parametrize(
    ('fault', 'status'),
    [
        (faults.status(503), 'http_503'),
        (faults.status(404), 'http_404'),
        (faults.html(), 'not_an_image'),
        (faults.truncated(), 'truncated'),
        (faults.broken(), 'connection'),
        (faults.reset(), 'connection'),
    ],
)
def test_a_fault_costs_the_sources_on_one_frame(sky, server, fault, status):
    coords = at_corners(sky, (90, 90), (90 + STEP[1], 90))
    server.faults = lambda request: fault if '/frame-r-000094-1' in request.path else None
    cutouts = make_source(server, bands='r').fetch(coords)
    assert cutouts.status.tolist() == [status, 'ok']
    cutouts = make_source(server).fetch(coords)
    assert cutouts.is_ok.all()
    assert decode_flags(cutouts.flags) == [['missing_band'], []]


@pytest.mark.parametrize(
    ('fault', 'status'),
    [(faults.status(503), 'http_503'), (faults.html(), 'not_an_image')],
)
def test_a_catalogue_that_fails_is_not_asked_for_frames(sky, server, fault, status):
    server.faults = lambda request: fault if request.method == 'POST' else None
    cutouts = make_source(server).fetch(at_corners(sky, (90, 90), (120, 80)))
    assert cutouts.status.tolist() == [status, status]
    assert frames_asked_for(server) == []


def test_there_are_no_pictures():
    with pytest.raises(ValueError, match='SdssFrames has no colour pictures'):
        SdssFrames(bands='rgb')
    for survey, bands in (('2mass', None), ('2mass', 'J'), ('sdss', 'gy')):
        with pytest.raises(ValueError, match=r'bands: SDSS has no \[.*, only .*name some of these'):
            SdssFrames(survey, bands=bands)


@pytest.mark.remote_data
def test_live():
    """M 51, whose middle has 16 to 19 AB magnitudes an arcsec**2 in r, and a place far south."""
    coords = SkyCoord([202.4696, 150.0], [47.1952, -60.0], unit='deg')
    cutouts = SdssFrames(bands='gr', cache=False).fetch(coords)
    assert cutouts.status.tolist() == ['ok', 'no_coverage']
    middle = cutouts.images[0, 1, 28:36, 28:36].mean() / cutouts.pixel_scale.value**2
    assert 16 < 22.5 - 2.5 * np.log10(middle) < 19
