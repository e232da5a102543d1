# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The encoder: features in the rows' order, neighbours, and what it learns without labels."""

import numpy as np
import pytest
import torch
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from sklearn.base import clone

from astro_morph import CutoutSet, MorphologyClassifier, MorphologyEncoder, estimators
from astro_morph.catalog.flags import BITS
from astro_morph.cutouts.outcome import NoImageWarning
from astro_morph.estimators.encoder import Pace
from astro_morph.photometry import Preprocessor
from astro_morph.tests.helpers import make_blobs

# The means of stage 4, and the deviations of stages 2, 3 and 4.
N_FEATURES = 512 + (128 + 256 + 512)

OPTIONS = {'epochs': 2, 'random_state': 0, 'device': 'cpu', 'verbose': 0}
METHODS = ['moco', 'moco-v3', 'autoencoder', 'supervised']


def fit(X, **parameters):
    return MorphologyEncoder(**OPTIONS | parameters).fit(X)


@pytest.fixture
def holed():
    """Cutouts of which rows 2 and 5 failed."""
    cutouts = make_blobs(8, random_state=1)
    cutouts.status[[2, 5]] = 'truncated'
    return cutouts


class TestTransform:
    def test_rows_keep_their_order_and_failed_ones_are_nan(self, encoder, holed):
        features = encoder.transform(holed)
        assert features.shape == (8, N_FEATURES)
        assert np.flatnonzero(np.isnan(features).all(axis=1)).tolist() == [2, 5]
        rows = [7, 0, 3]
        np.testing.assert_allclose(encoder.transform(holed[rows]), features[rows], rtol=1e-4)

    def test_features_do_not_depend_on_the_orientation(self, blobs):
        # The noise in place of other sources does, a little.
        encoder = fit(blobs, epochs=1, preprocessing=None)
        turned = np.rot90(blobs.images, axes=(2, 3))[..., ::-1]
        np.testing.assert_allclose(
            encoder.transform(turned), encoder.transform(blobs.images), rtol=1e-3, atol=1e-4
        )

    def test_all_rows_failed(self, encoder):
        table = Table({'path': ['nowhere.fits', 'nowhere.png']})
        with pytest.warns(NoImageWarning, match='none of 2 rows'):
            features = encoder.transform(table)
        assert np.isnan(features).all()
        assert features.shape == (2, N_FEATURES)

    def test_features_have_names_and_become_a_data_frame(self, blobs):
        encoder = fit(blobs, epochs=1).set_output(transform='pandas')
        frame = encoder.transform(blobs)
        names = encoder.get_feature_names_out()
        assert names.tolist() == [f'morphologyencoder{i}' for i in range(N_FEATURES)]
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

    @pytest.mark.parametrize('n', [6, 100])
    def test_more_than_there_are_galaxies_are_refused(self, encoder, holed, n):
        with pytest.raises(ValueError, match=rf'n={n} neighbours of 6 galaxies'):
            encoder.neighbors(holed, n)


class TestFit:
    @pytest.mark.parametrize('method', METHODS)
    def test_every_method_moves_the_weights_and_gives_features(self, blobs, method):
        fitted, other = (fit(blobs, method=method, epochs=n, random_state=1) for n in (2, 3))
        assert np.isfinite([record['loss'] for record in fitted.history_]).all()
        assert fitted.transform(blobs).shape == (24, N_FEATURES)
        assert fitted.model_.spec.identifier != other.model_.spec.identifier
        assert (fitted.decoder_ is not None) == (method == 'autoencoder')

    @pytest.mark.parametrize('method', ['moco', 'moco-v3'])
    def test_temperature_and_momentum_follow_the_method(self, blobs, method):
        settings = {'temperature': {'moco': 0.1, 'moco-v3': 0.2}[method], 'momentum': 0.99}
        identifiers = [
            fit(blobs, method=method, **options).model_.spec.identifier
            for options in ({}, settings, settings | {'temperature': 0.5}, {'momentum': 0.5})
        ]
        assert identifiers[0] == identifiers[1]
        assert len(set(identifiers)) == 3

    def test_training_goes_on_from_its_checkpoint(self, blobs, tmp_path):
        path = tmp_path / 'run.checkpoint'
        first = fit(blobs, checkpoint=path)
        again = fit(blobs, checkpoint=path)
        # The same seconds: nothing was trained again.
        assert again.history_ == first.history_
        assert again.model_.spec.identifier == first.model_.spec.identifier

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
        with (
            pytest.warns(NoImageWarning, match="the first is 'nowhere.fits'"),
            pytest.raises(ValueError, match=r'no row with an image .*1 no_path, 1 not_found'),
        ):
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


