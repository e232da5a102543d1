# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of all services: the bands of a cutout are on one grid, whenever and however they came."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from astro_morph import conf, surveys
from astro_morph.cutouts import (
    DjaCutouts,
    EsaEuclid,
    EuclidMosaics,
    Hips2Fits,
    HscCutouts,
    LegacyCutouts,
    MastCutouts,
    PanStarrsCutouts,
    RubinCutouts,
    SdssFrames,
    SiaImages,
    SkyView,
    WfauImages,
)
from astro_morph.cutouts.fetching import http
from astro_morph.simulation import SimulatedSurvey, serve
from astro_morph.simulation.services import faults
from astro_morph.simulation.services.accounts.hsc import ACCOUNT
from astro_morph.simulation.services.accounts.rubin import TOKEN
from astro_morph.tests.helpers import gaussian

# Centroids of bright round galaxies scatter by this much in pixels, because of noise.
TOLERANCE = 0.1

ROWS = slice(0, 5)


@pytest.fixture(scope='module')
def sky():
    return SimulatedSurvey('sdss', n_galaxies=16, kinds=['round'], crowding=0, random_state=3)


@pytest.fixture(scope='module')
def coords(sky):
    return SkyCoord(sky.catalogue['ra'], sky.catalogue['dec'])


@pytest.fixture(scope='module')
def server(sky):
    with serve(sky) as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch, server):
    monkeypatch.setattr(http, 'BACK_OFF', 0.01)
    server.faults = None
    with conf.set_temp('requests_per_second', 1000.0), conf.set_temp('tries', 1):
        yield


def sia(server, bands, cache):
    survey = replace(surveys.get('sdss'), ids={'sia': (f'{server.url}/SIA', None)})
    return SiaImages(survey, bands=bands, cache=cache)


# Each service with the names of the bands g and r there.
SERVICES = {
    'hips2fits': (
        'gr',
        lambda server, bands, cache: Hips2Fits(
            'sdss', bands=bands, server=f'{server.url}/hips-image-services/hips2fits', cache=cache
        ),
    ),
    'skyview': (
        'gr',
        lambda server, bands, cache: SkyView(
            'sdss', bands=bands, server=f'{server.url}/current/cgi/basicform.pl', cache=cache
        ),
    ),
    'mast': (
        ('F475W', 'F606W'),
        lambda server, bands, cache: MastCutouts(
            bands=bands, server=server.url, pixel_scale=server.sky.pixel_scale, cache=cache
        ),
    ),
    'sdss': (
        'gr',
        lambda server, bands, cache: SdssFrames(bands=bands, server=server.url, cache=cache),
    ),
    'wfau': (
        'YJ',
        lambda server, bands, cache: WfauImages(
            bands=bands, server=f'{server.url}/wsa', pixel_scale=server.sky.pixel_scale, cache=cache
        ),
    ),
    'sia': ('gr', sia),
    'euclid': (
        ('VIS', 'Y'),
        lambda server, bands, cache: EuclidMosaics(
            bands=bands,
            server=f'{server.url}/euclid/SIA',
            pixel_scale=server.sky.pixel_scale,
            cache=cache,
        ),
    ),
    'euclid of ESA': (
        ('VIS', 'Y'),
        lambda server, bands, cache: EsaEuclid(
            bands=bands, server=server.url, pixel_scale=server.sky.pixel_scale, cache=cache
        ),
    ),
    'rubin': (
        'gr',
        lambda server, bands, cache: RubinCutouts(
            bands=bands,
            server=f'{server.url}/api/sia/dp1/query',
            token=TOKEN,
            pixel_scale=server.sky.pixel_scale,
            cache=cache,
        ),
    ),
    'hsc': (
        'gr',
        lambda server, bands, cache: HscCutouts(
            bands=bands,
            server=f'{server.url}/das_cutout/pdr3/cgi-bin/cutout',
            account=ACCOUNT,
            pixel_scale=server.sky.pixel_scale,
            cache=cache,
        ),
    ),
    'legacy': (
        'gr',
        lambda server, bands, cache: LegacyCutouts(
            bands=bands, server=server.url, pixel_scale=server.sky.pixel_scale, cache=cache
        ),
    ),
    'dja': (
        ('F115W', 'F277W'),
        lambda server, bands, cache: DjaCutouts(
            bands=bands, server=server.url, pixel_scale=server.sky.pixel_scale, cache=cache
        ),
    ),
    'panstarrs': (
        'gr',
        lambda server, bands, cache: PanStarrsCutouts(
            bands=bands, server=server.url, pixel_scale=server.sky.pixel_scale, cache=cache
        ),
    ),
}


@pytest.fixture(params=SERVICES)
def service(request):
    return SERVICES[request.param]


def centroids(images):
    """Measure the centres of galaxies in images of shape (..., y, x), in pixels from the middle."""
    weight = np.nan_to_num(images).clip(0) * gaussian(images.shape[-1], sigma=4)
    steps = np.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    total = weight.sum(axis=(-2, -1))
    return (
        np.stack([weight.sum(axis=-2) @ steps, weight.sum(axis=-1) @ steps], -1) / total[..., None]
    )


def check_grids(cutouts):
    assert cutouts.is_ok.all()
    assert not cutouts.flags.any()
    places = centroids(cutouts.images)
    np.testing.assert_allclose(places[:, 0], places[:, 1], atol=TOLERANCE)
    np.testing.assert_allclose(places, 0, atol=TOLERANCE)


def test_bands_of_one_call(server, coords, service):
    bands, make = service
    check_grids(make(server, bands, False).fetch(coords[ROWS], size=48))


def test_a_band_that_was_cached_with_another_catalogue(server, coords, service, tmp_path):
    bands, make = service
    make(server, bands[1:], tmp_path / 'c.sqlite').fetch(coords, size=48)
    check_grids(make(server, bands, tmp_path / 'c.sqlite').fetch(coords[ROWS], size=48))


def test_a_band_that_failed_and_was_fetched_again_alone(server, coords, tmp_path):
    bands, make = SERVICES['hips2fits']
    source = make(server, bands, tmp_path / 'c.sqlite')
    server.faults = lambda request: (
        faults.status(503) if request.params['hips'].endswith('/g') else None
    )
    assert (source.fetch(coords, size=48).flags > 0).all()
    server.faults = None
    check_grids(source.fetch(coords[:1], size=48))
    check_grids(source.fetch(coords[ROWS], size=48))


def test_batches_and_single_calls_give_the_same_grid(server, coords):
    bands, make = SERVICES['hips2fits']
    source = make(server, bands, False)
    together = source.fetch(coords[ROWS], size=48)
    alone = [source.fetch(coord.reshape(1), size=48).images[0] for coord in coords[ROWS]]
    np.testing.assert_allclose(centroids(together.images), centroids(np.array(alone)), atol=0.02)
