# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The search for galaxies that look alike."""

import sys

import numpy as np
import pytest
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.learning import neighbors
from astro_morph.learning.neighbors import nearest


@pytest.fixture
def features():
    """Return features of galaxies in clusters around some centres."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(40, 24))
    crowd = centres[random.integers(40, size=600)] + 0.3 * random.normal(size=(600, 24))
    return crowd.astype(np.float32)


class TestNearest:
    def test_many_are_searched_nearly_as_well(self, features, monkeypatch):
        pytest.importorskip('faiss')
        exact = nearest(features, 10)
        monkeypatch.setattr(neighbors, 'EXACT_UP_TO', 100)
        found = nearest(features, 10)
        assert found.shape == exact.shape
        shared = [len(set(a) & set(b)) for a, b in zip(exact, found, strict=True)]
        assert np.mean(shared) > 9.5
        # The nearest first, as in the exact search.
        assert np.mean(found[:, 0] == exact[:, 0]) > 0.95

    def test_none_is_its_own_neighbour_nor_twice_another_s(self, features, monkeypatch):
        pytest.importorskip('faiss')
        monkeypatch.setattr(neighbors, 'EXACT_UP_TO', 100)
        twins = np.concatenate([features[:150], features[:150]])
        rows = nearest(twins, 5)
        assert not (rows == np.arange(300)[:, None]).any()
        assert all(len(set(row)) == 5 for row in rows)
        assert np.mean(rows[:, 0] == (np.arange(300) + 150) % 300) > 0.95

    def test_without_faiss_says_how_to_get_it_and_compares_all(self, features, monkeypatch):
        exact = nearest(features, 3)
        monkeypatch.setattr(neighbors, 'EXACT_UP_TO', 100)
        monkeypatch.setitem(sys.modules, 'faiss', None)
        with pytest.warns(AstropyUserWarning, match='python -m pip install faiss-cpu'):
            np.testing.assert_array_equal(nearest(features, 3), exact)
