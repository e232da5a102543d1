# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `Mosaics` against Cutout2D, a full WCS, and an analytic sky."""

import copy
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.table import MaskedColumn, QTable, Table
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_area
from scipy.ndimage import map_coordinates

from astro_morph import decode_flags
from astro_morph.cutouts import Mosaics, as_source
from astro_morph.images.tiles import SkyImage, Tile, TilePixels

CENTRE = SkyCoord(150, 30, unit='deg')
SCALE = 0.4
SMAPS = Path('/proc/self/smaps')


def make_wcs(
    centre=CENTRE, *, scale=SCALE, shape=(200, 240), angle=0, parity=-1, frame='icrs', shift=(0, 0)
):
    """A tangential WCS whose pixel grid is turned by an angle in degrees, and shifted in pixels."""
    longitude, latitude = ('GLON', 'GLAT') if frame == 'galactic' else ('RA--', 'DEC-')
    sky = centre.transform_to(frame).spherical
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = f'{longitude}-TAN', f'{latitude}-TAN'
    wcs.wcs.crval = sky.lon.deg, sky.lat.deg
    wcs.wcs.crpix = (np.array(shape[::-1]) + 1) / 2 + shift
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = scale / 3600 * np.array([[cos, -sin], [sin, cos]]) @ np.diag([parity, 1])
    if frame == 'icrs':
        wcs.wcs.radesys = 'ICRS'
    wcs.wcs.set()
    return wcs


def sky_brightness(coords, centre=CENTRE):
    """Flux an arcsec**2 of three round and long blobs near the centre, 2 arcsec wide or more."""
    x, y = (offset.to_value(u.arcsec) for offset in centre.spherical_offsets_to(coords))
    blobs = [(0, 0, 1, 2, 2), (9, 4, 0.7, 3, 1.5), (-6, -11, 0.5, 1.2, 2.5)]
    return sum(
        peak * np.exp(-0.5 * (((x - x0) / sx) ** 2 + ((y - y0) / sy) ** 2))
        for x0, y0, peak, sx, sy in blobs
    )


def draw_sky(wcs, shape, centre=CENTRE):
    x, y = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    area = proj_plane_pixel_area(wcs) * 3600**2
    return (sky_brightness(wcs.pixel_to_world(x, y).icrs, centre) * area).astype(np.float32)


def write(path, data, wcs, **keywords):
    header = wcs.to_header()
    header.update(keywords)
    fits.PrimaryHDU(data, header).writeto(path)
    return path