class TestStart:
    def test_training_continues_where_another_ended(self, blobs, tmp_path):
        first = fit(blobs, epochs=1)
        first.save(tmp_path / 'first.pt')
        other = fit(blobs, epochs=1, random_state=1)
        for start in (first, str(tmp_path / 'first.pt')):
            again = fit(blobs, epochs=1, start=start, random_state=1)
            assert again.history_[0]['learning_rate'] < other.history_[0]['learning_rate']
            assert distance(again, first) < distance(other, first)

    def test_bundled_one_is_continued_in_other_bands(self, blobs):
        encoder = fit(blobs, epochs=1, start='auto')
        bundled = MorphologyEncoder.from_pretrained('sdss-moco-resnet18', verbose=0)
        assert 0 < distance(encoder, bundled) < distance(fit(blobs, epochs=1), bundled)
        assert encoder.transform(blobs).shape == (24, N_FEATURES)

    def test_clone_keeps_a_fitted_start(self, encoder):
        assert clone(MorphologyEncoder(start=encoder)).start is encoder

    def test_classifier_continues_the_bundled_one_on_all_rows(self, blobs, monkeypatch):
        monkeypatch.setattr(estimators.encoder, 'TO_CONTINUE', Pace(1, (1, 1), 0.03))
        classifier = MorphologyClassifier(
            encoder='auto+moco', strategy='linear', random_state=0, device='cpu', verbose=0
        ).fit(blobs)
        assert classifier.encoder_.start == 'auto'
        assert len(classifier.encoder_.history_) == 1

    @pytest.mark.parametrize('start', ['nonsense', MorphologyEncoder()])
    def test_what_is_no_trained_encoder_is_refused_before_any_image_is_read(self, start):
        with pytest.raises(ValueError, match=r"'nonsense' is none|not fitted"):
            fit(Table({'path': ['nowhere.fits']}), start=start)


def distance(encoder, other):
    """Change of the weights of the last stage, in units of their length."""
    one, two = (e.model_.network.encoder.layer4[1].conv2.weight.detach() for e in (encoder, other))
    return float((one - two).norm() / two.norm())


class TestLabels:
    def test_are_watched_where_the_catalogue_has_them(self, blobs):
        record, *_ = fit(blobs).history_
        assert 0 <= record['neighbor_accuracy'] <= 1
        for options in ({'label_column': 'nonsense'}, {'X': blobs.images}):
            record, *_ = fit(**{'X': blobs} | options).history_
            assert 'neighbor_accuracy' not in record
            assert record['effective_rank'] >= 1

    def test_are_not_learnt_from_without_being_asked_for(self, blobs):
        turned = blobs.replace(table=blobs.table[::-1])
        first, second = fit(blobs), fit(turned, label_column='nonsense')
        assert first.model_.spec.identifier == second.model_.spec.identifier

    def test_supervised_learns_the_labelled_rows_alone(self, blobs):
        labels = np.ma.array(blobs.table['morphology'], mask=np.arange(24) < 4)
        masked = blobs.replace(table=Table({'kind': labels}))
        expected = fit(blobs[4:], method='supervised').model_.spec.identifier
        fitted = [
            fit(masked, method='supervised', label_column='kind'),
            MorphologyEncoder('supervised', **OPTIONS).fit(blobs.images, labels),
        ]
        assert fitted[0].model_.spec.identifier == expected
        assert fitted[1].history_[0]['loss'] > 0

    def test_supervised_tells_the_classes_apart(self, blobs):
        fitted = fit(blobs, method='supervised', epochs=8, batch_size=8)
        assert fitted.history_[-1]['accuracy'] > 0.9

    def test_none_or_one_class_is_refused_by_supervised(self, blobs):
        with pytest.raises(ValueError, match='X is no table that could hold the labels'):
            fit(blobs.images, method='supervised')
        with pytest.raises(ValueError, match="'nonsense'"):
            fit(blobs, method='supervised', label_column='nonsense')
        with pytest.raises(ValueError, match=r"1 class \['round'\]"):
            fit(blobs[::2], method='supervised')

    def test_labelled_rows_without_images_are_refused_by_supervised(self):
        table = Table({'path': ['nowhere.fits', ''], 'morphology': ['a', 'b']})
        with (
            pytest.warns(NoImageWarning, match='none of 2 rows'),
            pytest.raises(ValueError, match=r'no row with an image .*1 no_path, 1 not_found'),
        ):
            fit(table, method='supervised')


