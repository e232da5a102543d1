# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the models that come with the package, on simulated galaxies."""

import numpy as np
import pytest

from astro_morph import MorphologyClassifier, MorphologyVotes
from astro_morph.models.weights import FOLDER, bundled_names
from astro_morph.simulation import SimulatedSurvey

CLASSES = ['edge_on', 'in_between', 'round', 'spiral']

# What the package may weigh.
MOST_BYTES = 45_000_000


@pytest.fixture(scope='module')
def survey():
    return SimulatedSurvey(n_galaxies=40, kinds=CLASSES, random_state=3)


@pytest.fixture(scope='module')
def classifier(survey):
    return MorphologyClassifier.from_pretrained(
        'sdss-4class', source=survey, device='cpu', verbose=0
    )


def test_they_are_small():
    assert bundled_names() == [
        'gz2-5class',
        'gz2-votes',
        'sdss-4class',
        'sdss-moco-resnet18',
        'skies-resnet18',
    ]
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < MOST_BYTES


def test_each_model_says_how_it_was_made():
    card = (FOLDER / 'README.rst').read_text(encoding='utf-8')
    for name in bundled_names():
        assert f'``{name}.pt``\n----' in card


def test_the_classifier_asks_for_the_pictures_that_it_knows(classifier):
    spec = classifier.model_.spec
    assert classifier.classes_.tolist() == CLASSES
    assert (spec.kind, spec.bands, spec.size) == ('picture', ('red', 'green', 'blue'), 64)
    assert spec.framing == '3.28 * petroR90_r'


def test_the_classifier_knows_galaxies_in_flux_that_it_has_never_seen(classifier, survey):
    annotated = classifier.annotate(survey.catalogue)
    assert (annotated['morph_status'] == 'ok').all()
    is_right = annotated['morph_class'] == survey.catalogue['morphology']
    # By chance a quarter of them would be.
    assert np.mean(is_right) > 0.7
    assert np.mean(annotated['morph_novelty'] < 0.01) < 0.2


def test_the_five_classes_are_those_of_four_and_cigars(classifier, survey):
    five = MorphologyClassifier.from_pretrained('gz2-5class', source=survey, verbose=0)
    assert five.classes_.tolist() == ['cigar', *CLASSES]
    came = five.annotate(survey.catalogue)['morph_class']
    as_four = np.where(came == 'cigar', 'edge_on', came)
    assert np.mean(as_four == classifier.annotate(survey.catalogue)['morph_class']) > 0.8


def test_votes_see_edge_on_galaxies(survey):
    votes = MorphologyVotes.from_pretrained('gz2-votes', source=survey, verbose=0)
    answers = dict(zip(votes.answers_, votes.predict(survey.catalogue).T, strict=True))
    is_edge_on = survey.catalogue['morphology'] == 'edge_on'
    edge_on = answers['edgeon_yes']
    assert edge_on[is_edge_on].mean() > edge_on[~is_edge_on].mean() + 0.2


def test_a_galaxy_without_a_radius_has_no_class(classifier, survey):
    table = survey.catalogue[:3]
    table['petroR90_r'][1] = np.nan
    assert classifier.annotate(table)['morph_status'].tolist() == ['ok', 'no_size', 'ok']


def test_unknown_classifier_is_refused():
    with pytest.raises(ValueError, match="no bundled model 'nonsense'; pass one of"):
        MorphologyClassifier.from_pretrained('nonsense')
