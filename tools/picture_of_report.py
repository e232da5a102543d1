# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Take the picture of a report for the documentation, in a headless browser."""

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from astro_morph import MorphologyClassifier
from astro_morph.simulation import SimulatedSurvey
from astro_morph.tests.browser import open_browser, set_screen

DEFAULT = Path(__file__).parents[1] / 'docs' / '_static' / 'report.png'

N_GALAXIES = 120
SCREEN = (1120, 1500)
COLOURS = 64


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--output', type=Path, default=DEFAULT, help='PNG file')
    parser.add_argument(
        '--galaxies', type=int, default=N_GALAXIES, help='number of simulated galaxies'
    )
    options = parser.parse_args()
    survey = SimulatedSurvey('sdss', n_galaxies=options.galaxies)
    classifier = MorphologyClassifier(survey, strategy='linear', random_state=0)
    classifier.fit(survey.catalogue[::2])
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / 'report.html'
        print(classifier.report(survey.catalogue[1::2], page))
        photograph(page, options.output)


def photograph(page, output):
    """Save the top of a page as a small picture with few colours."""
    browser = open_browser()
    try:
        set_screen(browser, *SCREEN)
        browser.execute_cdp_cmd('Emulation.setScrollbarsHidden', {'hidden': True})
        browser.get(page.as_uri())
        browser.save_screenshot(output)
    finally:
        browser.quit()
    with Image.open(output) as picture:
        picture.convert('RGB').quantize(COLOURS).save(output, optimize=True)


if __name__ == '__main__':
    main()