def make_noise(shape=(200, 240), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def make_positions(wcs, shape=(200, 240), n=20, margin=0, seed=1):
    rng = np.random.default_rng(seed)
    y, x = (rng.uniform(margin, length - 1 - margin, n) for length in shape)
    return wcs.pixel_to_world(x, y).icrs


def resident_bytes(path):
    """Return the memory of the maps of a file."""
    _, *maps = re.split(rf'^[0-9a-f]+-.* {re.escape(str(path))}$', SMAPS.read_text(), flags=re.M)
    return sum(1024 * int(re.search(r'^Rss: +(\d+) kB', text, re.M)[1]) for text in maps)


def cut_by_astropy(data, wcs, coords, size):
    return np.stack(
        [
            Cutout2D(data, coord, size, wcs=wcs, mode='partial', fill_value=np.nan).data
            for coord in coords
        ]
    )


def interpolate(data, wcs, coords):
    """Interpolate an image at positions by its full WCS and one spline through the whole image."""
    return map_coordinates(data, wcs.world_to_pixel(coords)[::-1], order=3)


@pytest.mark.parametrize('size', [16, 31])
def test_own_pixels_are_those_of_cutout2d(tmp_path, size):
    wcs, data = make_wcs(angle=20), make_noise()
    coords = make_positions(wcs, n=50)
    cutouts = Mosaics(write(tmp_path / 'a.fits', data, wcs)).fetch(coords, size=size)
    assert cutouts.is_ok.all()
    assert cutouts.pixel_scale.to_value(u.arcsec) == pytest.approx(SCALE)
    np.testing.assert_array_equal(cutouts.images[:, 0], cut_by_astropy(data, wcs, coords, size))
    is_partial = np.isnan(cutouts.images).any(axis=(1, 2, 3))
    assert 0 < is_partial.sum() < len(coords)
    assert decode_flags(cutouts.flags) == [['partial_coverage'] * int(part) for part in is_partial]


def test_bands_on_a_grid_shifted_by_whole_pixels_are_not_resampled(tmp_path):
    g, r = make_noise(seed=1), make_noise(seed=2)
    write(tmp_path / 'a-g.fits', g, make_wcs())
    write(tmp_path / 'a-r.fits', r, make_wcs(shift=(3, -5)))
    coords = make_positions(make_wcs(), margin=40)
    cutouts = Mosaics(tmp_path / 'a-{band}.fits', bands='gr').fetch(coords, size=24)
    assert cutouts.bands == ('g', 'r')
    in_g = cut_by_astropy(g, make_wcs(), coords, 24)
    in_r = cut_by_astropy(np.roll(r, (5, -3), axis=(0, 1)), make_wcs(), coords, 24)
    np.testing.assert_array_equal(cutouts.images, np.stack([in_g, in_r], axis=1))


@pytest.mark.parametrize(
    'other',
    [
        {'shift': (0.3, -0.45)},
        {'angle': 33},
        {'angle': 90},
        {'parity': 1, 'angle': 5},
        {'scale': 0.46},
    ],
)
def test_bands_on_another_grid_are_resampled_to_that_of_the_first(tmp_path, other):
    first, second = make_wcs(angle=10), make_wcs(**other)
    data = make_noise(seed=3)
    write(tmp_path / 'a.fits', make_noise(), first)
    write(tmp_path / 'b.fits', data, second)
    coords = make_positions(first, margin=75, n=8)
    mosaics = Mosaics({'g': tmp_path / 'a.fits', 'r': [tmp_path / 'b.fits']})
    cutouts = mosaics.fetch(coords, size=20)
    assert not cutouts.flags.any()
    x, y = np.meshgrid(np.arange(20), np.arange(20))
    ratio = (SCALE / other.get('scale', SCALE)) ** 2
    for coord, image in zip(coords, cutouts.images[:, 1], strict=True):
        cutout = Cutout2D(make_noise(), coord, 20, wcs=first)
        expected = interpolate(data, second, cutout.wcs.pixel_to_world(x, y)) * ratio
        np.testing.assert_allclose(image, expected, atol=2e-3)


@pytest.mark.parametrize('scale', [0.25, 0.4, 0.7, 1.6])
@pytest.mark.parametrize('angle', [0, 147])
def test_a_pixel_scale_gives_north_up_and_keeps_the_flux(tmp_path, scale, angle):
    wcs = make_wcs(angle=angle)
    data = draw_sky(wcs, (200, 240))
    mosaics = Mosaics(write(tmp_path / 'a.fits', data, wcs), pixel_scale=scale * u.arcsec)
    coords = SkyCoord([CENTRE, CENTRE.spherical_offsets_by(1.3 * u.arcsec, 0.9 * u.arcsec)])
    size = round(44 / scale)
    cutouts = mosaics.fetch(coords, size=size)
    assert cutouts.pixel_scale == scale * u.arcsec
    assert not cutouts.flags.any()
    for coord, image in zip(coords, cutouts.images[:, 0], strict=True):
        new = make_wcs(coord, scale=scale, shape=(size, size))
        # The sky as pixels of that scale see it: the mean over 5 x 5 points in each.
        step = (np.arange(5 * size) + 0.5) / 5 - 0.5
        fine = sky_brightness(new.pixel_to_world(*np.meshgrid(step, step)).icrs) * scale**2
        expected = fine.reshape(size, 5, size, 5).mean(axis=(1, 3))
        tolerance = 0.01 if scale < 1 else 0.03
        np.testing.assert_allclose(image, expected, atol=tolerance * expected.max())
        assert image.sum() == pytest.approx(data.sum(), rel=2e-3)


def test_size_may_be_an_angle(tmp_path):
    mosaics = Mosaics(write(tmp_path / 'a.fits', make_noise(), make_wcs()))
    assert mosaics.fetch(CENTRE, size=12 * u.arcsec).shape == (1, 1, 30, 30)
    assert mosaics.fetch(CENTRE).shape == (1, 1, 64, 64)


@pytest.mark.parametrize('size', [0, -3, 2.5, 'large', 0 * u.arcsec])
def test_a_size_that_is_none_is_an_error(tmp_path, size):
    mosaics = Mosaics(write(tmp_path / 'a.fits', make_noise(), make_wcs()))
    with pytest.raises(ValueError, match=r'size (must be|names)'):
        mosaics.fetch(CENTRE, size=size)


def test_galactic_and_equatorial_images_show_the_same_sky(tmp_path):
    wcs = make_wcs(frame='galactic')
    path = write(tmp_path / 'a.fits', draw_sky(wcs, (200, 240)), wcs)
    image = Mosaics(path, pixel_scale=0.3 * u.arcsec).fetch(CENTRE, size=80).images[0, 0]
    new = make_wcs(scale=0.3, shape=(80, 80))
    np.testing.assert_allclose(image, draw_sky(new, (80, 80)), atol=2e-3 * image.max())


@pytest.mark.parametrize('centre', [SkyCoord(0, 0, unit='deg'), SkyCoord(10, 89.99, unit='deg')])
def test_the_seam_and_the_pole_are_places_like_others(tmp_path, centre):
    wcs = make_wcs(centre)
    data = make_noise()
    coords = make_positions(wcs, n=30)
    cutouts = Mosaics(write(tmp_path / 'a.fits', data, wcs)).fetch(coords, size=16)
    np.testing.assert_array_equal(cutouts.images[:, 0], cut_by_astropy(data, wcs, coords, 16))


def test_distortion_is_respected(tmp_path):
    first = make_wcs()
    coord = first.pixel_to_world(150.2, 60.7)  # where the distortion shifts by a part of a pixel
    header = first.to_header()
    header['CTYPE1'], header['CTYPE2'] = 'RA---TAN-SIP', 'DEC--TAN-SIP'
    header.update({'A_ORDER': 2, 'A_2_0': 2e-4, 'B_ORDER': 2, 'B_0_2': -1e-4, 'B_1_1': 1e-4})
    distorted = WCS(header)
    assert np.hypot(*(np.array(distorted.world_to_pixel(coord)) - (150.2, 60.7))) > 0.2
    data = draw_sky(distorted, (200, 240), coord)
    write(tmp_path / 'a.fits', make_noise(), first)
    fits.PrimaryHDU(data, header).writeto(tmp_path / 'b.fits')
    mosaics = Mosaics({'g': tmp_path / 'a.fits', 'r': tmp_path / 'b.fits'})
    image = mosaics.fetch(coord, size=20).images[0, 1]

    x, y = np.meshgrid(np.arange(20), np.arange(20))
    sky = Cutout2D(data, coord, 20, wcs=first).wcs.pixel_to_world(x, y)
    (x_by_y, x_by_x), (y_by_y, y_by_x) = map(np.gradient, distorted.world_to_pixel(sky))
    expected = interpolate(data, distorted, sky) * np.abs(x_by_x * y_by_y - x_by_y * y_by_x)
    # One affine map stands for the distortion across a cutout.
    np.testing.assert_allclose(image, expected, atol=0.01 * expected.max())


class TestTiles:
    """A mosaic of two tiles side by side; the left one 120 pixels wide, the right one from 100."""

    @pytest.fixture
    def sky(self):
        return make_noise((100, 220)), make_wcs(shape=(100, 220))

    def write_part(self, path, sky, left, right):
        data, wcs = sky
        return write(path, data[:, left:right], wcs[:, left:right])

    def test_overlapping_tiles_join_without_seam(self, tmp_path, sky):
        self.write_part(tmp_path / 'a.fits', sky, 0, 120)
        self.write_part(tmp_path / 'b.fits', sky, 100, 220)
        coords = make_positions(sky[1], (100, 220), n=60, margin=13)
        cutouts = Mosaics(tmp_path / '*.fits').fetch(coords, size=24)
        np.testing.assert_array_equal(cutouts.images[:, 0], cut_by_astropy(*sky, coords, 24))
        assert not cutouts.flags.any()

    def test_the_tile_that_covers_most_is_preferred(self, tmp_path, sky):
        for i, (left, right) in enumerate([(0, 120), (100, 220)]):
            wcs = sky[1][:, left:right]
            write(tmp_path / f'{i}.fits', np.full((100, right - left), i, np.float32), wcs)
        mosaics = Mosaics([tmp_path / '0.fits', tmp_path / '1.fits'])
        coords = sky[1].pixel_to_world([104.6, 113.6], [50, 50])
        cutouts = mosaics.fetch(coords, size=32)
        # 89 to 120 and 98 to 129: the first tile has 31 columns of the one, 22 of the other.
        np.testing.assert_array_equal(cutouts.images[0, 0, 0], [0] * 31 + [1])
        np.testing.assert_array_equal(cutouts.images[1, 0, 0], [0] * 2 + [1] * 30)

    def test_gaps_between_tiles(self, tmp_path, sky):
        self.write_part(tmp_path / 'a.fits', sky, 0, 100)
        self.write_part(tmp_path / 'b.fits', sky, 110, 220)
        coords = sky[1].pixel_to_world([94.6, 105], [49.6, 50])
        cutouts = Mosaics(tmp_path / '*.fits').fetch(coords, size=32)
        assert cutouts.status.tolist() == ['ok', 'no_coverage']
        expected = cut_by_astropy(*sky, coords[:1], 32)
        expected[:, :, 21:31] = np.nan
        np.testing.assert_array_equal(cutouts.images[:1, 0], expected)
        assert np.isnan(cutouts.images[1]).all()
        assert decode_flags(cutouts.flags) == [['partial_coverage'], []]

    def test_missing_pixels_are_filled_from_another_tile(self, tmp_path, sky):
        data, wcs = sky
        holed = data.copy()
        holed[40:60, 90:115] = np.nan
        write(tmp_path / 'a.fits', holed, wcs)
        self.write_part(tmp_path / 'b.fits', sky, 100, 220)
        coords = wcs.pixel_to_world([104.6, 60], [49.6, 50])
        cutouts = Mosaics(tmp_path / '*.fits').fetch(coords, size=24)
        expected = cut_by_astropy(*sky, coords, 24)
        expected[0, 2:22, :7] = np.nan
        np.testing.assert_array_equal(cutouts.images[:, 0], expected)
        assert decode_flags(cutouts.flags) == [['missing_pixels'], []]

    def test_tiles_of_other_scales_and_angles(self, tmp_path):
        shape = (120, 120)
        for i, (scale, angle, east) in enumerate([(0.4, 0, -15), (0.5, 60, 15), (0.3, 200, 40)]):
            wcs = make_wcs(
                CENTRE.spherical_offsets_by(east * u.arcsec, 0 * u.deg),
                scale=scale,
                angle=angle,
                shape=shape,
            )
            write(tmp_path / f'{i}.fits', draw_sky(wcs, shape), wcs)
        mosaics = Mosaics(str(tmp_path / '?.fits'))
        assert mosaics.pixel_scale.to_value(u.arcsec) == pytest.approx(0.4)
        coord = CENTRE.spherical_offsets_by(4.3 * u.arcsec, 1 * u.arcsec)
        cutouts = mosaics.fetch(coord, size=60)
        assert not cutouts.flags.any()
        new = mosaics.fetch(coord, size=60).images[0, 0]
        # On the pixels of the first tile, whose grid goes on beyond its edge.
        first = make_wcs(CENTRE.spherical_offsets_by(-15 * u.arcsec, 0 * u.deg), shape=shape)
        x, y = np.ceil(np.array(first.world_to_pixel(coord)) - 30).astype(int)
        x, y = np.meshgrid(np.arange(x, x + 60), np.arange(y, y + 60))
        expected = sky_brightness(first.pixel_to_world(x, y)) * 0.4**2
        np.testing.assert_allclose(new, expected, atol=5e-3 * expected.max())

    def test_few_files_are_open_at_a_time(self, tmp_path, sky, monkeypatch):
        for left in range(0, 220, 20):
            self.write_part(tmp_path / f'{left}.fits', sky, left, left + 20)
            self.write_part(tmp_path / f'{left}.fits.gz', sky, left, left + 20)
        monkeypatch.setattr(TilePixels, '_MAX_MAPPED', 2)
        monkeypatch.setattr(TilePixels, '_MAX_READ_BYTES', 20_000)
        held = []
        make_room = TilePixels._make_room
        monkeypatch.setattr(
            TilePixels, '_make_room', lambda s, i: (make_room(s, i), held.append(len(s._open)))
        )
        coords = make_positions(sky[1], (100, 220), margin=13)
        for pattern in ('*.fits', '*.fits.gz'):
            cutouts = Mosaics(tmp_path / pattern).fetch(coords, size=24)
            np.testing.assert_array_equal(cutouts.images[:, 0], cut_by_astropy(*sky, coords, 24))
        assert max(held) <= 2


def test_a_source_outside_all_images_has_no_coverage_though_a_corner_has(tmp_path):
    wcs = make_wcs()
    coords = wcs.pixel_to_world([-4, 3, 1000], [50, 50, 50])
    cutouts = Mosaics(write(tmp_path / 'a.fits', make_noise(), wcs)).fetch(coords, size=20)
    assert cutouts.status.tolist() == ['no_coverage', 'ok', 'no_coverage']
    assert np.isnan(cutouts.images[0]).all()


def test_missing_pixels_and_bands(tmp_path):
    wcs = make_wcs()
    g, r = make_noise(), make_noise()
    g[100, 100] = np.nan
    r[:, 150:] = np.nan
    g[:, 210:] = np.nan
    write(tmp_path / 'a-g.fits', g, wcs)
    write(tmp_path / 'a-r.fits', r[20:], wcs[20:])
    coords = wcs.pixel_to_world([50, 100, 180, 225, 100], [100, 100, 100, 100, 5])
    mosaics = Mosaics(tmp_path / 'a-{band}.fits')
    for source in (mosaics, Mosaics(tmp_path / 'a-{band}.fits', pixel_scale=0.3 * u.arcsec)):
        cutouts = source.fetch(coords, size=16)
        assert cutouts.status.tolist() == ['ok', 'ok', 'ok', 'all_nan', 'ok']
        assert decode_flags(cutouts.flags) == [
            [],
            ['missing_pixels'],
            ['missing_band'],
            [],
            ['partial_coverage', 'missing_band'],
        ]
    # A missing pixel leaves a hole of its own size.
    assert np.isnan(cutouts.images[1, 0]).sum() in (1, 2, 4)


def test_a_source_that_only_a_later_band_covers_is_cut(tmp_path):
    write(tmp_path / 'a-g.fits', make_noise(), make_wcs())
    wcs = make_wcs(shift=(-300, 0))
    data = draw_sky(wcs, (200, 240), wcs.pixel_to_world(120, 100))
    write(tmp_path / 'a-r.fits', data, wcs)
    cutouts = Mosaics(tmp_path / 'a-{band}.fits').fetch(wcs.pixel_to_world([120], [100]), size=32)
    assert decode_flags(cutouts.flags) == [['missing_band']]
    peak = np.unravel_index(np.argmax(cutouts.images[0, 1]), (32, 32))
    assert all(14 < i < 17 for i in peak)


def test_bad_positions_get_a_status(tmp_path):
    mosaics = Mosaics(write(tmp_path / 'a.fits', make_noise(), make_wcs()))
    table = Table(
        {
            'ra': MaskedColumn([150.0, 150, np.nan, 150], mask=[False, True, False, False]),
            'dec': [30.0, 30, 30, 99],
        }
    )
    cutouts = mosaics.fetch(table, size=8)
    assert cutouts.status.tolist() == [
        'ok',
        'no_coordinates',
        'no_coordinates',
        'invalid_coordinates',
    ]
    assert np.isnan(cutouts.images[1:]).all()
    assert cutouts.table is table
    assert mosaics.fetch(table[1:], size=8).status.tolist() == cutouts.status[1:].tolist()
    assert mosaics.fetch(table[:0], size=8).shape == (0, 1, 8, 8)


def test_coord_columns(tmp_path):
    path = write(tmp_path / 'a.fits', make_noise(), make_wcs())
    table = QTable({'ra': [0.0], 'dec': [0.0], 'x': [150.0] * u.deg, 'y': [30.0] * u.deg})
    assert Mosaics(path).fetch(table).status == ['no_coverage']
    assert Mosaics(path, coord_columns=('x', 'y')).fetch(table).status == ['ok']


def truncate(path, fraction=0.95):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    return path


@pytest.mark.parametrize('name', ['a.fits', 'a.fits.gz', 'a.fits.bz2'])
def test_sources_on_a_truncated_tile(tmp_path, name):
    path = truncate(write(tmp_path / name, make_noise((500, 500)), make_wcs(shape=(500, 500))))
    mosaics = Mosaics(path)
    with pytest.warns(AstropyUserWarning, match='is truncated'):
        cutouts = mosaics.fetch(SkyCoord([150, 0], [30, 30], unit='deg'))
    assert cutouts.status.tolist() == ['truncated', 'no_coverage']

    data = make_noise()
    whole = write(tmp_path / 'whole.fits', data, make_wcs())
    with pytest.warns(AstropyUserWarning, match='is truncated'):
        cutouts = Mosaics([path, whole]).fetch(CENTRE, size=20)
    assert cutouts.status == ['ok']
    assert np.isfinite(cutouts.images).all()

    with pytest.warns(AstropyUserWarning, match='is truncated'):
        cutouts = Mosaics({'g': path, 'r': whole}).fetch(CENTRE, size=20)
    assert decode_flags(cutouts.flags) == [['missing_band']]


def test_a_tile_that_vanishes_costs_its_rows_only(tmp_path):
    first = write(tmp_path / 'a.fits', make_noise(), make_wcs())
    write(tmp_path / 'b.fits', make_noise(), make_wcs(shift=(500, 0)))
    mosaics = Mosaics(tmp_path / '*.fits')
    first.unlink()
    coords = make_wcs().pixel_to_world([120, -380], [100, 100])
    with pytest.warns(AstropyUserWarning, match='is not_found'):
        assert mosaics.fetch(coords).status.tolist() == ['not_found', 'ok']


def test_files_that_are_no_images_are_left_out(tmp_path):
    (tmp_path / 'a.fits').write_text('no image')
    fits.PrimaryHDU(make_noise()).writeto(tmp_path / 'b.fits')
    with pytest.raises(ValueError, match=r'an image with a celestial WCS.*a\.fits is left out'):
        Mosaics(tmp_path / '*.fits')
    write(tmp_path / 'c.fits', make_noise(), make_wcs())
    with (
        pytest.warns(AstropyUserWarning, match=r'a\.fits is left out'),
        pytest.warns(AstropyUserWarning, match=r'b\.fits is left out.*WCS'),
    ):
        mosaics = Mosaics(tmp_path / '*.fits')
    assert mosaics.fetch(CENTRE).is_ok.all()


@pytest.mark.parametrize('name', ['a.fits.gz', 'a.fits.bz2', 'a.fits.fz'])
def test_compressed_files(tmp_path, name):
    wcs, data = make_wcs(), make_noise()
    if name.endswith('fz'):
        hdu = fits.CompImageHDU(data, wcs.to_header(), quantize_level=0, compression_type='GZIP_2')
        hdu.writeto(tmp_path / name)
    else:
        write(tmp_path / name, data, wcs)
    coords = make_positions(wcs)
    cutouts = Mosaics(tmp_path / name).fetch(coords, size=16)
    np.testing.assert_array_equal(cutouts.images[:, 0], cut_by_astropy(data, wcs, coords, 16))


@pytest.mark.parametrize('dtype', ['u1', 'i2', 'u2', 'i4', 'f8'])
def test_scaled_integers_and_blanks(tmp_path, dtype):
    wcs = make_wcs()
    raw = np.random.default_rng(0).integers(0, 100, (200, 240)).astype(dtype)
    hdu = fits.PrimaryHDU(raw, wcs.to_header())
    if dtype in ('u1', 'i2', 'i4'):
        hdu.header['BLANK'] = 7
    if dtype == 'i2':
        hdu.header['BSCALE'], hdu.header['BZERO'] = 0.25, -3.5
    hdu.writeto(tmp_path / 'a.fits')
    data = fits.getdata(tmp_path / 'a.fits')
    coords = make_positions(wcs, margin=10)
    cutouts = Mosaics(tmp_path / 'a.fits').fetch(coords, size=16)
    np.testing.assert_allclose(cutouts.images[:, 0], cut_by_astropy(data, wcs, coords, 16))
    assert np.isnan(cutouts.images).any() == ('BLANK' in hdu.header)


def test_the_planes_of_a_cube_are_bands(tmp_path):
    cube, wcs = make_noise((3, 200, 240)), make_wcs()
    write(tmp_path / 'a.fits', cube, wcs, BANDS='grz')
    coords = make_positions(wcs, margin=10)
    expected = np.stack([cut_by_astropy(plane, wcs, coords, 16) for plane in cube], axis=1)
    cutouts = Mosaics(tmp_path / 'a.fits').fetch(coords, size=16)
    assert cutouts.bands == ('g', 'r', 'z')
    np.testing.assert_array_equal(cutouts.images, expected)
    assert Mosaics(tmp_path / 'a.fits', bands=['a', 'b', 'c']).bands == ('a', 'b', 'c')
    with pytest.raises(ValueError, match=r'bands names 2 .* has 3 planes'):
        Mosaics(tmp_path / 'a.fits', bands='gr')


def test_the_extension_may_be_named(tmp_path):
    first, second = make_noise(seed=1), make_noise(seed=2)
    header = make_wcs().to_header()
    hdus = [
        fits.PrimaryHDU(),
        fits.ImageHDU(first, header, name='WHT'),
        fits.ImageHDU(second, header, name='SCI'),
    ]
    fits.HDUList(hdus).writeto(tmp_path / 'a.fits')
    for hdu, data in ((None, second), ('WHT', first), ('sci', second), (1, first)):
        image = Mosaics(tmp_path / 'a.fits', hdu=hdu).fetch(CENTRE, size=16).images[0]
        np.testing.assert_array_equal(image, cut_by_astropy(data, make_wcs(), [CENTRE], 16))


def test_names_and_order_of_the_bands(tmp_path):
    for i, band in enumerate('zgru'):
        data = np.full((50, 50), i, np.float32)
        write(tmp_path / f'frame-{band}-{band}1.fits', data, make_wcs(shape=(50, 50)), FILTER=band)
    pattern = str(tmp_path / 'frame-{band}-{band}1.fits')
    assert Mosaics(pattern).bands == ('u', 'g', 'r', 'z')
    assert Mosaics(pattern, bands='rg').bands == ('r', 'g')
    assert set(Mosaics(tmp_path / '*.fits').bands) == set('ugrz')
    files = {band: tmp_path / f'frame-{band}-{band}1.fits' for band in 'rz'}
    assert Mosaics(files).bands == ('r', 'z')
    cutouts = Mosaics(files, bands='zr').fetch(CENTRE, size=8)
    assert cutouts.bands == ('z', 'r')
    assert cutouts.images[0, :, 0, 0].tolist() == [0, 2]
    with pytest.raises(ValueError, match=r"\['q'\] are not among the keys"):
        Mosaics(files, bands='q')
    with pytest.raises(FileNotFoundError, match='no file matches'):
        Mosaics(pattern, bands='gi')
    with pytest.raises(FileNotFoundError, match='no file matches'):
        Mosaics(tmp_path / 'none-*.fits')


def test_stream_gives_what_fetch_gives_and_reads_each_file_once(tmp_path, monkeypatch):
    data = make_noise((2, 200, 240))
    for band, image in zip('gr', data, strict=True):
        write(tmp_path / f'{band}.fits.gz', image, make_wcs(angle=3 * ord(band)))
    table = QTable({'coord': make_positions(make_wcs(), n=17), 'id': np.arange(17)})
    before = table.copy()
    mosaics = Mosaics(tmp_path / '{band}.fits.gz')
    whole = mosaics.fetch(table, size=12)

    made = []
    make_room = TilePixels._make_room
    monkeypatch.setattr(TilePixels, '_make_room', lambda *a: (made.append(a), make_room(*a)))
    parts = list(mosaics.stream(table, size=12, batch_size=5))
    assert len(made) == 2
    assert [len(part) for part in parts] == [5, 5, 5, 2]
    for name in ('images', 'status', 'flags'):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))
    assert np.concatenate([part.table['id'] for part in parts]).tolist() == list(range(17))
    assert all(table['id'] == before['id'])
    assert table['coord'].ra.deg.tolist() == before['coord'].ra.deg.tolist()


