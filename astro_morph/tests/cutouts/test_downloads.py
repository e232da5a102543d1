# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of downloads that are kept for a while, and of those that are of no more use."""

from itertools import count

import pytest

from astro_morph.cutouts.fetching.downloads import RecentDownloads


@pytest.fixture
def fetch():
    """A function that returns a new object each time."""
    numbers = count(1000)
    return lambda: next(numbers)


def test_a_download_that_is_of_no_more_use_is_fetched_again(fetch):
    recent = RecentDownloads(10)
    old = recent.get('a', fetch)
    assert recent.get('a', fetch) == old
    recent.forget('a', old)
    assert recent.get('a', fetch) != old


def test_a_newer_one_is_not_forgotten(fetch):
    """Several threads may find out that the same download is of no more use."""
    recent = RecentDownloads(10)
    old = recent.get('a', fetch)
    recent.forget('a', old)
    new = recent.get('a', fetch)
    recent.forget('a', old)
    assert recent.get('a', fetch) == new


def test_what_is_not_there_is_forgotten_already():
    RecentDownloads(10).forget('a', object())


def test_failures_are_not_kept(fetch):
    recent = RecentDownloads(10)
    with pytest.raises(ZeroDivisionError):
        recent.get('a', lambda: 1 / 0)
    assert recent.get('a', fetch) == 1000
