# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the trees of Galaxy Zoo, and of the probability of a path in them."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from astro_morph.catalog.vote_tree import (
    GALAXY_ZOO,
    VotePath,
    VoteTree,
    galaxy_zoo,
    galaxy_zoo_2,
)

# The columns of the public table of Galaxy Zoo CEERS.
CEERS = """
t0_smooth_or_featured__features_or_disk t0_smooth_or_featured__smooth
t0_smooth_or_featured__star_artifact_or_bad_zoom
t1_how_rounded_is_it__cigarshaped t1_how_rounded_is_it__in_between
t1_how_rounded_is_it__completely_round
t2_could_this_be_a_disk_viewed_edgeon__yes_edge_on_disk
t2_could_this_be_a_disk_viewed_edgeon__no_something_else
t3_edge_on_bulge_what_shape__boxy t3_edge_on_bulge_what_shape__no_bulge
t3_edge_on_bulge_what_shape__rounded
t4_is_there_a_bar__no_bar t4_is_there_a_bar__strong_bar t4_is_there_a_bar__weak_bar
t5_is_there_any_spiral_arm_pattern__yes t5_is_there_any_spiral_arm_pattern__no
t6_spiral_how_tightly_wound__loose t6_spiral_how_tightly_wound__medium
t6_spiral_how_tightly_wound__tight
t7_how_many_spiral_arms_are_there__1 t7_how_many_spiral_arms_are_there__2
t7_how_many_spiral_arms_are_there__3 t7_how_many_spiral_arms_are_there__4
t7_how_many_spiral_arms_are_there__more_than_4 t7_how_many_spiral_arms_are_there__cant_tell
t8_not_edge_on_bulge__dominant t8_not_edge_on_bulge__moderate t8_not_edge_on_bulge__no_bulge
t8_not_edge_on_bulge__large t8_not_edge_on_bulge__small
t11_is_the_galaxy_merging_or_disturbed__major_disturbance
t11_is_the_galaxy_merging_or_disturbed__merging
t11_is_the_galaxy_merging_or_disturbed__minor_disturbance
t11_is_the_galaxy_merging_or_disturbed__none
t12_are_there_any_obvious_bright_clumps__yes t12_are_there_any_obvious_bright_clumps__no
t19_what_problem_do___e_with_the_image__nonstar_artifact
t19_what_problem_do___e_with_the_image__bad_image_zoom
t19_what_problem_do___e_with_the_image__star
"""

# Folders of public tables of votes on the machine of a developer, if any.
TABLES = Path(os.environ.get('ASTRO_MORPH_VOTE_TABLES', 'no folder'))


@pytest.mark.parametrize(
    ('survey', 'n_questions', 'n_answers', 'column'),
    [
        ('gz2', 11, 37, 't08_odd_feature_a38_dust_lane_count'),
        ('decals-dr12', 10, 30, 'merging-dr12_tidal-debris'),
        ('decals-dr5', 10, 34, 'smooth-or-featured-dr5_featured-or-disk'),
        ('decals-dr8', 10, 34, 'spiral-arm-count-dr8_cant-tell'),
        ('desi', 10, 34, 'has-spiral-arms_yes_fraction'),
        ('hubble', 12, 34, 'clumps-embedded-larger-object-hubble_no'),
        ('candels', 11, 32, 'edge-on-bulge-candels_yes'),
        ('ukidss', 10, 30, 'bulge-shape-ukidss_no-bulge'),
        ('cosmic-dawn', 13, 45, 'artifact-cd_diffraction'),
        ('jwst', 12, 39, 'problem-jwst_bad-zoom'),
        ('ceers', 12, 39, 't12_are_there_any_obvious_bright_clumps__yes'),
        ('euclid', 13, 46, 'artifact-euclid_ghost'),
    ],
)
def test_tree_has_the_questions_and_columns_of_its_table(survey, n_questions, n_answers, column):
    tree = VoteTree(galaxy_zoo(survey))
    assert (len(tree.questions), len(tree.names)) == (n_questions, n_answers)
    assert column in tree.columns


def test_every_tree_is_tested():
    # Above, by name.
    assert len(GALAXY_ZOO) == 12


def test_ceers_has_all_columns_of_its_table():
    assert sorted(VoteTree(galaxy_zoo('ceers')).columns) == sorted(CEERS.split())


def test_ceers_and_jwst_are_one_tree():
    assert VoteTree(galaxy_zoo('ceers')).names == VoteTree(galaxy_zoo('jwst')).names


@pytest.mark.skipif(not TABLES.is_dir(), reason='the tables of votes are not on this machine')
def test_each_question_of_ceers_has_the_votes_of_the_answers_before():
    tree = VoteTree(galaxy_zoo('ceers'))
    table = Table.read(TABLES / 'ceers_f200w.csv')
    table = table[~np.ma.getmaskarray(table[tree.columns[0]])]
    counts = np.column_stack([table[column] for column in tree.columns]).astype(float)
    totals = tree.totals(counts)
    assert len(table) > 3000
    for leading, total in zip(tree.leading, totals.T, strict=True):
        if leading:
            np.testing.assert_allclose(total, counts[:, leading].sum(axis=1))


