# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fixtures of several test files: fitted models, a browser, and a cache for the tests."""

import pytest

from astro_morph import MorphologyClassifier, MorphologyEncoder
from astro_morph.models import networks
from astro_morph.tests.browser import open_browser
from astro_morph.tests.helpers import keep_out_of_the_users_cache, make_blobs  # noqa: F401

ENLARGEMENT = networks.ENLARGEMENT


@pytest.fixture(autouse=True, scope='session')
def see_small_images_as_they_are():
    """Networks that the tests build do not enlarge images, which would take twice as long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, 'ENLARGEMENT', 1.0)
        yield


@pytest.fixture
def enlarged(monkeypatch):
    """Networks enlarge small images, as outside of the tests."""
    monkeypatch.setattr(networks, 'ENLARGEMENT', ENLARGEMENT)


@pytest.fixture(scope='session')
def blobs():
    """Cutouts of 24 galaxies with labels; nobody changes them."""
    return make_blobs(24)


@pytest.fixture(scope='session')
def classifier(blobs):
    """A fitted classifier: a linear head on random features."""
    return MorphologyClassifier(
        encoder='random', strategy='linear', random_state=0, device='cpu', verbose=0
    ).fit(blobs)


@pytest.fixture(scope='session')
def encoder(blobs):
    """A fitted encoder, after one epoch."""
    return MorphologyEncoder(epochs=1, random_state=0, device='cpu', verbose=0).fit(blobs)


@pytest.fixture
def browser():
    """A browser; a page must say nothing on its console that the test has not asked for."""
    browser = open_browser()
    try:
        yield browser
        assert browser.get_log('browser') == []
    finally:
        browser.quit()
