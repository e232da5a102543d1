# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The classifier: what it learns from, what it gives back, and what it refuses."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from sklearn.base import clone

from astro_morph import CutoutSet, MorphologyClassifier, MorphologyEncoder, decode_flags
from astro_morph.cutouts import CutoutSource
from astro_morph.cutouts.outcome import NoImageWarning
from astro_morph.estimators.classifier import STRATEGIES
from astro_morph.learning import strategies
from astro_morph.learning.heads import calibrated_losses, fit_head
from astro_morph.learning.subjects import classes
from astro_morph.photometry import Preprocessor
from astro_morph.simulation import SimulatedSurvey
from astro_morph.tests.helpers import make_blobs


def make(**parameters):
    defaults = {
        'encoder': 'random',
        'strategy': 'linear',
        'random_state': 0,
        'device': 'cpu',
        'verbose': 0,
    }
    return MorphologyClassifier(**defaults | parameters)


@pytest.fixture(scope='module')
def survey():
    return SimulatedSurvey(n_galaxies=16, kinds=['round', 'edge_on'], random_state=1)


@pytest.fixture
def catalogue(survey):
    return survey.catalogue.copy()


@pytest.fixture
def labels(blobs):
    return np.array(blobs.table['morphology'])


def identifier(fitted):
    return fitted.model_.spec.identifier


class TestLabels:
    def test_masked_and_empty_labels_are_unlabelled(self, blobs, labels):
        # Wrong labels under the mask: were they read, the classes would be others.
        names = np.where(np.arange(24) < 8, 'never_seen', labels).astype(object)
        names[8:10] = '', ' '
        column = MaskedColumn(names.astype(str), mask=np.arange(24) < 8)
        fitted = make().fit(blobs.replace(table=Table({'morphology': column})))
        assert fitted.classes_.tolist() == ['edge_on', 'round']
        # The same as with the labelled rows only; all rows set the stretch.
        assert identifier(fitted) == identifier(make().fit(blobs, column))
        assert identifier(fitted) != identifier(make().fit(blobs))

    def test_given_y_comes_before_the_column(self, blobs, labels):
        turned = np.where(labels == 'round', 'disc', 'cigar')
        assert make().fit(blobs, turned).classes_.tolist() == ['cigar', 'disc']

    @pytest.mark.parametrize(
        'make_y',
        [
            np.asarray,
            list,
            pd.Series,
            MaskedColumn,
            lambda labels: np.ma.array(labels, mask=np.arange(24) > 22),
            lambda labels: np.where(labels == 'round', 1, 0),
            lambda labels: np.where(np.arange(24) > 20, np.nan, labels == 'round'),
            lambda labels: [None, *labels[1:]],
        ],
    )
    def test_any_sort_of_y(self, blobs, labels, make_y):
        y = make_y(labels)
        fitted = make().fit(blobs, y)
        assert len(fitted.classes_) == 2
        assert fitted.score(blobs, y) > 0.8

    def test_labels_of_failed_rows_do_not_count(self, blobs, labels):
        failed = np.arange(24) == 3
        cutouts = blobs.replace(status=np.where(failed, 'truncated', 'ok'))
        fitted = make().fit(cutouts, np.where(failed, 'odd', labels))
        assert fitted.classes_.tolist() == ['edge_on', 'round']

    def test_weights_shift_the_balance(self, blobs):
        # Labels that have nothing to do with the images.
        y = np.random.default_rng(0).permutation(np.resize([0, 1], 24))
        low, middle, high = (
            make().fit(blobs, y, np.where(y == 1, weight, 1)).predict_proba(blobs)[:, 1].mean()
            for weight in (0.1, 1, 10)
        )
        assert low < middle - 0.05 < high - 0.1


