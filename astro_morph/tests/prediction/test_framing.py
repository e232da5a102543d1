# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Cutouts whose size follows from a column that the catalogue has, lacks, or names otherwise."""

import dataclasses
import re

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS
from photutils.segmentation import SourceCatalog, detect_sources

from astro_morph.catalog.flags import BITS
from astro_morph.cutouts import CutoutSet, CutoutSource, Mosaics
from astro_morph.cutouts.outcome import NoImageWarning
from astro_morph.cutouts.sizes import framing_of, grid_of
from astro_morph.estimators.predictor import ClassPredictor
from astro_morph.prediction.framing import SIDES, fetch_framed, reframed, stream_framed
from astro_morph.prediction.predict import predict, prepare
from astro_morph.tests.photometry.test_radii import R90
from astro_morph.tests.prediction.test_prediction import SPEC, BrightnessModel
from astro_morph.utils.messages import on_command_line

SIZE = (64, '3.28 * petroR90_r')
SCALE = 0.4 * u.arcsec


class Discs(CutoutSource):
    """A sky of discs, whose scale length in pixels is their declination; no image south of 0."""

    pixel_scale = SCALE

    def __init__(self):
        self.sizes = []

    def fetch(self, X, *, size=None):
        self.sizes.append((len(X), size))
        side, scale = grid_of(X, size, self.pixel_scale)
        dec = X['coord'].dec.deg if 'coord' in X.colnames else np.asarray(X['dec'])
        status = np.where(dec < 0, 'no_coverage', 'ok')
        status[np.isnan(scale) & (status == 'ok')] = 'no_size'
        y, x = np.ogrid[:side, :side]
        radius = np.hypot(x - side // 2, y - side // 2) * (scale / SCALE)[..., None, None].value
        noise = np.random.default_rng(0).normal(0, 0.05, (len(X), 2, side, side))
        discs = 20 * np.exp(-radius / np.maximum(dec, 0.1)[:, None, None])
        return CutoutSet(
            np.where(dec > 0.5, discs.T, 0).T[:, None] + noise,
            bands='gr',
            pixel_scale=scale,
            framing=framing_of(size),
            status=status,
            table=X,
        )


def spans(cutouts):
    return (64 * cutouts.pixel_scale).to_value('arcsec')


def places(*dec):
    return SkyCoord(np.full(len(dec), 10.0), np.array(dec, float), unit='deg')


class TestMeasured:
    """Positions alone."""

    @pytest.mark.parametrize(
        'X',
        [
            places(2.0, 4.0),
            Table({'ra': [10.0, 10.0], 'dec': [2.0, 4.0]}),
            Table({'id': [1, 2], 'name': ['a', 'b'], 'ra': [10.0, 10.0], 'dec': [2.0, 4.0]}),
            pd.DataFrame({'ra': [10.0, 10.0], 'dec': [2.0, 4.0]}),
        ],
        ids=['coord', 'table', 'names', 'frame'],
    )
    def test_sizes_are_measured_and_flagged(self, X):
        cutouts = fetch_framed(X, source=Discs(), size=SIZE)
        np.testing.assert_allclose(spans(cutouts), 3.28 * R90 * np.array([2, 4]) * 0.4, rtol=0.07)
        assert (cutouts.flags == BITS['size_measured']).all()
        assert cutouts.framing == '3.28 * petroR90_r'

    def test_a_large_galaxy_is_measured_on_a_larger_image(self):
        source = Discs()
        cutouts = fetch_framed(places(2.0, 15.0), source=source, size=SIZE)
        assert source.sizes[1:4] == [(2, SIDES[0]), (1, SIDES[1]), (2, SIZE)]
        np.testing.assert_allclose(spans(cutouts)[1], 3.28 * R90 * 15 * 0.4, rtol=0.07)

    def test_rows_without_a_size_say_why(self):
        cutouts = fetch_framed(places(2.0, -5.0, 0.4), source=Discs(), size=SIZE)
        assert cutouts.status.tolist() == ['ok', 'no_coverage', 'no_size']
        assert cutouts.flags.tolist() == [BITS['size_measured'], 0, 0]

    def test_no_rows(self):
        assert len(fetch_framed(places(), source=Discs(), size=SIZE)) == 0

    def test_it_is_done_on_request_beside_other_columns(self):
        table = Table({'ra': [10.0], 'dec': [3.0], 'mag': [17.5]})
        cutouts = fetch_framed(table, source=Discs(), size='2 * measured_r90')
        np.testing.assert_allclose(spans(cutouts), 2 * R90 * 3 * 0.4, rtol=0.07)
        assert cutouts.flags.tolist() == [BITS['size_measured']]
        assert table.colnames == ['ra', 'dec', 'mag']

    def test_stream_has_all_rows_in_order(self):
        dec = np.linspace(1.5, 3.5, 70)
        batches = list(stream_framed(places(*dec), source=Discs(), size=SIZE))
        assert sum(map(len, batches)) == 70
        expected = 3.28 * R90 * dec * 0.4
        np.testing.assert_allclose(np.concatenate([*map(spans, batches)]), expected, rtol=0.1)

    def test_one_warning_if_no_row_has_an_image(self):
        with pytest.warns(NoImageWarning, match='none of 70 rows') as caught:
            list(stream_framed(places(*np.full(70, -1.0)), source=Discs(), size=SIZE))
        assert len(caught) == 1


class TestOtherColumns:
    def test_radius_of_another_tool_is_taken(self):
        table = Table({'ALPHA_J2000': [10.0, 10.0], 'DELTA_J2000': [2.0, 4.0], 'X': [1.0, 2.0]})
        table['KRON_RADIUS'], table['A_WORLD'] = [4.0, 5.0], [1 / 3600, 2 / 3600]
        table['dec'] = table['DELTA_J2000']
        cutouts = fetch_framed(table['dec', 'KRON_RADIUS', 'A_WORLD'], source=Discs(), size=SIZE)
        np.testing.assert_allclose(spans(cutouts)[1] / spans(cutouts)[0], 2.5)
        assert cutouts.flags.tolist() == [0, 0]

    def test_column_of_the_catalogue_comes_first(self):
        table = Table({'ra': [1.0], 'dec': [2.0], 'petroR90_r': [5.0], 'FLUX_RADIUS': [3.0]})
        np.testing.assert_allclose(spans(fetch_framed(table, source=Discs(), size=SIZE)), 3.28 * 5)

    def test_radius_in_unknown_pixels_is_refused(self):
        table = Table({'ra': [1.0], 'dec': [2.0], 'FLUX_RADIUS': [3.0]})
        with pytest.raises(ValueError, match=r"'FLUX_RADIUS' in pixels.*0.2 \* arcsec / pix"):
            fetch_framed(table, source=Discs(), size=SIZE)


class TestMissing:
    TABLE = Table({'ra': [10.0], 'dec': [2.0], 'my_r90': [4.0]})

    def test_one_sentence_says_what_it_is_and_what_to_do(self):
        with pytest.raises(ValueError, match='X has no column') as caught:
            fetch_framed(self.TABLE, source=Discs(), size=SIZE)
        for words in (
            "'petroR90_r', only ['ra', 'dec', 'my_r90']",
            'radius of 90 % of the Petrosian flux in r in arcsec',
            'PhotoObj table of SDSS',
            "size='3.28 * my_r90'",
            'size=20 * u.arcsec',
            "size='3.28 * measured_r90'",
        ):
            assert words in str(caught.value)
        assert '\n' not in str(caught.value)

    def test_on_the_command_line_it_names_the_option(self):
        with (
            on_command_line({'size': '--size', 'X': 'catalogue'}),
            pytest.raises(ValueError, match='catalogue has no column') as caught,
        ):
            fetch_framed(self.TABLE, source=Discs(), size=SIZE)
        assert "--size '3.28 * my_r90'" in str(caught.value)
        assert '--size 20arcsec' in str(caught.value)
        assert 'u.arcsec' not in str(caught.value)

    def test_another_column_is_none_that_can_be_measured(self):
        with pytest.raises(ValueError, match='expected the sizes of the training') as caught:
            fetch_framed(places(2.0), source=Discs(), size='4 * radius')
        assert 'measured' not in str(caught.value)


class TestReframed:
    SPEC = dataclasses.replace(SPEC, pixel_scale=None, framing='3.28 * petroR90_r')
    TABLE = QTable({'dec': [2.0], 'my_r90': [4.0] * u.arcsec})

    @pytest.mark.parametrize(
        ('size', 'expected'),
        [
            ('3.28 * my_r90', 13.12),
            ('3*my_r90', 12),
            ((64, '2 * my_r90'), 8),
            (20 * u.arcsec, 20),
            ('20 arcsec', 20),
        ],
    )
    def test_model_asks_for_the_size_that_is_given(self, size, expected):
        source = Discs()
        model = reframed(BrightnessModel(self.SPEC), size)
        predict(model, self.TABLE, source=source)
        side, scale = grid_of(self.TABLE, source.sizes[0][1], SCALE)
        assert side == self.SPEC.size
        np.testing.assert_allclose(np.ravel((side * scale).value), expected)
        # No warning of another framing than that of the training: it is asked for.
        prepare(model.spec, source.fetch(self.TABLE, size=source.sizes[0][1]))

    @pytest.mark.parametrize('size', [None, 4, np.int64(4)])
    def test_nothing_and_pixels_leave_the_model(self, size):
        model = BrightnessModel(self.SPEC)
        assert reframed(model, size) is model

    def test_model_of_one_pixel_scale_stays_so(self):
        model = BrightnessModel()
        assert reframed(model, 20 * u.arcsec) is model

    def test_model_itself_is_not_changed(self):
        model = BrightnessModel(self.SPEC)
        assert reframed(model, '3 * r').run.__func__ is BrightnessModel.run
        assert model.spec == self.SPEC

    def test_estimator_passes_its_size(self):
        predictor = ClassPredictor()
        predictor.model_, predictor.source, predictor.verbose = (
            BrightnessModel(self.SPEC),
            Discs(),
            0,
        )
        predictor.size = '3.28 * my_r90'
        assert (predictor.annotate(self.TABLE)['morph_status'] == 'ok').all()
        assert predictor.source.sizes[-1][1] == (4, '3.28 * my_r90')


class TestDetectionsOfAFrame:
    """A frame with two galaxies, and what was detected in it."""

    @staticmethod
    @pytest.fixture(scope='class')
    def frame(tmp_path_factory):
        y, x = np.mgrid[:120, :160]
        noise = np.random.default_rng(0).normal(0, 0.02, x.shape)
        image = sum(
            10 * np.exp(-np.hypot(x - a, y - b) / h) for a, b, h in ((45, 50, 3), (110, 60, 4))
        )
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
        wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (150, 2), (80, 60), (-1e-4, 1e-4)
        folder = tmp_path_factory.mktemp('frame')
        for band in 'gr':
            path = folder / f'frame-{band}.fits'
            fits.writeto(path, (image + noise).astype('f4'), wcs.to_header())
        return folder, image + noise, wcs

    @staticmethod
    @pytest.fixture(scope='class')
    def detections(frame):
        _, image, wcs = frame
        segments = detect_sources(image, 0.2, n_pixels=20)
        return {
            'SourceCatalog': SourceCatalog(image, segments, wcs=wcs),
            'without WCS': SourceCatalog(image, segments),
            'table': SourceCatalog(image, segments, wcs=wcs).to_table(),
            'sep': np.array(
                [(45, 50, 5, 5, 0), (110, 60, 6.6, 6.6, 0)],
                dtype=[(name, float) for name in ('x', 'y', 'a', 'b', 'theta')],
            ),
            'SExtractor': Table(
                {'X_IMAGE': [46.0, 111.0], 'Y_IMAGE': [51.0, 61.0], 'FLUX_RADIUS': [5.0, 6.6]}
            ),
        }

    @pytest.mark.parametrize('name', ['SourceCatalog', 'without WCS', 'table', 'sep', 'SExtractor'])
    def test_each_is_a_catalogue_with_positions_and_radii(self, frame, detections, name):
        folder, _, _ = frame
        mosaics = Mosaics(folder / 'frame-{band}.fits', zero_point=22.5)
        cutouts = fetch_framed(detections[name], source=mosaics, size=(32, '3.28 * petroR90_r'))
        assert cutouts.status.tolist() == ['ok', 'ok']
        brightest = cutouts.images[:, 1].reshape(2, -1).argmax(axis=1)
        np.testing.assert_allclose(np.divmod(brightest, 32), 15.5, atol=1.6)
        ratio = (32 * cutouts.pixel_scale).to_value('deg') / 1e-4 / (3.28 * R90 * np.array([3, 4]))
        np.testing.assert_allclose(ratio, 1, atol=0.35)

    def test_pixels_need_one_frame(self, frame, detections):
        folder, image, wcs = frame
        paths = [folder / 'frame-r.fits', folder / 'second.fits']
        wcs = wcs.deepcopy()
        wcs.wcs.crval = 151, 2
        fits.writeto(paths[1], image, wcs.to_header(), overwrite=True)
        mosaics = Mosaics({'r': paths})
        with pytest.raises(ValueError, match=re.escape('has 2 images of r, expected one')):
            mosaics.fetch(detections['sep'])
        assert mosaics.fetch(detections['SourceCatalog']).status.tolist() == ['ok', 'ok']

    def test_order_follows_the_pixels(self, frame, detections):
        mosaics = Mosaics(frame[0] / 'frame-{band}.fits')
        assert sorted(mosaics.order(detections['sep'])) == [0, 1]
