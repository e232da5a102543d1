# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Catalogues of photutils, SExtractor and sep: positions and radii."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from photutils.segmentation import SourceCatalog, detect_sources

from astro_morph.catalog import as_table, read_positions
from astro_morph.catalog.detections.names import RADII
from astro_morph.catalog.detections.radii import find_radii, infer_scale, read_radius
from astro_morph.catalog.detections.tables import are_detections, find_pixels
from astro_morph.catalog.io.chunks import TableChunks
from astro_morph.catalog.io.tables import read_table

SCALE = 0.5
PLACES = ((15, 20), (50, 40))


def make_wcs():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
    wcs.wcs.crval, wcs.wcs.crpix = (150, 2), (30, 30)
    wcs.wcs.cdelt = -SCALE / 3600, SCALE / 3600
    return wcs


def make_catalog(wcs=None):
    y, x = np.mgrid[:64, :64]
    image = sum(np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * 3.0**2)) for a, b in PLACES)
    return SourceCatalog(image, detect_sources(image, 0.01, n_pixels=5), wcs=wcs)


class TestPhotutils:
    def test_catalogue_has_positions_and_the_radius(self):
        wcs = make_wcs()
        table = as_table(make_catalog(wcs))
        coords, status = read_positions(table)
        assert (status == 'ok').all()
        expected = wcs.pixel_to_world(*np.transpose(PLACES))
        assert (coords.separation(expected) < 0.01 * u.arcsec).all()
        # Of a Gaussian, 90 % of the light is inside 2.146 standard deviations.
        np.testing.assert_allclose(table['r90'].to_value('arcsec'), 2.146 * 3 * SCALE, rtol=0.02)

    def test_without_a_wcs_both_are_in_pixels(self):
        table = as_table(make_catalog())
        assert 'sky_centroid' not in table.colnames
        assert table['r90'].unit == u.pix
        np.testing.assert_allclose(find_pixels(table), PLACES, atol=0.01)

    def test_one_source_is_a_row(self):
        catalog = make_catalog(make_wcs())[0]
        assert len(as_table(catalog)) == 1

    def test_table_with_several_sky_positions_has_one(self):
        columns = ['sky_centroid', 'sky_centroid_icrs', 'kron_radius', 'semimajor_axis']
        table = make_catalog(make_wcs()).to_table(columns=columns)
        assert (read_positions(table)[1] == 'ok').all()
        assert find_radii(table)[0].columns == ('kron_radius', 'semimajor_axis')

    def test_default_table_has_a_radius_in_pixels(self):
        catalog = make_catalog(make_wcs())
        table = catalog.to_table()
        scale = infer_scale(table, read_positions(table)[0])
        np.testing.assert_allclose(scale.to_value('arcsec'), SCALE, rtol=1e-3)
        radius = find_radii(table)[0]
        assert radius.columns == ('semimajor_axis',)
        assert read_radius(table, radius) is None
        sizes = read_radius(table, radius, pixel_scale=scale)
        expected = radius.factor * catalog.semimajor_axis.value * SCALE
        np.testing.assert_allclose(sizes.to_value('arcsec'), expected, rtol=1e-3)