class TestSamples:
    def test_cutouts_and_arrays_give_the_same(self, blobs, labels):
        of_cutouts = make().fit(blobs)
        for X in (blobs.images, blobs.images.astype(float)):
            fitted = make(bands='gr').fit(X, labels)
            np.testing.assert_array_equal(fitted.predict_proba(X), of_cutouts.predict_proba(blobs))

    def test_pictures(self, labels):
        images = make_blobs(24, bands='rgb').images
        pictures = np.clip(40 * images + 20, 0, 255).astype(np.uint8)
        fitted = make().fit(pictures, labels)
        assert fitted.model_.spec.kind == 'picture'
        assert fitted.score(pictures, labels) > 0.8
        with pytest.raises(ValueError, match=r'linear in flux, .* trained on pictures'):
            fitted.predict(pictures.astype(float))

    def test_catalogue_positions_and_frames_give_the_same(self, survey, catalogue):
        fitted = make(source=survey, size=24).fit(catalogue)
        expected = fitted.predict_proba(catalogue)
        coords = SkyCoord(catalogue['ra'], catalogue['dec'])
        kinds = catalogue['morphology']
        frame = pd.DataFrame({'ra': coords.ra.deg, 'dec': coords.dec.deg, 'morphology': kinds})
        for X, y in ((coords, kinds), (frame, None), (survey.fetch(catalogue, size=24), None)):
            again = make(source=survey, size=24).fit(X, y)
            np.testing.assert_allclose(again.predict_proba(X), expected, atol=1e-5)

    def test_bands_are_chosen(self, survey, catalogue):
        fitted = make(source=survey, size=24, bands=['i', 'g']).fit(catalogue)
        assert fitted.model_.spec.bands == ('i', 'g')
        np.testing.assert_allclose(
            fitted.predict_proba(catalogue),
            fitted.predict_proba(survey.fetch(catalogue, size=24)),
            atol=1e-6,
        )

    def test_cutouts_are_cut_as_in_training(self, survey, catalogue):
        fitted = make(source=survey, size=24).fit(catalogue)
        fitted.set_params(size=48)
        assert np.isfinite(fitted.predict_proba(catalogue)).all()


class TestPredictions:
    def test_probabilities_add_up_and_fit_the_classes(self, classifier, blobs):
        probabilities = classifier.predict_proba(blobs)
        assert probabilities.shape == (24, 2)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
        predicted = classifier.predict(blobs)
        assert not np.ma.isMaskedArray(predicted)
        np.testing.assert_array_equal(predicted, classifier.classes_[probabilities.argmax(axis=1)])

    def test_rows_without_image_are_masked(self, classifier, blobs):
        cutouts = blobs.replace(status=np.where(np.arange(24) == 5, 'truncated', 'ok'))
        predicted = classifier.predict(cutouts)
        assert np.flatnonzero(predicted.mask).tolist() == [5]
        assert np.isnan(classifier.predict_proba(cutouts)[5]).all()
        others = np.arange(24) != 5
        np.testing.assert_allclose(
            classifier.predict_proba(cutouts)[others],
            classifier.predict_proba(blobs)[others],
            rtol=1e-4,
        )

    def test_all_images_missing(self, classifier):
        table = Table({'path': ['nowhere.fits', 'nowhere.png', '']})
        with pytest.warns(NoImageWarning, match="none of 3 rows .* the first is 'nowhere.fits'"):
            assert classifier.predict(table).mask.all()
        with pytest.warns(NoImageWarning, match='2 not_found, 1 no_path'):
            annotated = classifier.annotate(table)
        assert annotated['morph_status'].tolist() == ['not_found', 'not_found', 'no_path']
        assert annotated['morph_class'].mask.all()

    def test_decision_is_the_logarithm_of_the_odds(self, classifier, blobs):
        p = classifier.predict_proba(blobs).astype(float)
        decision = classifier.decision_function(blobs)
        np.testing.assert_allclose(decision, np.log(p[:, 1] / p[:, 0]), rtol=1e-3, atol=1e-4)

    def test_decision_of_more_classes_has_a_column_each(self, blobs):
        fitted = make().fit(blobs, np.resize(['a', 'b', 'c'], 24))
        decision, p = fitted.decision_function(blobs), fitted.predict_proba(blobs)
        np.testing.assert_allclose(np.exp(decision), p, rtol=1e-5)

    @pytest.mark.filterwarnings('ignore:the labels .* are no classes of the model')
    def test_score_is_the_accuracy_of_the_rows_that_count(self, classifier, blobs):
        predicted = classifier.predict(blobs).copy()
        truth = np.where(np.arange(24) < 6, 'neither', predicted)
        assert classifier.score(blobs, truth) == pytest.approx(18 / 24)
        # Unlabelled rows and rows without an image do not count.
        truth = np.ma.array(truth, mask=np.arange(24) < 2)
        cutouts = blobs.replace(status=np.where(np.arange(24) == 10, 'truncated', 'ok'))
        assert classifier.score(cutouts, truth) == pytest.approx(17 / 21)
        weight = np.where(np.arange(24) < 6, 3.0, 1.0)
        assert classifier.score(blobs, truth, weight) == pytest.approx(18 / (18 + 4 * 3))

    def test_score_reads_the_catalogue(self, classifier, blobs):
        truth = np.asarray(blobs.table['morphology'])
        expected = np.mean(classifier.predict(blobs) == truth)
        assert classifier.score(blobs) == pytest.approx(expected)


