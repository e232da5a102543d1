# Licensed under a 3-clause BSD style license - see LICENSE.rst
import numpy as np
import pytest
from scipy.special import softmax

from astro_morph import MorphologyClassifier, MorphologyEncoder, MorphologyRegressor
from astro_morph.learning import distillation
from astro_morph.simulation import SimulatedSurvey


@pytest.fixture(scope='module', autouse=True)
def few_passes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distillation, 'EPOCHS_RANGE', (8, 8))
        yield


@pytest.fixture(scope='module')
def galaxies():
    survey = SimulatedSurvey(n_galaxies=160, kinds=['edge_on', 'round'], random_state=0)
    return survey.fetch(survey.catalogue, size=24), np.array(survey.catalogue['morphology'])


@pytest.fixture(scope='module')
def teacher(galaxies):
    cutouts, labels = galaxies
    return MorphologyClassifier(strategy='linear', random_state=0, verbose=0).fit(
        cutouts[:60], labels[:60]
    )


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
    seen = galaxies[0][:140]
    expected, came = predict(teacher.model_, seen)[1], predict(student.model_, seen)[1]
    rough = predict(teacher.model_, seen, views=1)[1]
    assert student.model_.spec.views == 1
    assert np.abs(came - expected).mean() < np.abs(rough - expected).mean()


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
    encoder = MorphologyEncoder.from_pretrained('sdss-moco-resnet18', verbose=0)
    encoder = encoder.adapt(cutouts)
    student = encoder.distil(cutouts[:110])
    seen = cutouts[:110]
    expected, rough = predict(encoder.model_, seen)[1], predict(encoder.model_, seen, views=1)[1]
    assert np.abs(student.transform(seen) - expected).mean() < np.abs(rough - expected).mean()


def test_intervals_of_a_student_hold_what_those_of_its_teacher_hold(galaxies):
    cutouts, labels = galaxies
    numbers = (labels == 'round') + np.random.default_rng(0).normal(scale=0.2, size=len(labels))
    teacher = MorphologyRegressor(strategy='linear', random_state=0, verbose=0).fit(
        cutouts[:60], numbers[:60]
    )
    student = teacher.distil(cutouts[:140])
    low, high = student.predict_interval(cutouts[140:], coverage=0.9)
    assert np.mean((low <= numbers[140:]) & (numbers[140:] <= high)) > 0.6


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
        features = np.random.default_rng(0).normal(size=(160, 4))
        teacher = MorphologyClassifier(random_state=0, verbose=0).fit(features, y)
    with pytest.raises(ValueError, match=message):
        teacher.distil(features[:20] if what == 'features' else X[:20])
