# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the tree of questions of a citizen science project."""

import re

import numpy as np
import pytest

from astro_morph.catalog.vote_tree import VoteTree, galaxy_zoo_2

TREE = {
    'shape': {'answers': {'round': 'n_round', 'flat': 'n_flat', 'artifact': 'n_artifact'}},
    'bulge': {
        'answers': {'yes': 'n_bulge', 'no': 'n_no_bulge'},
        'asked_after': {'shape': ['flat']},
    },
}


def test_asked_is_the_product_along_the_way():
    tree = VoteTree(
        {
            'a': {'answers': {'x': 'ax', 'y': 'ay', 'z': 'az'}},
            'b': {'answers': {'x': 'bx', 'y': 'by'}, 'asked_after': {'a': ['x', 'y']}},
            'c': {'answers': {'x': 'cx', 'y': 'cy'}, 'asked_after': {'a': ['z'], 'b': ['y']}},
        }
    )
    asked = tree.asked([[0.5, 0.2, 0.3, 0.9, 0.1, 0.6, 0.4]])
    np.testing.assert_allclose(asked, [[1, 0.7, 0.3 + 0.7 * 0.1]])


def test_counts_are_counts():
    counts = [[3, 1, 0, 1, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(VoteTree(TREE).counts(counts), counts)


def test_fractions_are_shared_out_along_the_tree():
    fractions = [[0.2, 0.7, 0.1, 0.5, 0.5], [1, 0, 0, 0, 0]]
    counts = VoteTree(TREE).counts(fractions, voters=[20, 40])
    np.testing.assert_allclose(counts, [[4, 14, 2, 7, 7], [40, 0, 0, 0, 0]])


def test_rounded_fractions_give_all_votes():
    counts = VoteTree(TREE).counts([[0.333, 0.333, 0.333, 0, 0]], voters=30)
    np.testing.assert_allclose(counts, [[10, 10, 10, 0, 0]])


@pytest.mark.parametrize('bad', [np.nan, -99, np.inf])
def test_question_with_a_bad_value_has_no_votes(bad):
    counts = VoteTree(TREE).counts([[20, 10, 0, bad, 4]])
    np.testing.assert_array_equal(counts, [[20, 10, 0, 0, 0]])


@pytest.mark.parametrize('bad', [np.nan, -1, 0, np.inf])
def test_galaxy_of_unknown_voters_has_no_votes(bad):
    counts = VoteTree(TREE).counts([[1, 0, 0, 0, 0]] * 2, voters=[bad, 9])
    np.testing.assert_array_equal(counts.sum(axis=1), [0, 9])


def test_fractions_without_voters_are_refused():
    with pytest.raises(ValueError, match='pass voters=, the number of'):
        VoteTree(TREE).counts([[0.2, 0.8, 0, 0.5, 0.5]])


def test_counts_with_voters_are_refused():
    with pytest.raises(ValueError, match='up to 14, expected fractions'):
        VoteTree(TREE).counts([[4, 14, 2, 7, 7]], voters=20)


def test_counts_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r'shape \(1, 2\), expected \(n, 5\)'):
        VoteTree(TREE).counts([[4, 14]])


@pytest.mark.parametrize(
    ('tree', 'message'),
    [
        ({}, 'must be a dictionary'),
        (['shape'], 'must be a dictionary'),
        ({'a': {'x': 'ax', 'y': 'ay'}}, "question 'a', expected {'answers'"),
        ({'a': {'answers': {'x': 'ax'}}}, 'two answers or more'),
        ({'a': {'answers': ['ax', 'ay']}}, 'two answers or more'),
        ({'a': {'answers': {1: 'ax', 2: 'ay'}}}, 'as text'),
        ({'a': {'answers': {'x': 'ax', 'y': 'ax'}}}, r"the column \['ax'\]"),
        (
            {'a': {'answers': {'x': 'ax', 'y': 'ay'}, 'asked_after': {'b': ['x']}}},
            r"'a' is asked after \[\('b', 'x'\)\]",
        ),
        (
            {'a': {'answers': {'x': 'ax', 'y': 'ay'}, 'asked_after': {'a': ['x']}}},
            'earlier questions',
        ),
        (
            {
                'a': {'answers': {'b_x': '1', 'y': '2'}},
                'a_b': {'answers': {'x': '3', 'y': '4'}},
            },
            r"the name \['a_b_x'\]",
        ),
    ],
)
def test_what_is_no_tree_is_refused(tree, message):
    with pytest.raises(ValueError, match=message):
        VoteTree(tree)


def test_tree_is_independent_of_the_dictionary():
    questions = {'a': {'answers': {'x': 'ax', 'y': 'ay'}}}
    tree = VoteTree(questions)
    questions['a']['answers']['x'] = 'other'
    assert tree.questions['a']['answers']['x'] == 'ax'


def test_galaxy_zoo_2_has_37_answers_to_11_questions():
    tree = VoteTree(galaxy_zoo_2('count'))
    assert len(tree.questions) == 11
    # Answers are numbered to 38, without a 35.
    numbers = [int(re.search(r'_a(\d\d)_', column)[1]) for column in tree.columns]
    assert sorted(numbers) == [n for n in range(1, 39) if n != 35]


def test_galaxy_zoo_2_asks_who_saw_a_spiral_for_its_arms():
    tree = VoteTree(galaxy_zoo_2())
    fractions = np.zeros((1, len(tree.names)))
    for answer in ('smooth_or_features_features_or_disk', 'edgeon_no', 'spiral_spiral'):
        fractions[0, tree.names.index(answer)] = 0.5
    asked = dict(zip(tree.questions, tree.asked(fractions)[0], strict=True))
    assert asked['edgeon'] == 0.5
    assert asked['bar'] == asked['spiral'] == asked['bulge_prominence'] == 0.25
    assert asked['arms_number'] == asked['arms_winding'] == 0.125
    assert asked['rounded'] == asked['bulge_shape'] == 0