class TestAnnotate:
    def test_class_rows_order_and_columns_stay(self, survey, catalogue):
        fitted = make(source=survey, size=24).fit(catalogue)
        catalogue['ra'][4] = np.nan * catalogue['ra'].unit
        before = catalogue.copy()
        annotated = fitted.annotate(catalogue, prefix='m_')
        assert type(annotated) is QTable
        assert len(annotated) == 16
        assert annotated.colnames[: len(before.colnames)] == before.colnames
        assert catalogue.colnames == before.colnames
        for name in before.colnames:
            np.testing.assert_array_equal(annotated[name], before[name])
        assert np.flatnonzero(annotated['m_status'] != 'ok').tolist() == [4]
        assert annotated['m_status'][4] == 'no_coordinates'
        assert np.flatnonzero(annotated['m_class'].mask).tolist() == [4]
        rows = annotated['m_status'] == 'ok'
        np.testing.assert_allclose(
            annotated['m_p_round'][rows], fitted.predict_proba(catalogue)[rows, 1], rtol=1e-5
        )

    def test_plain_table_stays_plain(self, classifier, blobs):
        annotated = classifier.annotate(blobs)
        assert type(annotated) is Table
        assert annotated['id'].tolist() == list(range(24))


class TestTraining:
    def fine_tuned(self, blobs, **parameters):
        return make(strategy='fine-tune', epochs=2, batch_size=8, **parameters).fit(blobs)

    @pytest.mark.parametrize('strategy', STRATEGIES)
    def test_random_state_repeats_exactly(self, blobs, strategy):
        first, again, other = (
            make(strategy=strategy, epochs=1, random_state=seed).fit(blobs) for seed in (5, 5, 6)
        )
        assert identifier(first) == identifier(again)
        np.testing.assert_array_equal(first.predict_proba(blobs), again.predict_proba(blobs))
        assert identifier(first) != identifier(other)

    @pytest.mark.parametrize('strategy', STRATEGIES)
    def test_global_generator_is_left_alone(self, blobs, strategy):
        state = torch.get_rng_state()
        make(strategy=strategy, epochs=1, random_state=None).fit(blobs).predict(blobs)
        assert torch.equal(torch.get_rng_state(), state)

    def test_fine_tuning_keeps_a_history_and_calibrates(self, blobs):
        fitted = self.fine_tuned(blobs)
        assert [record['epoch'] for record in fitted.history_] == [1, 2]
        assert 0.1 <= float(fitted.model_.network.temperature) <= 10
        assert make().fit(blobs).history_ == []

    def test_fine_tuning_copes_with_a_class_of_one_label(self, blobs, labels):
        rare = labels.astype('U8')
        rare[3] = 'merger'
        fitted = make(strategy='fine-tune', epochs=1).fit(blobs, rare)
        assert fitted.classes_.tolist() == ['edge_on', 'merger', 'round']
        assert fitted.predict_proba(blobs).shape == (24, 3)

    def test_balanced_weights_make_a_rare_class_likelier(self):
        cutouts = make_blobs(48, size=17, random_state=1)
        # Labels that no image tells: all that is learnt is how frequent they are.
        labels = np.where(np.arange(48) % 6 == 0, 'rare', 'usual')
        shares = [
            make(class_weight=weight).fit(cutouts, labels).predict_proba(cutouts)[:, 0].mean()
            for weight in (None, 'balanced', {'rare': 100, 'usual': 1})
        ]
        assert shares[0] < shares[1] < shares[2]

    def test_smoothed_labels_are_believed_less(self, blobs):
        clean = Preprocessor().transform(blobs).images
        spreads = []
        for share in (0.0, 0.9):
            fitted = make(strategy='fine-tune', epochs=10, batch_size=8, label_smoothing=share)
            model = fitted.fit(blobs).model_
            # Before the calibration, which makes up for it.
            logits = model.run(clean)[0] * float(model.network.temperature)
            spreads.append(np.ptp(logits, axis=1).mean())
        assert spreads[1] < 0.7 * spreads[0]

    def test_max_time_ends_fine_tuning(self, blobs):
        fitted = make(strategy='fine-tune', epochs=100_000, max_time=0.2).fit(blobs)
        assert len(fitted.history_) < 50

    def test_all_of_max_time_is_for_the_only_part(self, blobs, monkeypatch):
        given = []
        train = strategies.train

        def observed(*args, **options):
            given.append(options['max_time'])
            return train(*args, **options)

        monkeypatch.setattr(strategies, 'train', observed)
        classifier = make(strategy='fine-tune', epochs=1, max_time=8)
        classifier.fit(blobs)
        classifier.fit(blobs, validation=np.arange(24) % 3 == 0)
        assert given == [4, 4, 8]

    def test_auto_takes_a_head_below_two_hundred_labels(self):
        fitted = make(strategy='auto').fit(make_blobs(199, size=17))
        assert fitted.model_.spec.frozen
        assert fitted.history_ == []

    @pytest.mark.parametrize(
        ('owner', 'name', 'value', 'is_frozen'),
        [
            (strategies, 'LEARNING_RATE', 100.0, True),
            # A head that has learnt the opposite of what the labels say.
            (classes, 'fit_head', lambda head, X, y, w: fit_head(head, X, 1 - y, w), False),
        ],
    )
    def test_auto_fine_tunes_unless_a_linear_head_is_better(
        self, monkeypatch, owner, name, value, is_frozen
    ):
        monkeypatch.setattr(strategies, 'FINE_TUNE_FROM', 60)
        monkeypatch.setattr(owner, name, value)
        fitted = make(strategy='auto', epochs=2).fit(make_blobs(60, size=17))
        assert fitted.model_.spec.frozen == is_frozen
        assert bool(fitted.history_) != is_frozen

    def test_linear_learns_the_blobs(self):
        train, test = make_blobs(60, random_state=1), make_blobs(40, random_state=2)
        assert make().fit(train).score(test) > 0.85


