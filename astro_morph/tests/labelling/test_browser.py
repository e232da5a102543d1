# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the browser that tests pages."""

import pytest

from astro_morph.tests.browser import EXPECTED, open_browser, set_screen

PAGE = 'data:text/html,<title>A page</title><script>{}</script>'


def test_shows_a_page(browser, tmp_path):
    browser.get(PAGE.format(''))
    assert browser.title == 'A page'
    assert browser.save_screenshot(tmp_path / 'page.png')


def test_hears_the_errors_of_a_page(browser):
    browser.get(PAGE.format('nothing.here'))
    (message,) = browser.get_log('browser')
    assert message['level'] == 'SEVERE'
    assert 'nothing is not defined' in message['message']


@pytest.mark.parametrize('dark', [False, True])
def test_has_the_screen_that_is_set(browser, dark):
    set_screen(browser, 390, 844, dark=dark)
    browser.get(PAGE.format(''))
    assert browser.execute_script('return [screen.width, screen.height]') == [390, 844]
    query = "return matchMedia('(prefers-color-scheme: dark)').matches"
    assert browser.execute_script(query) == dark


def test_is_skipped_where_there_is_none(monkeypatch):
    monkeypatch.setenv('PATH', '')
    monkeypatch.delenv(EXPECTED, raising=False)
    with pytest.raises(pytest.skip.Exception, match='apt-get install chromium'):
        open_browser()


def test_fails_where_one_was_expected(monkeypatch):
    monkeypatch.setenv('PATH', '')
    monkeypatch.setenv(EXPECTED, '1')
    with pytest.raises(pytest.fail.Exception, match='apt-get install chromium'):
        open_browser()