def test_pickles_copies_and_threads_cut_the_same(tmp_path):
    write(tmp_path / 'g.fits', make_noise(), make_wcs())
    write(tmp_path / 'r.fits', make_noise(seed=4), make_wcs(angle=40))
    mosaics = Mosaics(tmp_path / '{band}.fits')
    coords = make_positions(make_wcs(), margin=60)
    expected = mosaics.fetch(coords, size=16).images
    for other in (pickle.loads(pickle.dumps(mosaics)), copy.deepcopy(mosaics)):
        np.testing.assert_array_equal(other.fetch(coords, size=16).images, expected)
    with ThreadPoolExecutor(4) as pool:
        for cutouts in pool.map(lambda _: mosaics.fetch(coords, size=16), range(8)):
            np.testing.assert_array_equal(cutouts.images, expected)
    assert repr(mosaics) == '<Mosaics: 2 images, 2 bands (g, r), 0.4 arcsec pixels>'


def test_order_goes_image_by_image(tmp_path):
    centres = [SkyCoord(ra, 30, unit='deg') for ra in (150, 151, 152)]
    for number, centre in enumerate(centres):
        for band in 'gr':
            write(tmp_path / f'{number}-{band}.fits', make_noise(), make_wcs(centre))
    coords = [make_positions(make_wcs(centre), margin=20) for centre in centres]
    table = Table(
        {name: np.stack([getattr(c, name).deg for c in coords]).ravel() for name in ('ra', 'dec')}
    )
    tile = np.repeat([0, 1, 2], 20)
    shuffled = np.random.default_rng(0).permutation(60)
    table, tile = table[shuffled], tile[shuffled]
    table['dec'][[3, 8]] = np.nan
    order = Mosaics(str(tmp_path / '*-{band}.fits')).order(table)
    assert sorted(order) == list(range(60))
    assert set(order[-2:]) == {3, 8}
    assert np.count_nonzero(np.diff(tile[order[:-2]])) == 2
    for number in range(3):
        assert (np.diff(table['dec'][order[:-2]][tile[order[:-2]] == number]) >= 0).all()