class TestSemiSupervised:
    @pytest.fixture
    def labels(self, labels):
        return np.ma.array(labels, mask=np.arange(24) % 4 >= 2)

    def fit(self, cutouts, labels, **parameters):
        parameters = {'strategy': 'semi-supervised', 'epochs': 2, 'batch_size': 8} | parameters
        return make(**parameters).fit(cutouts, labels)

    @pytest.mark.usefixtures('enlarged')
    def test_images_without_a_label_are_learnt_from(self, blobs, labels):
        images = blobs.images.copy()
        # Upside down: what is measured on all rows stays.
        images[2::4] = images[2::4, :, ::-1]
        first, other = self.fit(blobs, labels), self.fit(blobs.replace(images=images), labels)
        assert identifier(first) != identifier(other)
        tuned = [
            self.fit(cutouts, labels, strategy='fine-tune')
            for cutouts in (blobs, blobs.replace(images=images))
        ]
        assert identifier(tuned[0]) == identifier(tuned[1])

    def test_without_any_it_is_fine_tuning(self, blobs, labels):
        rows = ~labels.mask
        known, labels = blobs[rows], labels[rows]
        first = self.fit(known, labels)
        assert identifier(first) == identifier(self.fit(known, labels, strategy='fine-tune'))

    def test_what_is_unlike_all_that_is_labelled_is_left_out(self):
        cutouts = make_blobs(80, random_state=3)
        labels = np.ma.array(cutouts.table['morphology'], mask=np.arange(80) >= 40)
        images = cutouts.images.copy()
        images[40:] = 50 * np.random.default_rng(0).normal(size=images[40:].shape)
        noisy = cutouts.replace(images=images)
        first, tuned = (
            self.fit(noisy, labels, strategy=name) for name in ('semi-supervised', 'fine-tune')
        )
        assert identifier(first) == identifier(tuned)

    def test_rows_to_validate_on_choose_the_epoch(self, blobs, labels):
        fitted = make(strategy='semi-supervised', epochs=2, batch_size=8)
        fitted.fit(blobs, labels, validation=np.arange(24) % 8 < 2)
        assert [record['epoch'] for record in fitted.history_] == [1, 2]
        assert len(fitted.model_.spec.conformity) == 6

    def test_learns_the_blobs(self):
        train, test = make_blobs(60, random_state=1), make_blobs(40, random_state=2)
        labels = np.ma.array(train.table['morphology'], mask=np.arange(60) >= 20)
        assert self.fit(train, labels, epochs=8).score(test) > 0.85


