# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A real browser for the tests of pages: Chromium without a window, driven by selenium."""

import os
import shutil

import pytest
from selenium import webdriver

__all__ = ['open_browser', 'set_screen']

# As Debian, Ubuntu and Google name it.
PROGRAMS = ('chromium', 'chromium-browser', 'google-chrome')

HOW_TO = 'install one, on Debian by apt-get install chromium chromium-driver'

# Set where a browser was installed for the tests: there, its absence is a failure.
EXPECTED = 'ASTRO_MORPH_TEST_BROWSER'


def open_browser():
    """Start the browser, or skip the test where there is none."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    driver = shutil.which('chromedriver')
    if program is None or driver is None:
        refuse = pytest.fail if os.environ.get(EXPECTED) else pytest.skip
        refuse(f'there is no Chromium with chromedriver; {HOW_TO}')
    options = webdriver.ChromeOptions()
    options.binary_location = program
    # Containers have neither a sandbox for root nor much shared memory.
    for argument in ('headless=new', 'no-sandbox', 'disable-dev-shm-usage'):
        options.add_argument(f'--{argument}')
    # What pages say at any level, not only their errors.
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    return webdriver.Chrome(options, webdriver.ChromeService(driver))


def set_screen(browser, width, height, *, dark=False):
    """Give the browser a screen of some pixels, in light or dark colours."""
    screen = {'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': width < 600}
    browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', screen)
    scheme = {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}
    browser.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': [scheme]})