def test_pixels_are_the_same_after_they_were_let_go(tmp_path):
    write(tmp_path / 'a.fits', make_noise(), make_wcs())
    mosaics = Mosaics(tmp_path / 'a.fits')
    coords = make_positions(make_wcs(), margin=20)
    batches = list(mosaics.stream(coords, size=16, batch_size=3))
    expected = mosaics.fetch(coords, size=16)
    streamed = np.concatenate([batch.images for batch in batches])
    np.testing.assert_array_equal(streamed, expected.images)


@pytest.mark.skipif(not SMAPS.exists(), reason='this system does not tell what a map takes')
def test_only_the_file_in_use_takes_memory(tmp_path):
    paths = [write(tmp_path / f'{band}.fits', make_noise(), make_wcs()) for band in 'gri']
    pixels = TilePixels()
    for path in paths:
        pixels.get(Tile(*SkyImage.open_all(path), 0)).sum()
    assert [resident_bytes(path) > 0 for path in paths] == [False, False, True]
    pixels.release()
    assert resident_bytes(paths[-1]) == 0


@pytest.mark.parametrize(
    ('names', 'pattern'),
    [
        (['run[1]/a-g', 'run[1]/a-r', 'run1/a-z'], 'run[1]/a-{band}'),
        (['a[1]-g', 'a[1]-r', 'a1-z'], 'a[1]-{band}'),
        (['run[1]/a1-g', 'run[1]/a2-r', 'run[1]/a3-z'], 'run[1]/a[12]-{band}'),
        (['run[1]/a[12]-g', 'run[1]/a[12]-r'], 'run[1]/a[12]-{band}'),
        (['a1-g', 'a2-r', 'a3-z'], 'a[12]-{band}'),
        (['run*/a-g', 'run*/a-r', 'run1/a-z'], 'run*/a-{band}'),
        (['run1/a-g', 'run2/a-r', 'walk/a-z'], 'run[12]/a-{band}'),
    ],
)
def test_brackets_are_of_names_where_there_are_such(tmp_path, names, pattern):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / f'{name}.fits', make_noise((20, 20)), make_wcs(shape=(20, 20)))
    assert Mosaics(tmp_path / f'{pattern}.fits').bands == ('g', 'r')
    assert Mosaics(tmp_path / f'{pattern}.fits', bands='r').bands == ('r',)


def test_tilde_is_the_home_of_the_user(tmp_path, monkeypatch):
    write(tmp_path / 'a-g.fits', make_noise(), make_wcs())
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('USERPROFILE', str(tmp_path))
    for paths in ('~/a-{band}.fits', '~/*-{band}.fits', {'g': '~/a-g.fits'}, {'g': ['~/*g.fits']}):
        assert Mosaics(paths).fetch(CENTRE).is_ok.all()
    assert type(as_source('~/a-{band}.fits', None)) is Mosaics


def test_file_without_a_name_of_a_band_is_refused(tmp_path):
    (tmp_path / 'tile-.fits').touch()
    with pytest.raises(ValueError, match=r'letters and digits is expected in place of {band}'):
        Mosaics(tmp_path / 'tile-{band}.fits')