@pytest.mark.skipif(not TABLES.is_dir(), reason='the tables of votes are not on this machine')
def test_gz2_has_the_columns_of_its_table():
    names = Table.read(TABLES / 'gz2_stripe82_table5.fits.gz').colnames
    assert {*VoteTree(galaxy_zoo('gz2')).columns} <= {*names}
    assert {*VoteTree(galaxy_zoo_2()).columns} <= {*names}


def test_columns_follow_a_pattern():
    questions = galaxy_zoo('euclid', '{question}_{answer}_fraction')
    assert questions['merging']['answers']['none'] == 'merging_none_fraction'
    assert questions['clumps']['asked_after'] == {'disk-edge-on': ['no']}


def test_the_tree_of_a_caller_does_not_change_that_of_others():
    galaxy_zoo('desi')['bar']['answers'].clear()
    assert galaxy_zoo('desi')['bar']['answers']


def test_unknown_project_is_refused():
    with pytest.raises(ValueError, match=r"survey is 'gz3', expected one of .*'euclid'"):
        galaxy_zoo('gz3')


# Half of all see features, of these a quarter an edge-on disk, of the rest a third a bar and two
# fifths a spiral; four fifths of those have two arms.
FRACTIONS = {
    'smooth-or-featured_featured-or-disk': 1 / 2,
    'smooth-or-featured_smooth': 3 / 8,
    'smooth-or-featured_artifact': 1 / 8,
    'disk-edge-on_yes': 1 / 4,
    'disk-edge-on_no': 3 / 4,
    'bar_strong': 1 / 3,
    'bar_no': 2 / 3,
    'has-spiral-arms_yes': 2 / 5,
    'has-spiral-arms_no': 3 / 5,
    'spiral-arm-count_2': 4 / 5,
    'spiral-arm-count_3': 1 / 5,
    'merging_merger': 1 / 10,
    'merging_none': 9 / 10,
}


@pytest.mark.parametrize(
    ('path', 'expected'),
    [
        ('featured', 1 / 2),
        ('Featured or disk', 1 / 2),
        ('smooth-or-featured_smooth', 3 / 8),
        ('not artifact', 7 / 8),
        ('edge-on', 1 / 8),
        ('featured and not edge-on', 3 / 8),
        # The path of an answer need not be written.
        ('spiral', 3 / 20),
        ('featured and not edge-on and spiral', 3 / 20),
        ('spiral_arm_count 2', 3 / 25),
        ('not edge-on and bar strong and spiral', 1 / 20),
        # Asked after two answers, of which each excludes the other.
        ('merger', 7 / 80),
        ('merger and smooth', 3 / 80),
        ('merger and spiral', 3 / 200),
        ('merger and artifact', 0),
        ('not bar_strong and not bar_weak', 1 / 4),
    ],
)
def test_probability_of_a_path_is_the_product_along_it(path, expected):
    tree = VoteTree(galaxy_zoo('desi'))
    fractions = [[FRACTIONS.get(name, 0) for name in tree.names]] * 2
    came = VotePath(path, tree).probability(fractions)
    np.testing.assert_allclose(came, [expected, expected])


def test_probability_without_a_prediction_is_nan():
    tree = VoteTree(galaxy_zoo('desi'))
    fractions = np.full((1, len(tree.names)), np.nan)
    assert np.isnan(VotePath('spiral', tree).probability(fractions)).all()


@pytest.mark.parametrize(
    ('path', 'message'),
    [
        ('barred', "path 'barred': 'barred' is no answer, expected one of"),
        ('featured and', "'' is no answer"),
        ('none', "'none' fits several answers, expected one of .*merging_none"),
        ('smooth and not smooth', "excludes all answers to 'smooth-or-featured'"),
    ],
)
def test_wrong_path_is_refused(path, message):
    with pytest.raises(ValueError, match=message):
        VotePath(path, VoteTree(galaxy_zoo('desi')))


@pytest.mark.parametrize('survey', GALAXY_ZOO)
def test_usual_path_is_found_in_each_tree(survey):
    tree = VoteTree(galaxy_zoo(survey))
    path = VotePath('featured and not edge-on and spiral', tree)
    names = [[tree.names[i] for i in numbers] for numbers in path.allowed.values()]
    assert [len(answers) for answers in names] == [1, 1, 1]
    for (answer,), part in zip(names, ('_feature', '_no', 'spiral'), strict=True):
        assert part in answer


@pytest.mark.parametrize(
    ('survey', 'path', 'expected'),
    [
        ('decals-dr5', 'bar', ['bar_strong', 'bar_weak']),
        ('decals-dr5', 'not bar', ['bar_no']),
        ('decals-dr5', 'strong bar', ['bar_strong']),
        ('decals-dr12', 'bar', ['bar_yes']),
        ('gz2', 'bar', ['bar_bar']),
        ('gz2', 'round', ['rounded_completely_round']),
        ('candels', 'edge-on', ['disk-edge-on_yes']),
    ],
)
def test_a_question_stands_for_its_answers_but_no(survey, path, expected):
    tree = VoteTree(galaxy_zoo(survey))
    (allowed,) = VotePath(path, tree).allowed.values()
    assert sorted(tree.names[i] for i in allowed) == expected


@pytest.mark.parametrize('survey', ['hubble', 'decals-dr12'])
def test_round_is_not_a_rounded_bulge(survey):
    with pytest.raises(ValueError, match='round'):
        VotePath('round', VoteTree(galaxy_zoo(survey)))
