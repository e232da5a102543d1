# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The page on which galaxies are labelled: its answers, and how it works in a browser."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import requests
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from werkzeug.serving import make_server

from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.labelling import LabellingSession
from astro_morph.labelling.page import keys_of, make_app
from astro_morph.simulation import SimulatedSurvey
from astro_morph.tests.browser import set_screen
from astro_morph.tests.labelling.test_labelling import CLASSES, unlabelled

TOKEN = 'a-token'


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'labelled.ecsv'


@pytest.fixture
def session(path):
    cutouts, _, features = unlabelled(12)
    return LabellingSession(cutouts, features, path, classes=CLASSES)


@pytest.fixture
def client(session):
    return make_app(session, TOKEN).test_client()


class TestAnswers:
    def test_state_says_what_to_look_at(self, client, session):
        state = client.get(f'/{TOKEN}/state').json
        assert state['row'] == session.row
        assert state['picture'].startswith('data:image/png')
        assert state['counts'] == [0, 0]
        assert state['left'] == 12
        assert not state['can_undo']
        assert state['error'] is None

    def test_label_skip_and_undo(self, client, session, path):
        first = session.row
        state = client.post(f'/{TOKEN}/label', data={'row': first, 'label': 'round'}).json
        assert state['counts'] == [1, 0]
        assert state['can_undo']
        assert read_table(path)['morphology'][first] == 'round'
        second = state['row']
        state = client.post(f'/{TOKEN}/skip', data={'row': second}).json
        assert state['left'] == 10
        assert client.post(f'/{TOKEN}/undo').json['row'] == second
        assert client.post(f'/{TOKEN}/undo').json['row'] == first
        assert read_table(path)['morphology'].mask.all()

    @pytest.mark.parametrize(
        'address', ['/', '/state', '/another-token/state', f'/{TOKEN}é/state', f'/{TOKEN}/nothing']
    )
    def test_without_the_token_nothing_is_told(self, client, address):
        assert client.get(address).status_code == 403

    @pytest.mark.parametrize('task', ['label', 'skip', 'undo'])
    def test_another_site_can_do_nothing(self, client, session, task):
        data = {'row': session.row, 'label': 'round'}
        answer = client.post(f'/{TOKEN}/{task}', data=data, headers={'Origin': 'http://evil.org'})
        assert answer.status_code == 403
        assert session.counts == {'round': 0, 'edge_on': 0}

    def test_another_name_of_this_machine_is_refused(self, client):
        answer = client.get(f'/{TOKEN}/state', base_url='http://evil.org')
        assert answer.status_code == 400

    @pytest.mark.parametrize(
        ('data', 'word'),
        [
            ({'label': 'square'}, "label must be one of ['round', 'edge_on'], got 'square'"),
            ({}, "label must be one of ['round', 'edge_on'], got None"),
            ({'label': 'round', 'row': 11}, 'row 11 is not the current galaxy'),
            ({'label': 'round', 'row': 11.0}, 'row must be the number of a row, 0 to 11, got None'),
            ({'label': 'round', 'row': 'null'}, 'row must be the number of a row'),
            ({'label': 'round', 'row': 'true'}, 'row must be the number of a row'),
            ({'label': 'round', 'row': ''}, 'row must be the number of a row'),
            ({'label': 'round', 'row': -1}, 'row must be the number of a row'),
            ({'label': 'round', 'row': 12}, 'row must be the number of a row'),
        ],
    )
    def test_a_bad_label_is_refused_with_a_word(self, client, session, data, word):
        answer = client.post(f'/{TOKEN}/label', data={'row': session.row} | data)
        assert answer.status_code == 400
        assert word in answer.json['error']
        assert session.counts == {'round': 0, 'edge_on': 0}

    @pytest.mark.parametrize('row', ['null', '', '0', None])
    def test_no_request_labels_what_is_not_shown(self, client, session, path, row):
        for _ in range(12):
            session.label(session.row, 'round')
        for task in ('label', 'skip'):
            answer = client.post(f'/{TOKEN}/{task}', data={'label': 'edge_on', 'row': row})
            assert answer.status_code == 400
            assert 'no more galaxies to label' in answer.json['error']
        assert set(read_table(path)['morphology']) == {'round'}

    def test_file_that_was_changed_by_others_is_kept(self, client, session, path):
        path.write_text(path.read_text())
        answer = client.post(f'/{TOKEN}/label', data={'row': session.row, 'label': 'round'})
        assert answer.status_code == 500
        assert 'the label is not saved: ' in answer.json['error']
        assert 'was changed by another session' in answer.json['error']

    def test_nothing_to_undo_is_said(self, client):
        answer = client.post(f'/{TOKEN}/undo')
        assert answer.status_code == 400
        assert 'nothing to undo' in answer.json['error']

    def test_a_label_that_is_not_saved_is_told(self, client, session, path):
        session.path = path.parent / 'gone' / path.name
        data = {'row': session.row, 'label': 'round'}
        answer = client.post(f'/{TOKEN}/label', data=data)
        assert answer.status_code == 500
        assert 'the label is not saved' in answer.json['error']

    def test_failed_learning_is_told(self, session, monkeypatch):
        def fail():
            msg = 'out of luck'
            raise RuntimeError(msg)

        monkeypatch.setattr(session, 'learn', fail)
        client = make_app(session, TOKEN).test_client()
        while (state := client.get(f'/{TOKEN}/state').json)['is_learning']:
            pass
        assert state['error'] == 'learning has failed: out of luck'

    def test_page_loads_nothing_and_names_are_text(self, path):
        cutouts, _, features = unlabelled(4)
        session = LabellingSession(cutouts, features, path, classes=['a<b>', 'c&d'])
        answer = make_app(session, TOKEN).test_client().get(f'/{TOKEN}/')
        assert 'a&lt;b&gt;' in answer.text
        assert '<b>' not in answer.text
        assert "default-src 'none'" in answer.headers['Content-Security-Policy']
        assert '://' not in answer.text.replace('http://www.w3.org/2000/svg', '')