class TestSExtractor:
    @pytest.mark.parametrize(
        ('names', 'expected'),
        [
            (['ALPHA_J2000', 'DELTA_J2000'], 0),
            (['ALPHA_J2000', 'DELTA_J2000', 'ALPHAWIN_J2000', 'DELTAWIN_J2000'], 2),
            (['ALPHAWIN_J2000', 'DELTAWIN_J2000', 'ALPHA_J2000', 'DELTA_J2000'], 0),
            (['ALPHA_SKY', 'DELTA_SKY'], 0),
        ],
    )
    def test_the_most_accurate_position_is_read(self, names, expected):
        table = Table({name: [10.0 + i] for i, name in enumerate(names)})
        coords, _ = read_positions(table)
        np.testing.assert_allclose(coords.ra.deg, 10 + expected)

    def test_another_pair_is_still_ambiguous(self):
        names = ['ALPHA_J2000', 'DELTA_J2000', 'ra', 'dec']
        with pytest.raises(ValueError, match='several positions'):
            read_positions(Table({name: [1.0] for name in names}))

    @pytest.mark.parametrize(
        ('columns', 'product'),
        [
            ({'KRON_RADIUS': 3.5, 'A_WORLD': 1 / 3600}, 3.5),
            ({'KRON_RADIUS': 3.5, 'A_WORLD': 1 / 3600 * u.deg}, 3.5),
            ({'PETRO_RADIUS': 4.0, 'A_WORLD': 2 / 3600}, 8.0),
            ({'KRON_RADIUS': 3.5, 'A_IMAGE': 2.0}, 3.5),
            ({'FLUX_RADIUS': 4.0 * u.pix}, 2.0),
            ({'A_IMAGE': 4.0}, 2.0),
        ],
    )
    def test_radius(self, columns, product):
        table = Table({name: u.Quantity([value]) for name, value in columns.items()})
        (radius, *_) = find_radii(table)
        sizes = read_radius(table, radius, pixel_scale=SCALE * u.arcsec)
        np.testing.assert_allclose(sizes.to_value('arcsec'), radius.factor * product)

    @pytest.mark.parametrize('value', [0.0, -1.0, np.nan, np.inf])
    def test_row_without_one(self, value):
        table = Table({'FLUX_RADIUS': [value, 1.0]})
        sizes = read_radius(table, find_radii(table)[0], pixel_scale=SCALE * u.arcsec)
        assert np.isfinite(sizes).tolist() == [False, True]

    def test_radii_of_several_fractions_are_not_known(self):
        assert find_radii(Table({'FLUX_RADIUS': [[1.0, 2.0]]})) == []

    def test_pixels_begin_with_one(self):
        assert find_pixels(Table({'X_IMAGE': [1.0], 'Y_IMAGE': [3.0]})).tolist() == [[0, 2]]

    def test_fits_ldac_is_read(self, tmp_path):
        header = fits.BinTableHDU(Table({'Field Header Card': ['SIMPLE = T']}), name='LDAC_IMHEAD')
        objects = Table({'ALPHA_J2000': [10.0], 'DELTA_J2000': [20.0], 'FLUX_RADIUS': [3.0]})
        hdus = [fits.PrimaryHDU(), header, fits.BinTableHDU(objects, name='LDAC_OBJECTS')]
        path = tmp_path / 'field.fits'
        fits.HDUList(hdus).writeto(path)
        assert read_table(path).colnames == objects.colnames
        assert TableChunks(path, 1)[0]['FLUX_RADIUS'].tolist() == [3]


class TestSep:
    ARRAY = np.array(
        [(5.0, 7.0, 3.0, 2.0, 0.1), (25.0, 9.0, 4.0, 3.0, 0.2)],
        dtype=[(name, float) for name in ('x', 'y', 'a', 'b', 'theta')],
    )

    def test_array_is_a_table(self):
        assert are_detections(self.ARRAY)
        table = as_table(self.ARRAY)
        assert table.colnames == ['x', 'y', 'a', 'b', 'theta']
        assert find_pixels(table).tolist() == [[5, 7], [25, 9]]

    def test_radius(self):
        (radius,) = find_radii(as_table(self.ARRAY))
        sizes = read_radius(as_table(self.ARRAY), radius, pixel_scale=SCALE * u.arcsec)
        np.testing.assert_allclose(sizes.to_value('arcsec') / radius.factor, [1.5, 2])

    def test_a_column_a_of_any_table_is_none(self):
        assert find_radii(Table({'a': [1.0]})) == []

    def test_without_the_frame_the_error_names_the_way(self):
        message = r"positions in pixels, \['x', 'y'\], but none on the sky.*pixel_to_world.*frame"
        with pytest.raises(ValueError, match=message):
            read_positions(as_table(self.ARRAY))

    @pytest.mark.parametrize('X', [np.zeros((3, 4)), np.zeros(3), [1, 2], 'text', None])
    def test_nothing_else_is_one(self, X):
        assert not are_detections(X)


@pytest.mark.parametrize('xy', [[(0, 0)], [(0, 0), (0, 0)], [(0, 0), (np.nan, 5)]])
def test_scale_needs_two_places(xy):
    table = Table(np.array(xy, float), names=['x', 'y'])
    coords = SkyCoord(np.linspace(10, 10.1, len(table)), np.zeros(len(table)), unit='deg')
    assert infer_scale(table, coords) is None


def test_factors_are_those_of_the_apertures():
    factors = {radius.columns: radius.factor for radius in RADII}
    ratio = factors['kron_radius', 'semimajor_axis'] / factors['KRON_RADIUS', 'A_WORLD']
    # SExtractor has multiplied the radius by 2.5.
    assert abs(ratio - 2.5) < 0.05