class TestValidation:
    @pytest.fixture
    def held_out(self):
        return np.arange(24) % 3 == 0

    def test_labels_held_out_are_not_learnt_but_calibrate(self, blobs, labels, held_out):
        wrong = labels.copy()
        wrong[held_out] = labels[held_out][::-1]
        right, wrong = (make().fit(blobs, y, validation=held_out) for y in (labels, wrong))
        weights = [fitted.model_.network.head.weight for fitted in (right, wrong)]
        assert torch.equal(*weights)
        # Of eight labels that were held out, each has a score.
        assert len(right.model_.spec.conformity) == 8
        temperatures = [float(fitted.model_.network.temperature) for fitted in (right, wrong)]
        assert temperatures[0] < temperatures[1]

    def test_plain_features_can_hold_out_too(self):
        random = np.random.default_rng(0)
        X, y = random.normal(size=(60, 4)), np.repeat([0, 1], 30)
        fitted = make().fit(X, y, validation=np.arange(60) % 2 == 0)
        assert len(fitted.model_.spec.conformity) == 30

    def test_weights_are_those_of_the_best_epoch(self, blobs, labels, held_out):
        fitted = make(strategy='fine-tune', epochs=5, batch_size=8)
        fitted.fit(blobs, labels, validation=held_out)
        losses = [record['validation_loss'] for record in fitted.history_]
        assert len(losses) == 5
        network = fitted.model_.network
        network.views = 1
        clean = Preprocessor().transform(blobs[held_out]).images
        logits = fitted.model_.run(clean)[0] * float(network.temperature)
        target = np.searchsorted(fitted.classes_, labels[held_out])
        loss = calibrated_losses(logits, target, np.ones(len(target))).mean()
        # The epochs, and the weights at the start, were compared in half precision.
        assert loss < min(losses) + 0.05
        assert max(losses) > min(losses)

    @pytest.mark.parametrize(
        ('validation', 'message'),
        [
            (np.arange(24), 'must be an array of 24 bool, one a row of X, got int64'),
            (np.ones(7, bool), r'got bool of shape \(7,\)'),
            (np.zeros(24, bool), 'holds out 0 of 24 labels'),
            (np.ones(24, bool), 'some labels of every class must be left'),
        ],
    )
    def test_others_are_refused(self, blobs, validation, message):
        with pytest.raises(ValueError, match=message):
            make().fit(blobs, validation=validation)


