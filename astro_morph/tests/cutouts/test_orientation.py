# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Which way up cutouts are: a star north and a star east of the position, in and out."""

import base64
import io
import re

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from PIL import Image

from astro_morph import CutoutSet, MorphologyClassifier, conf, decode_flags, plotting
from astro_morph.cutouts import (
    CutoutSource,
    DjaCutouts,
    EsaEuclid,
    EuclidMosaics,
    FirstOf,
    Hips2Fits,
    HscCutouts,
    ImageFiles,
    LegacyCutouts,
    MastCutouts,
    Mosaics,
    PanStarrsCutouts,
    RubinCutouts,
    SdssFrames,
    SiaImages,
    SkyView,
    WfauImages,
    as_pictures,
)
from astro_morph.images.orientation import as_seen, position_angle
from astro_morph.images.pictures import data_uris
from astro_morph.labelling import LabellingSession
from astro_morph.photometry import Preprocessor
from astro_morph.simulation import SimulatedSurvey, serve
from astro_morph.simulation.services.accounts.hsc import ACCOUNT
from astro_morph.simulation.services.accounts.rubin import TOKEN
from astro_morph.surveys import Survey
from astro_morph.tests.helpers import gaussian

# Of a galaxy, and of the positions from which it lies in the north and in the east.
DISTANCE = 6 * u.arcsec
SIDE = 64

# Where these lie in a picture that is seen as on the sky, as fractions of its sides: right, down.
NORTH, EAST = (0.5, 0.26), (0.26, 0.5)


@pytest.fixture(autouse=True)
def _quick():
    with conf.set_temp('requests_per_second', 1000.0):
        yield


@pytest.fixture(scope='module')
def sky():
    """A sky with one galaxy, in as many bands as any of the services is asked for."""
    table = Table({'ra': [150.0], 'dec': [2.0], 'morphology': ['round'], 'magnitude': [16.0]})
    return SimulatedSurvey('sdss', catalogue=table, bands='gri', random_state=1)


@pytest.fixture(scope='module')
def positions():
    """Positions with the galaxy in the north, and in the east."""
    galaxy = SkyCoord(150, 2, unit='deg')
    return galaxy.directional_offset_by([180, 270] * u.deg, DISTANCE)


@pytest.fixture(scope='module')
def server(sky):
    with serve(sky) as server:
        yield server


def brightest(picture):
    """Return where a picture is brightest, as fractions of its sides: right, down."""
    brightness = np.asarray(picture, float).reshape(*picture.shape[:2], -1).sum(axis=-1)
    y, x = np.indices(brightness.shape)
    bright = brightness > 0.8 * brightness.max()
    sides = picture.shape[1], picture.shape[0]
    return tuple((np.array([x[bright].mean(), y[bright].mean()]) + 0.5) / sides)


