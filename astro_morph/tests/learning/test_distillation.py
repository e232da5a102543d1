# Licensed under a 3-clause BSD style license - see LICENSE.rst
import numpy as np
import pytest
from scipy.special import softmax

from astro_morph import MorphologyClassifier, MorphologyEncoder, MorphologyRegressor
from astro_morph.learning import distillation
from astro_morph.simulation import SimulatedSurvey


@pytest.fixture(scope='module')
def galaxies():
    survey = SimulatedSurvey(n_galaxies=160, kinds=['edge_on', 'round'], random_state=0)
    return survey.fetch(survey.catalogue, size=24), np.array(survey.catalogue['morphology'])


@pytest.fixture(scope='module')
def teacher(galaxies):
    cutouts, labels = galaxies
    return MorphologyClassifier(encoder='random', strategy='linear', random_state=0, verbose=0).fit(
        cutouts[:60], labels[:60]
    )


@pytest.fixture(autouse=True)
def few_passes(monkeypatch):
    monkeypatch.setattr(distillation, 'EPOCHS_RANGE', (3, 3))


@pytest.fixture(scope='module')
def student(teacher, galaxies):
    return teacher.distil(galaxies[0][:140])


def predict(model, cutouts, *, views=None):
    """Return logits, features and novelty of a model that averages some views."""
    network, images = model.network, cutouts.images.astype(np.float32)
    network.views, before = views or network.views, network.views
    outputs = model.run(images)
    network.views = before
    return outputs


def test_a_student_is_nearer_to_its_teacher_than_the_teacher_is_by_one_view(
    teacher, student, galaxies
):
    new = galaxies[0][140:]
    expected = predict(teacher.model_, new)
    rough = predict(teacher.model_, new, views=1)
    came = predict(student.model_, new)
    assert student.model_.spec.views == 1
    for number in (0, 1):
        error, without = (np.abs(o[number] - expected[number]).mean() for o in (came, rough))
        assert error < without


def test_its_probabilities_and_novelty_are_those_of_the_teacher(teacher, student, galaxies):
    new = galaxies[0][140:]
    (logits, _, novelty), (of_student, _, novelty_of_student) = (
        predict(e.model_, new) for e in (teacher, student)
    )
    assert np.abs(softmax(logits, 1) - softmax(of_student, 1)).mean() < 0.1
    assert np.abs(novelty - novelty_of_student).mean() < 0.25
    assert len(student.model_.spec.conformity) == 140
    sets = student.predict_set(new, coverage=0.9)
    assert np.mean(sets[np.arange(len(new)), of_student.argmax(axis=1)]) > 0.8


def test_the_teacher_stays_and_the_student_is_saved(teacher, student, tmp_path, galaxies):
    assert teacher.model_.spec.views == 8
    assert teacher.model_.spec.identifier != student.model_.spec.identifier
    student.save(tmp_path / 'student.pt')
    read = MorphologyClassifier.load(tmp_path / 'student.pt', verbose=0)
    new = galaxies[0][140:]
    assert np.array_equal(read.predict_proba(new), student.predict_proba(new))


def test_an_encoder_is_distilled(galaxies):
    cutouts, _ = galaxies
    encoder = MorphologyEncoder(epochs=1, random_state=0, verbose=0).fit(cutouts[:32])
    student = encoder.distil(cutouts[:110])
    new = cutouts[140:]
    expected, rough = predict(encoder.model_, new)[1], predict(encoder.model_, new, views=1)[1]
    assert np.abs(student.transform(new) - expected).mean() < np.abs(rough - expected).mean()


def test_intervals_of_a_student_hold_what_those_of_its_teacher_hold(galaxies):
    cutouts, labels = galaxies
    numbers = (labels == 'round') + np.random.default_rng(0).normal(scale=0.2, size=len(labels))
    teacher = MorphologyRegressor(
        encoder='random', strategy='linear', random_state=0, verbose=0
    ).fit(cutouts[:60], numbers[:60])
    student = teacher.distil(cutouts[:140])
    low, high = np.moveaxis(student.predict_interval(cutouts[140:], coverage=0.9), -1, 0)
    assert np.mean((low <= numbers[140:, None]) & (numbers[140:, None] <= high)) > 0.6


@pytest.mark.parametrize(
    ('what', 'message'),
    [
        ('few', r'X has 20 images, expected at least 100 to distil a model; pass more galaxies'),
        ('features', 'this model takes plain features, and only a model of images'),
    ],
)
def test_refusals(galaxies, teacher, what, message):
    X, y = galaxies
    if what == 'features':
        X = np.random.default_rng(0).normal(size=(160, 4))
        teacher = MorphologyClassifier(random_state=0, verbose=0).fit(X, y)
    with pytest.raises(ValueError, match=message):
        teacher.distil(X[:20])