class TestEncoder:
    def test_moco_pretrains_on_all_rows(self, blobs):
        few = blobs.table['morphology'].astype('U8')
        few[6:] = ''
        cutouts = blobs.replace(table=Table({'morphology': few}))
        fitted = make(encoder='moco', max_time=0.2).fit(cutouts)
        assert isinstance(fitted.encoder_, MorphologyEncoder)
        assert fitted.encoder_.history_
        assert fitted.classes_.tolist() == ['edge_on', 'round']

    def test_fitted_encoder_is_the_start_and_stays(self, encoder, blobs):
        before = encoder.transform(blobs)
        fitted = make(encoder=encoder).fit(blobs)
        assert fitted.encoder_ is encoder
        # A linear head leaves the features as they are.
        clean = Preprocessor().transform(blobs).images
        np.testing.assert_allclose(fitted.model_.run(clean)[1], before, rtol=1e-4, atol=1e-5)
        make(encoder=encoder, strategy='fine-tune', epochs=1).fit(blobs)
        np.testing.assert_array_equal(encoder.transform(blobs), before)

    def test_unfitted_encoder_is_fitted_and_the_parameter_stays(self, blobs):
        parameter = MorphologyEncoder(epochs=1, random_state=0, device='cpu', verbose=0)
        fitted = make(encoder=parameter).fit(blobs)
        assert len(fitted.encoder_.history_) == 1
        assert not hasattr(parameter, 'model_')

    def test_saved_encoder_is_read(self, encoder, blobs, tmp_path):
        encoder.save(tmp_path / 'encoder.pt')
        fitted = make(encoder=str(tmp_path / 'encoder.pt')).fit(blobs)
        assert identifier(fitted) == identifier(make(encoder=encoder).fit(blobs))

    def test_encoder_of_other_bands_is_adapted(self, encoder):
        cutouts = make_blobs(12, bands='griz')
        fitted = make(encoder=encoder).fit(cutouts)
        assert fitted.predict_proba(cutouts).shape == (12, 2)

    def test_clones_keep_a_fitted_encoder_and_copy_an_unfitted_one(self, encoder):
        assert clone(make(encoder=encoder)).encoder is encoder
        unfitted = clone(encoder)
        assert not hasattr(unfitted, 'model_')
        cloned = clone(make(encoder=unfitted))
        assert cloned.encoder is not unfitted
        assert cloned.get_params()['encoder__epochs'] == 1

    def test_random_start_has_no_encoder(self, classifier):
        assert classifier.encoder_ is None


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class TestFile:
    @pytest.mark.parametrize('kind', ['strings', 'numbers'])
    def test_loaded_classifier_gives_the_same_probabilities(self, blobs, labels, tmp_path, kind):
        y = labels if kind == 'strings' else np.where(labels == 'round', 7, 3)
        fitted = make().fit(blobs, y)
        fitted.save(tmp_path / 'model.pt')
        loaded = MorphologyClassifier.load(tmp_path / 'model.pt', device='cpu', verbose=0)
        np.testing.assert_array_equal(loaded.predict_proba(blobs), fitted.predict_proba(blobs))
        np.testing.assert_array_equal(loaded.predict(blobs), fitted.predict(blobs))
        assert loaded.classes_.dtype == fitted.classes_.dtype
        assert loaded.model_.spec == fitted.model_.spec
        assert [path.name for path in tmp_path.iterdir()] == ['model.pt']

    def test_fitted_classifier_survives_a_pickle(self, classifier, blobs):
        copy = pickle.loads(pickle.dumps(classifier))
        np.testing.assert_array_equal(copy.predict_proba(blobs), classifier.predict_proba(blobs))

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            MorphologyClassifier.load(tmp_path / 'nowhere.pt')

    @pytest.mark.parametrize('content', [{'weights': torch.ones(2)}, torch.ones(3), [1, 2]])
    def test_torch_file_from_elsewhere_is_refused(self, tmp_path, content):
        torch.save(content, tmp_path / 'model.pt')
        with pytest.raises(ValueError, match='is not a model file of astro_morph'):
            MorphologyClassifier.load(tmp_path / 'model.pt')

    def test_model_of_another_format_is_refused(self, tmp_path):
        torch.save({'format': 'astro_morph model 99'}, tmp_path / 'model.pt')
        with pytest.raises(ValueError, match="has the format 'astro_morph model 99', expected"):
            MorphologyClassifier.load(tmp_path / 'model.pt')

    @pytest.mark.parametrize('write', ['pickle', 'torch'])
    def test_code_in_a_file_is_not_run(self, tmp_path, write):
        sign = tmp_path / 'was-here'
        content = {'format': 'astro_morph model 1', 'spec': Evil(sign)}
        if write == 'pickle':
            (tmp_path / 'model.pt').write_bytes(pickle.dumps(content))
        else:
            torch.save(content, tmp_path / 'model.pt')
        for load in (MorphologyClassifier.load, MorphologyEncoder.load):
            with pytest.raises(ValueError, match='is not a model file of astro_morph'):
                load(tmp_path / 'model.pt')
        assert not sign.exists()

    @pytest.mark.parametrize('share', [0, 0.5, 0.99])
    def test_truncated_file_is_refused(self, classifier, tmp_path, share):
        path = tmp_path / 'model.pt'
        classifier.save(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match='is not a model file of astro_morph'):
            MorphologyClassifier.load(path)