def test_keys_are_digits_and_letters_of_the_names():
    assert keys_of(['spiral', 'smooth', 3]) == [['1', 's'], ['2', 'm'], ['3', 'a']]
    many = keys_of([f'class {i}' for i in range(30)])
    assert [len(keys) for keys in many] == [2] * 9 + [1] * 17 + [0] * 4
    letters = [key for keys in many for key in keys]
    assert len(set(letters)) == len(letters)


def test_flask_is_asked_for_where_it_is_missing(session, monkeypatch):
    monkeypatch.setitem(sys.modules, 'flask', None)
    with pytest.raises(ModuleNotFoundError, match=r'flask, .*; python -m pip install flask'):
        make_app(session, TOKEN)


@pytest.fixture
def page(session, browser):
    """Open the page in a browser, once it shows a galaxy."""
    server = make_server('127.0.0.1', 0, make_app(session, TOKEN), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        browser.get(f'http://127.0.0.1:{server.port}/{TOKEN}/')
        wait_for(browser, lambda: counts(browser) == [0, 0] and about(browser))
        yield browser
    finally:
        # A page that still asks what is learnt would note that nobody answers.
        browser.get('about:blank')
        server.shutdown()
        thread.join()
        server.server_close()


def wait_for(browser, condition):
    WebDriverWait(browser, 60, poll_frequency=0.05).until(lambda _: condition())


def find(browser, selector):
    return browser.find_element('css selector', selector)


def about(browser):
    return find(browser, '#about').text


def counts(browser):
    return [int(e.text) for e in browser.find_elements('css selector', '.count')]


def press(browser, key, says):
    find(browser, 'body').send_keys(key)
    wait_for(browser, lambda: says in find(browser, '#said').text)


class TestBrowser:
    def test_keys_label_skip_and_undo(self, page, session, path):
        rows = [session.row]
        press(page, '1', f'Row {rows[-1]}: labelled round')
        rows.append(session.row)
        press(page, 'e', f'Row {rows[-1]}: labelled edge_on')
        rows.append(session.row)
        press(page, ' ', f'Row {rows[-1]}: skipped')
        rows.append(session.row)
        press(page, '2', f'Row {rows[-1]}: labelled edge_on')
        assert counts(page) == [1, 2]
        press(page, Keys.BACKSPACE, f'Back to row {rows[-1]}')
        assert counts(page) == [1, 1]
        assert about(page).startswith(f'row {rows[-1]} ')
        assert find(page, '#picture').get_attribute('alt').startswith('Galaxy: row')
        assert page.execute_script("return document.getElementById('picture').naturalWidth") == 24
        labels = read_table(path)['morphology']
        assert labels[rows[:2]].tolist() == ['round', 'edge_on']
        assert np.sum(~labels.mask) == 2

    def test_clicks_to_the_end_show_the_accuracy(self, page, session):
        while session.row is not None:
            row = session.row
            name = 'round' if row % 2 == 0 else 'edge_on'
            find(page, f'[data-label={name}]').click()
            wait_for(page, lambda row=row: not about(page).startswith(f'row {row} '))
        assert about(page) == 'There are no more galaxies to label.'
        wait_for(page, lambda: 'from 12 labels' in find(page, '#interval').text)
        wait_for(page, lambda: 'learning' not in find(page, '#interval').text)
        assert find(page, '#accuracy').text == f'{100 * session.progress[-1].accuracy:.0f} %'
        assert find(page, '#chart').is_displayed()
        assert find(page, '#undo').is_enabled()
        assert not find(page, '#skip').is_enabled()

    def test_a_key_counts_while_the_page_asks_what_is_learnt(self, page, session, monkeypatch):
        is_over = threading.Event()
        monkeypatch.setattr(session, 'learn', is_over.wait)
        page.execute_script("""
            const original = fetch;
            fetch = (path, options) => {
              if (path !== 'state') return original(path, options);
              document.title = 'asking';
              return new Promise(() => {});
            };
        """)
        try:
            press(page, '1', ': labelled round')
            wait_for(page, lambda: page.title == 'asking')
            press(page, 'e', ': labelled edge_on')
            assert counts(page) == [1, 1]
        finally:
            is_over.set()

    @pytest.mark.parametrize('dark', [False, True])
    def test_everything_fits_a_phone(self, page, dark):
        set_screen(page, 360, 740, dark=dark)
        assert page.execute_script('return document.documentElement.scrollWidth') <= 360
        for button in page.find_elements('css selector', 'button'):
            assert button.size['height'] >= 44
        background = find(page, 'body').value_of_css_property('background-color')
        brightness = int(background.partition('(')[2].partition(',')[0])
        assert (brightness < 128) == dark

    def test_a_label_that_is_not_saved_is_told(self, page, session, monkeypatch):
        monkeypatch.setattr(session, 'path', session.path.parent / 'gone' / 'labelled.ecsv')
        press(page, '1', 'the label is not saved')
        assert counts(page) == [0, 0]
        # The browser itself notes the code of the answer.
        (message,) = page.get_log('browser')
        assert '500' in message['message']


def test_labels_survive_when_the_process_is_killed(encoder, tmp_path):
    encoder.save(tmp_path / 'encoder.pt')
    survey = SimulatedSurvey(n_galaxies=8, bands='gr')
    survey.write(tmp_path)
    write_table(survey.catalogue['ra', 'dec'], tmp_path / 'survey.fits')
    command = (
        'label survey.fits --source sdss-{band}.fits --classes round,spiral --size 24 '
        '--encoder encoder.pt --no-browser --quiet'
    )
    process = subprocess.Popen(
        [sys.executable, '-m', 'astro_morph', *command.split()],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = process.stdout.readline().split()[-1]
        for label in ('round', 'spiral', 'round'):
            row = requests.get(f'{address}state', timeout=60).json()['row']
            data = {'row': row, 'label': label}
            requests.post(f'{address}label', data=data, timeout=60).raise_for_status()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    labels = read_table(tmp_path / 'survey-labelled.fits')['morphology']
    assert sorted(labels.compressed().tolist()) == ['round', 'round', 'spiral']
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith('.')] == []