def pictures_in(html):
    """Return the PNG pictures of a page."""
    found = re.findall(r'data:image/png;base64,([A-Za-z0-9+/=]+)', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def png(cutouts):
    return pictures_in(' '.join(data_uris(cutouts)))


def assert_seen_right(pictures):
    for picture, expected in zip(pictures, (NORTH, EAST), strict=True):
        assert brightest(picture) == pytest.approx(expected, abs=0.06)


# Each way in.


def services(url):
    """Yield a source of each service, and of each kind of image that it has."""
    plain = {'cache': False, 'pixel_scale': 0.396 * u.arcsec}
    hips = f'{url}/hips-image-services/hips2fits'
    yield Hips2Fits('sdss-dr9', bands='gri', server=hips, cache=False)
    yield Hips2Fits('sdss-dr9', bands='rgb', server=hips, cache=False)
    yield SdssFrames(bands='gr', server=url, cache=False)
    survey = Survey(
        'mine',
        title='Mine',
        bands=['g', 'r'],
        rgb=['r', 'g', 'g'],
        pixel_scale=0.396 * u.arcsec,
        ids={'skyview': {'g': 'SDSSg', 'r': 'SDSSr'}, 'sia': (f'{url}/SIA', None)},
    )
    yield SkyView(survey, server=f'{url}/current/cgi/basicform.pl', cache=False)
    yield SiaImages(survey, server=f'{url}/SIA', cache=False)
    yield EuclidMosaics(bands=['VIS', 'Y'], server=f'{url}/euclid/SIA', **plain)
    yield EsaEuclid(bands=['VIS', 'Y'], server=url, **plain)
    yield MastCutouts('hst-hap', bands=['F475W', 'F606W'], server=url, **plain)
    yield WfauImages('ukidss-las', bands=['Y', 'J'], server=f'{url}/wsa', **plain)
    yield RubinCutouts(bands='gr', server=f'{url}/api/sia/dp1/query', token=TOKEN, **plain)
    address = f'{url}/das_cutout/pdr3/cgi-bin/cutout'
    yield HscCutouts(bands='gr', server=address, account=ACCOUNT, **plain)
    yield LegacyCutouts(bands='gr', server=url, **plain)
    yield DjaCutouts(bands=['F115W', 'F277W'], server=url, **plain)
    yield PanStarrsCutouts(bands='gr', server=url, **plain)


@pytest.mark.parametrize('number', range(len(list(services('http://127.0.0.1')))))
def test_services(positions, server, number):
    cutouts = list(services(server.url))[number].fetch(positions, size=SIDE)
    assert cutouts.status.tolist() == ['ok', 'ok']
    np.testing.assert_array_equal(cutouts.rotation.value, 0)
    np.testing.assert_array_equal(cutouts.parity, 1)
    assert_seen_right(png(cutouts))


def test_simulated_survey_and_flux_drawn_as_pictures(sky, positions):
    cutouts = sky.fetch(positions, size=SIDE)
    assert_seen_right(png(cutouts))
    assert_seen_right(png(as_pictures(cutouts)))


@pytest.mark.parametrize('parity', [1, -1])
@pytest.mark.parametrize('rotation', [0, 90, 180, 270, 20, -30])
@pytest.mark.parametrize('pixel_scale', [None, 0.4 * u.arcsec])
def test_mosaics_at_any_angle(positions, tmp_path, rotation, parity, pixel_scale):
    galaxy = SkyCoord(150, 2, unit='deg')
    wcs = turned_wcs(galaxy, rotation, parity)
    x, y = wcs.world_to_pixel(galaxy)
    image = gaussian(200, x=x - 99.5, y=y - 99.5, sigma=3)
    fits.writeto(tmp_path / 'r.fits', image.astype('f4'), wcs.to_header())
    cutouts = Mosaics(tmp_path / 'r.fits', pixel_scale=pixel_scale).fetch(positions, size=SIDE)

    on_sky = (rotation, parity) if pixel_scale is None else (0, 1)
    turned = (cutouts.rotation.value - on_sky[0] + 180) % 360 - 180
    np.testing.assert_allclose(turned, 0, atol=1e-3)
    np.testing.assert_array_equal(cutouts.parity, on_sky[1])
    for row in range(2):
        at = cutouts.wcs(row).world_to_pixel(positions[row])
        np.testing.assert_allclose(at, cutouts.centers[row], atol=1e-6)
        galaxy_at = cutouts.wcs(row).world_to_pixel(galaxy)
        where = np.unravel_index(np.argmax(cutouts.images[row, 0]), (SIDE, SIDE))[::-1]
        np.testing.assert_allclose(galaxy_at, where, atol=0.6)
    if on_sky[0] % 90 == 0:
        assert_seen_right(png(cutouts))


def turned_wcs(position, rotation, parity):
    """Return the coordinates of an image whose y axis has a position angle, mirrored or not."""
    sine, cosine = np.sin(np.radians(rotation)), np.cos(np.radians(rotation))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
    wcs.wcs.crval = position.ra.deg, position.dec.deg
    wcs.wcs.crpix = 100.3, 100.6
    wcs.wcs.cd = 0.4 / 3600 * np.array([[-parity * cosine, sine], [parity * sine, cosine]])
    return wcs


@pytest.mark.parametrize('name', ['a.png', 'a.jpg', 'a.bmp', 'flux.tif'])
def test_picture_files_begin_with_the_highest_row(tmp_path, name):
    picture = seen_picture()
    mode = np.float32 if name == 'flux.tif' else np.uint8
    Image.fromarray(picture.astype(mode)).save(tmp_path / name)
    cutouts = ImageFiles(folder=tmp_path).fetch(Table({'path': [name]}))
    assert cutouts.images[0].mean(axis=0)[-1:].mean() == pytest.approx(picture[0].mean(), abs=2)
    assert brightest(png(cutouts)[0]) == pytest.approx(NORTH, abs=0.03)


def test_fits_files_begin_with_the_lowest_row(tmp_path):
    fits.writeto(tmp_path / 'a.fits', seen_picture()[::-1].astype('f4'))
    cutouts = ImageFiles(folder=tmp_path).fetch(Table({'path': ['a.fits']}))
    assert brightest(png(cutouts)[0]) == pytest.approx(NORTH, abs=0.03)


def seen_picture():
    """Draw a star in the north, on a sky that is brighter there; the highest row first."""
    star = gaussian(SIDE, sigma=3, y=(NORTH[1] - 0.5) * SIDE)
    return (200 * star + np.linspace(30, 20, SIDE)[:, np.newaxis]).round()


def test_first_of_keeps_the_orientation_of_each_row(positions, tmp_path):
    galaxy = SkyCoord(150, 2, unit='deg')
    sources = []
    for name, rotation, band_only in (('a.fits', 0, slice(0, 1)), ('b.fits', 90, slice(1, 2))):
        wcs = turned_wcs(galaxy, rotation, 1)
        image = np.ones((200, 200), np.float32)
        fits.writeto(tmp_path / name, image, wcs.to_header())
        source = Mosaics(tmp_path / name, bands=['r'])
        sources.append(OnlySome(source, positions[band_only]))
    cutouts = FirstOf(*sources).fetch(positions, size=16)
    np.testing.assert_allclose(cutouts.rotation.value, [0, 90], atol=1e-3)


class OnlySome(CutoutSource):
    """A source that has the images of some positions only."""

    def __init__(self, source, known):
        self.source, self.known = source, known

    def fetch(self, X, *, size=None):
        cutouts = self.source.fetch(X, size=size)
        place = cutouts.table[cutouts.table.colnames[0]]
        is_known = [(at.separation(self.known) < 1 * u.arcsec).any() for at in place]
        return cutouts.replace(status=np.where(is_known, cutouts.status, 'no_coverage'))


# Each way out.


@pytest.fixture(scope='module')
def cutouts(sky, positions):
    return sky.fetch(positions, size=SIDE)


def test_plots(cutouts):
    for kind in (cutouts, as_pictures(cutouts)):
        panels = [axes.images[0] for axes in plotting.cutouts(kind).axes]
        assert {panel.origin for panel in panels} == {'upper'}
        assert_seen_right([panel.get_array() for panel in panels])
    before = [axes.images[0].get_array() for axes in plotting.preprocessing(cutouts).axes[::3]]
    assert_seen_right(before)


def test_notebook(cutouts):
    assert_seen_right(pictures_in(cutouts._repr_html_()))


def test_labelling_page(cutouts, tmp_path):
    features = np.random.default_rng(0).normal(size=(2, 4))
    session = LabellingSession(cutouts, features, tmp_path / 'l.ecsv', classes=['a', 'b'])
    shown = {}
    for _ in range(2):
        row = session.row
        shown[row] = pictures_in(session.picture(row))[0]
        session.skip(row)
    assert_seen_right([shown[0], shown[1]])


def test_report(cutouts, tmp_path):
    train = 0.03 * np.random.default_rng(0).normal(size=(8, 3, SIDE, SIDE))
    classifier = MorphologyClassifier(strategy='linear', encoder='random', device='cpu', verbose=0)
    classifier.fit(CutoutSet(train, bands='gri'), np.tile(['a', 'b'], 4))
    table = cutouts.table.copy()
    table['morphology'] = np.where(classifier.predict(cutouts) == 'a', 'b', 'a')
    path = tmp_path / 'report.html'
    classifier.report(cutouts.replace(table=table), path)
    page = path.read_text(encoding='utf-8')
    rows = map(int, re.findall(r'alt="row (\d+)"', page))
    shown = dict(zip(rows, pictures_in(page), strict=True))
    assert_seen_right([shown[0], shown[1]])


def test_mirrored_and_turned_images_are_shown_as_on_the_sky():
    star = seen_picture()[np.newaxis, ::-1]
    turned = np.concatenate([np.rot90(star, k, axes=(1, 2)) for k in range(4)])
    mirrored = turned[:, :, ::-1]
    images = np.concatenate([turned, mirrored])
    # Turning an array that begins with the lowest row moves north from y to x.
    rotation = np.array([0, 90, 180, 270] * 2) * u.deg
    parity = np.repeat([1, -1], 4)
    for picture in as_seen(images, rotation, parity):
        np.testing.assert_array_equal(picture, seen_picture())


@pytest.mark.parametrize(
    ('angle', 'rotation', 'parity', 'expected'),
    [(90, 0, 1, 0), (180, 0, 1, 90), (0, 0, -1, 90), (90, 30, 1, 30), (180, 30, -1, -60)],
)
def test_position_angles(angle, rotation, parity, expected):
    found = position_angle(angle * u.deg, rotation * u.deg, parity)
    assert found.to_value(u.deg) == pytest.approx(expected)
    assert np.isnan(position_angle(angle * u.deg, np.nan * u.deg, parity))
    assert np.isnan(position_angle(angle * u.deg, rotation * u.deg, 0))


# What a cutout set says of itself.


def test_orientation_follows_rows_and_files(cutouts, tmp_path):
    turned = cutouts.replace(rotation=[10, 20] * u.deg, parity=[1, -1], centers=[[1, 2], [3, 4]])
    turned.write(tmp_path / 'cutouts.h5')
    for found in (turned[[1]], CutoutSet.read(tmp_path / 'cutouts.h5')[1]):
        assert found.rotation.value.tolist() == [20]
        assert found.parity.tolist() == [-1]
        assert found.centers.tolist() == [[3, 4]]


def test_unknown_orientation(tmp_path):
    images = CutoutSet(np.zeros((2, 1, 8, 10)), table=Table({'ra': [1, 2], 'dec': [3, 4]}))
    assert np.isnan(images.rotation).all()
    assert not images.parity.any()
    np.testing.assert_array_equal(images.centers, [[4.5, 3.5]] * 2)
    with pytest.raises(ValueError, match=r'cutout 1 has the pixel_scale nan, .* set them'):
        images.wcs(1)
    known = images.replace(pixel_scale=1 * u.arcsec, rotation=0 * u.deg, parity=1)
    assert known.wcs(1).pixel_to_world(4.5, 3.5).dec.deg == pytest.approx(4)
    with pytest.raises(ValueError, match='no table with positions'):
        known.replace(table=None).wcs(1)
    with pytest.raises(ValueError, match=r'rotation has the shape \(3,\), there are 2 images'):
        images.replace(rotation=[1, 2, 3] * u.deg)


@pytest.mark.parametrize('parity', [1, -1])
@pytest.mark.parametrize('rotation', [0, 90, 200])
def test_fits_files_with_coordinates(tmp_path, rotation, parity):
    galaxy = SkyCoord(150, 2, unit='deg')
    wcs = turned_wcs(galaxy, rotation, parity)
    for name, image in (('a.fits', gaussian(200)), ('b.fits', gaussian(200, x=3))):
        fits.writeto(tmp_path / name, image.astype('f4'), wcs.to_header())
    np.save(tmp_path / 'c.npy', gaussian(200))
    table = Table({'path': ['a.fits', 'lost.fits', 'b.fits', 'c.npy']})
    cutouts = ImageFiles(folder=tmp_path).fetch(table, size=32)
    found = np.exp(1j * cutouts.rotation.to_value(u.rad))
    expected = np.exp(1j * np.radians(rotation))
    np.testing.assert_allclose(found, [expected, np.nan, expected, np.nan], atol=1e-4)
    assert cutouts.parity.tolist() == [parity, 0, parity, 0]
    assert cutouts.pixel_scale.to_value(u.arcsec) == pytest.approx(0.4, rel=1e-4)


def test_image_files_of_different_scales(tmp_path):
    for name, factor in (('a.fits', 1), ('b.fits', 2)):
        wcs = turned_wcs(SkyCoord(150, 2, unit='deg'), 0, 1)
        wcs.wcs.cd *= factor
        fits.writeto(tmp_path / name, gaussian(32).astype('f4'), wcs.to_header())
    cutouts = ImageFiles(folder=tmp_path).fetch(Table({'path': ['a.fits', 'b.fits', 'lost.fits']}))
    np.testing.assert_allclose(cutouts.pixel_scale.value, [0.4, 0.8, np.nan], rtol=1e-3)


@pytest.mark.parametrize('parity', [1, -1])
def test_clean_up_keeps_the_place_on_the_sky(parity):
    """What is recentred, rotated and scaled is still known by its coordinates."""
    table = Table({'ra': [150.0, 150.1], 'dec': [2.0, 2.1], 'radius': [7.0, 9.0]})
    noise = np.random.default_rng(0).normal(0, 0.002, (2, 1, SIDE, SIDE))
    star = gaussian(SIDE, x=14, y=9, sigma=1.5) / 2
    galaxy = [
        gaussian(SIDE, x=2.5, y=-1.5, sigma=4, axis_ratio=0.4, angle=angle) + star
        for angle in (0.6, 2.0)
    ]
    cutouts = CutoutSet(
        np.array(galaxy)[:, np.newaxis] + noise,
        pixel_scale=0.4 * u.arcsec,
        rotation=[20, 130] * u.deg,
        parity=parity,
        table=table,
    )
    preprocessor = Preprocessor(neighbours=None, recentre=6, rotate=True, scale='radius')
    clean = preprocessor.transform(cutouts)
    for row in range(2):
        position = cutouts.wcs(row).pixel_to_world(31.5 + 14, 31.5 + 9)
        x, y = np.round(clean.wcs(row).world_to_pixel(position)).astype(int)
        window = clean.images[row, 0, y - 3 : y + 4, x - 3 : x + 4]
        assert np.unravel_index(np.argmax(window), (7, 7)) == (3, 3)
    assert decode_flags(clean.flags[0]) == ['recentred']