class Untouchable(CutoutSource):
    """A source that must not be asked."""

    def fetch(self, X, *, size=None):
        pytest.fail('images were fetched for labels that can not be learnt')


class TestRefusal:
    @pytest.mark.parametrize(
        ('column', 'message'),
        [
            ({'morphology': ['round'] * 3}, r"hold 1 class \['round'\].* at least two"),
            ({'morphology': ['', '', '']}, r'hold 0 classes \[\].* at least two'),
            ({'kind': ['a', 'b', 'a']}, r"'morphology'.*'ra', 'dec', 'kind'"),
        ],
    )
    def test_labels_are_checked_before_images_are_fetched(self, column, message):
        table = Table({'ra': [1.0, 2, 3], 'dec': [1.0, 2, 3]} | column)
        with pytest.raises(ValueError, match=message):
            make(source=Untouchable()).fit(table)

    def test_no_image_at_all(self):
        table = Table({'path': ['nowhere.fits', 'nowhere.png'], 'morphology': ['a', 'b']})
        with (
            pytest.warns(NoImageWarning, match="the first is 'nowhere.fits'"),
            pytest.raises(ValueError, match=r'no row with an image \(2 not_found\)'),
        ):
            make().fit(table)

    def test_no_image_of_a_class(self, blobs):
        status = np.where(blobs.table['morphology'] == 'round', 'truncated', 'ok')
        with pytest.raises(ValueError, match=r"rows with an image hold 1 class \['edge_on'\]"):
            make().fit(blobs.replace(status=status))

    def test_images_without_labels(self, blobs):
        for X in (blobs.images, CutoutSet(blobs.images)):
            with pytest.raises(ValueError, match=r'requires y to be passed.* no table'):
                make().fit(X)

    def test_images_of_three_axes(self, blobs, labels):
        with pytest.raises(ValueError, match=r'\(n, band, y, x\), got .*\(24, 24, 24\)'):
            make().fit(blobs.images[:, 0], labels)

    def test_another_number_of_labels(self, blobs, labels, classifier):
        for call in (make().fit, classifier.score):
            with pytest.raises(ValueError, match='y has 23 labels, X has 24 rows'):
                call(blobs, labels[1:])

    def test_another_number_of_weights(self, blobs):
        with pytest.raises(ValueError, match=r'sample_weight.*\(23,\)'):
            make().fit(blobs, sample_weight=np.ones(23))

    def test_images_of_other_bands_or_size(self, classifier):
        with pytest.raises(ValueError, match=r"3 bands, expected 2: \['g', 'r'\]"):
            classifier.predict(np.zeros((1, 3, 24, 24)))
        with pytest.raises(ValueError, match=r'\(32, 32\), the model was trained on \(24, 24\)'):
            classifier.predict(np.zeros((1, 2, 32, 32)))

    def test_features_for_a_classifier_of_images(self, classifier):
        with pytest.raises(ValueError, match='X has no images: it is of the type ndarray'):
            classifier.predict(np.zeros((4, 10)))


