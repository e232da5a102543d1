# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The encoder: features in the rows' order, neighbours, and what it learns without labels."""

import numpy as np
import pytest
import torch
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph import CutoutSet, MorphologyClassifier, MorphologyEncoder
from astro_morph.tests.helpers import make_blobs


def fit(X, **parameters):
    parameters = {'epochs': 2, 'random_state': 0, 'device': 'cpu', 'verbose': 0} | parameters
    return MorphologyEncoder(**parameters).fit(X)


@pytest.fixture
def holed():
    """Cutouts of which rows 2 and 5 failed."""
    cutouts = make_blobs(8, random_state=1)
    cutouts.status[[2, 5]] = 'truncated'
    return cutouts


class TestTransform:
    def test_rows_keep_their_order_and_failed_ones_are_nan(self, encoder, holed):
        features = encoder.transform(holed)
        assert features.shape == (8, 512)
        assert np.flatnonzero(np.isnan(features).all(axis=1)).tolist() == [2, 5]
        rows = [7, 0, 3]
        np.testing.assert_allclose(encoder.transform(holed[rows]), features[rows], rtol=1e-4)

    def test_features_do_not_depend_on_the_orientation(self, encoder, blobs):
        turned = np.rot90(blobs.images, axes=(2, 3))[..., ::-1]
        np.testing.assert_allclose(
            encoder.transform(turned), encoder.transform(blobs.images), rtol=1e-3, atol=1e-4
        )

    def test_all_rows_failed(self, encoder):
        table = Table({'path': ['nowhere.fits', 'nowhere.png']})
        assert np.isnan(encoder.transform(table)).all()
        assert encoder.transform(table).shape == (2, 512)

    def test_features_have_names_and_become_a_data_frame(self, blobs):
        encoder = fit(blobs, epochs=1).set_output(transform='pandas')
        frame = encoder.transform(blobs)
        names = encoder.get_feature_names_out()
        assert names[[0, -1]].tolist() == ['morphologyencoder0', 'morphologyencoder511']
        assert frame.columns.tolist() == names.tolist()
        assert len(frame) == 24


class TestNeighbors:
    def test_are_those_of_the_smallest_angle(self, encoder, blobs):
        features = encoder.transform(blobs)
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        cosine = unit @ unit.T
        np.fill_diagonal(cosine, -np.inf)
        rows = encoder.neighbors(blobs, 4)
        found = np.take_along_axis(cosine, rows, axis=1)
        np.testing.assert_allclose(found, np.sort(cosine, axis=1)[:, :-5:-1], atol=1e-5)

    def test_of_failed_rows_are_minus_one_and_nobody_s(self, encoder, holed):
        rows = encoder.neighbors(holed, 3)
        assert np.flatnonzero((rows == -1).all(axis=1)).tolist() == [2, 5]
        known = rows[holed.is_ok]
        assert set(known.ravel()) <= {0, 1, 3, 4, 6, 7}
        assert not np.any(known == np.flatnonzero(holed.is_ok)[:, None])

    def test_twins_are_neighbours_and_not_themselves(self, encoder, blobs):
        twins = blobs[[0, 1, 2, 3, 0, 1, 2, 3]]
        assert encoder.neighbors(twins, 1).ravel().tolist() == [4, 5, 6, 7, 0, 1, 2, 3]


class TestFit:
    def test_random_state_repeats_exactly(self, blobs):
        first, again, other = (fit(blobs, random_state=seed) for seed in (3, 3, 4))
        assert first.model_.spec.identifier == again.model_.spec.identifier
        np.testing.assert_array_equal(first.transform(blobs), again.transform(blobs))
        assert first.model_.spec.identifier != other.model_.spec.identifier

    def test_history_and_specification_are_kept(self, blobs):
        fitted = fit(blobs, epochs=3)
        assert [record['epoch'] for record in fitted.history_] == [1, 2, 3]
        assert all(np.isfinite(record['loss']) for record in fitted.history_)
        spec = fitted.model_.spec
        assert (spec.bands, spec.size, spec.kind, spec.views) == (('g', 'r'), 24, 'flux', 8)
        assert spec.pixel_scale == pytest.approx(0.4)

    def test_failed_rows_are_not_learnt_from(self, holed):
        holed.images[[2, 5]] = 1e30
        fitted = fit(holed)
        assert np.isfinite(fitted.transform(holed)[holed.is_ok]).all()
        alone = fit(holed[holed.is_ok])
        assert fitted.model_.spec.identifier == alone.model_.spec.identifier

    def test_max_time_ends_the_training(self, blobs):
        fitted = fit(blobs, epochs=100_000, max_time=0.3)
        assert 1 <= len(fitted.history_) < 50

    def test_queue_longer_than_the_data_is_warned_of(self, blobs):
        with pytest.warns(AstropyUserWarning, match=r'queue_size=65536 is longer than the 24 gal'):
            fit(blobs, epochs=1, queue_size=65536)

    @pytest.mark.parametrize('random_state', [None, 3])
    def test_global_generator_is_left_alone(self, blobs, random_state):
        state = torch.get_rng_state()
        fit(blobs, epochs=1, random_state=random_state).transform(blobs)
        assert torch.equal(torch.get_rng_state(), state)

    def test_rows_without_images_only_are_refused(self):
        table = Table({'path': ['nowhere.fits', '']})
        with pytest.raises(ValueError, match=r'no row with an image .*1 no_path, 1 not_found'):
            fit(table)

    @pytest.mark.parametrize(
        ('shape', 'message'),
        [((4, 1, 20, 24), 'square.*got 20 x 24'), ((4, 1, 16, 16), 'at least 17 pixels a side')],
    )
    def test_oblong_and_tiny_images_are_refused(self, shape, message):
        with pytest.raises(ValueError, match=message):
            fit(np.ones(shape))

    def test_one_band_and_pictures_are_learnt_from_too(self):
        pictures = np.random.default_rng(0).integers(0, 255, (8, 1, 20, 20), np.uint8)
        fitted = fit(pictures)
        assert fitted.model_.spec.kind == 'picture'
        assert np.isfinite(fitted.transform(pictures)).all()


class TestFile:
    def test_loaded_encoder_gives_the_same_features(self, encoder, blobs, tmp_path):
        encoder.save(tmp_path / 'encoder.pt')
        loaded = MorphologyEncoder.load(tmp_path / 'encoder.pt', device='cpu', verbose=0)
        np.testing.assert_array_equal(loaded.transform(blobs), encoder.transform(blobs))
        assert [path.name for path in tmp_path.iterdir()] == ['encoder.pt']

    def test_encoder_is_no_classifier(self, encoder, tmp_path):
        encoder.save(tmp_path / 'encoder.pt')
        with pytest.raises(ValueError, match=r'holds an encoder; pass it .* as encoder='):
            MorphologyClassifier.load(tmp_path / 'encoder.pt')

    def test_unknown_bundled_encoder_is_refused(self):
        with pytest.raises(ValueError, match="no bundled model 'nonsense'; there are"):
            MorphologyEncoder.from_pretrained('nonsense')


def test_cutouts_of_other_bands_are_refused(encoder):
    with pytest.raises(ValueError, match=r"\['g', 'r'\] are not among .*\['u', 'z'\]"):
        encoder.transform(CutoutSet(np.ones((2, 2, 24, 24)), bands='uz'))