class TestAdapt:
    @pytest.fixture
    def pretrained(self):
        return MorphologyEncoder.from_pretrained('sdss-moco-resnet18', device='cpu', verbose=0)

    def test_pictures_encoder_takes_flux_of_other_bands_and_size(self, pretrained, blobs):
        adapted = pretrained.adapt(blobs)
        features = adapted.transform(blobs)
        assert np.isfinite(features).all()
        assert features.shape[1] == pretrained.model_.n_features
        # The unit of flux does not matter, since the stretch was fitted too.
        brighter = blobs.replace(images=1000 * blobs.images)
        others = pretrained.adapt(brighter).transform(brighter)
        np.testing.assert_allclose(others, features, atol=0.3 * features.std())
        weights, expected = (e.model_.network.encoder.layer4 for e in (adapted, pretrained))
        for value, like in zip(weights.parameters(), expected.parameters(), strict=True):
            assert torch.equal(value, like)
        assert pretrained.model_.spec.kind == 'picture'

    def test_transform_says_what_to_do(self, pretrained, blobs):
        with pytest.raises(ValueError, match='bands') as info:
            pretrained.transform(blobs)
        assert any('adapt(X)' in note for note in info.value.__notes__)


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
        with pytest.raises(ValueError, match=r"name must be .*; 'nonsense' is none of these"):
            MorphologyEncoder.from_pretrained('nonsense')


def test_cutouts_of_other_bands_are_refused(encoder):
    with pytest.raises(ValueError, match=r"\['g', 'r'\] are not among .*\['u', 'z'\]"):
        encoder.transform(CutoutSet(np.ones((2, 2, 24, 24)), bands='uz'))


def test_flux_is_cleaned_before_it_is_encoded(blobs, encoder, tmp_path):
    sky = np.random.default_rng(0).uniform(5, 20, (24, 2, 1, 1))
    raw = blobs.replace(images=blobs.images + sky)
    assert encoder.model_.spec.preprocessing == Preprocessor().settings()
    features = encoder.transform(raw)
    clean = Preprocessor().transform(raw)
    expected = encoder.model_.run(clean.images)[1]
    np.testing.assert_allclose(features, expected, rtol=1e-5)
    # Where the galaxy leaves sky to measure, its level makes no difference.
    is_certain = clean.flags & BITS['uncertain_sky'] == 0
    assert is_certain.sum() > 10
    unclean = encoder.model_.run(raw.images)[1]
    known = encoder.transform(blobs)
    error, without = (np.std((f - known)[is_certain]) for f in (features, unclean))
    assert error < 0.03 * without
    encoder.save(tmp_path / 'encoder.pt')
    loaded = MorphologyEncoder.load(tmp_path / 'encoder.pt', verbose=0)
    np.testing.assert_array_equal(loaded.transform(raw), features)