class TestPreprocessing:
    @pytest.fixture
    def raw(self, blobs):
        """The blobs on a sky that is bright, and differs from cutout to cutout."""
        sky = np.random.default_rng(0).uniform(5, 20, (24, 2, 1, 1))
        return blobs.replace(images=blobs.images + sky)

    def test_flux_is_cleaned_by_default(self, blobs, raw):
        fitted = make().fit(raw)
        assert fitted.model_.spec.preprocessing == Preprocessor().settings()
        np.testing.assert_allclose(
            fitted.predict_proba(raw), make().fit(blobs).predict_proba(blobs), atol=0.02
        )

    def test_none_leaves_it_as_it_is(self, blobs, raw):
        fitted = make(preprocessing=None).fit(blobs)
        assert fitted.model_.spec.preprocessing is None
        assert fitted.score(raw) < 0.8 < make().fit(blobs).score(raw)

    def test_pictures_are_left_as_they_are(self, labels):
        pictures = np.clip(40 * make_blobs(24, bands='rgb').images + 20, 0, 255).astype(np.uint8)
        assert make().fit(pictures, labels).model_.spec.preprocessing is None

    def test_model_keeps_the_settings(self, raw, tmp_path):
        fitted = make(preprocessing=Preprocessor(neighbours='all', recentre=3)).fit(raw)
        fitted.save(tmp_path / 'model.pt')
        loaded = MorphologyClassifier.load(tmp_path / 'model.pt', verbose=0)
        assert loaded.model_.spec.preprocessing['recentre'] == 3
        np.testing.assert_array_equal(loaded.predict_proba(raw), fitted.predict_proba(raw))

    def test_what_is_found_is_flagged_and_what_is_empty_masked(self, raw):
        images = raw.images.copy()
        images[2, 0, 3, 4] = np.nan
        images[5] = 0
        fitted = make().fit(raw.replace(images=images))
        annotated = fitted.annotate(raw.replace(images=images))
        assert 'missing_pixels' in decode_flags(annotated['morph_flags'])[2]
        assert annotated['morph_status'].tolist() == ['ok'] * 5 + ['all_nan'] + ['ok'] * 18
        assert annotated['morph_class'].mask.tolist() == [i == 5 for i in range(24)]

    def test_scaled_galaxies_are_asked_for_at_their_own_scale(self, raw, recwarn):
        fitted = make(preprocessing=Preprocessor(scale='kron')).fit(raw)
        assert fitted.model_.spec.pixel_scale == 0.4
        fitted.predict(raw)
        assert not recwarn.list

    def test_encoder_that_is_fitted_first_has_settings_of_its_own(self, raw):
        encoder = MorphologyEncoder(epochs=1, verbose=0, preprocessing=None)
        fitted = make(encoder=encoder).fit(raw)
        assert fitted.encoder_.model_.spec.preprocessing is None
        assert fitted.model_.spec.preprocessing is not None
