# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Take the picture of the labelling page for the documentation, in a browser.

    python tools/picture_of_labelling.py docs/_static
"""

import argparse
import tempfile
import threading
from pathlib import Path

from werkzeug.serving import make_server

from astro_morph import MorphologyClassifier
from astro_morph.labelling import start
from astro_morph.labelling.page import make_app
from astro_morph.simulation import SimulatedSurvey
from astro_morph.tests.browser import open_browser, set_screen

N_GALAXIES = 150
N_LABELS = 60

# Names of the pictures, with the size and the colours of the screen.
SCREENS = {
    'labelling': (1080, 860, False),
    'labelling-dark': (1080, 860, True),
    'labelling-phone': (390, 844, False),
    'labelling-phone-dark': (390, 844, True),
}


def labelled_session(path):
    """Label simulated galaxies with their true classes."""
    survey = SimulatedSurvey(n_galaxies=N_GALAXIES)
    truth = survey.catalogue['morphology']
    session = start(
        survey.catalogue['ra', 'dec'],
        path,
        classifier=MorphologyClassifier(survey),
        classes=sorted(set(truth)),
    )
    for n in range(N_LABELS):
        session.label(session.row, truth[session.row])
        if n % 3 == 0:
            session.learn()
    return session


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().partition('\n')[0])
    parser.add_argument('folder', type=Path, help='folder of the pictures')
    parser.add_argument(
        'names', nargs='*', default=['labelling'], help=f'names of {", ".join(SCREENS)}'
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)  # the browser reports no error
    with tempfile.TemporaryDirectory() as scratch:
        session = labelled_session(Path(scratch) / 'survey-labelled.fits')
        server = make_server('127.0.0.1', 0, make_app(session, 'token'), threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = open_browser()
        for name in options.names:
            set_screen(browser, *SCREENS[name][:2], dark=SCREENS[name][2])
            browser.get(f'http://127.0.0.1:{server.port}/token/')
            browser.implicitly_wait(10)
            browser.find_element('css selector', '[data-label]:enabled')
            browser.save_screenshot(options.folder / f'{name}.png')
        browser.quit()
        server.shutdown()


if __name__ == '__main__':
    main()
