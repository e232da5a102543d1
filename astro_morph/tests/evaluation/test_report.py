# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The report: what the page contains, and how a browser displays it."""

import os
import re
from pathlib import Path

import html5lib
import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from astro_morph import MorphologyClassifier
from astro_morph.evaluation import evaluate
from astro_morph.evaluation.report import write_report
from astro_morph.tests.browser import set_screen
from astro_morph.tests.helpers import fill_disk, make_blobs

# A class and a value that would take the page over, if they were more than text.
EVIL = '<script>document.title = "mine"</script>'

N_EVIL = 5
DESKTOP, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope='module')
def samples():
    """Galaxies with a class that the model does not know, without a label, and without image."""
    blobs = make_blobs(24, random_state=1)
    table = blobs.table.copy()
    table['morphology'] = table['morphology'].astype(object)
    table['morphology'][:N_EVIL] = EVIL
    table['morphology'][5:7] = ''
    table['note'] = [f'{EVIL} of row {row}' for row in range(24)]
    status = np.where(np.arange(24) == 7, 'truncated', 'ok')
    return blobs.replace(table=table, status=status)


@pytest.fixture(scope='module')
def report(samples, classifier, tmp_path_factory):
    """A report, and the evaluation that was given with it."""
    path = tmp_path_factory.mktemp('report') / 'report.html'
    with pytest.warns(match='are no classes of the model'):
        return path, classifier.report(samples, path)


@pytest.fixture(scope='module')
def text(report):
    return report[0].read_text(encoding='utf-8')


def test_existing_file_is_refused_before_the_work(tmp_path):
    (tmp_path / 'report.html').write_text('old')
    with pytest.raises(FileExistsError, match=r'report\.html exists already; use overwrite=True'):
        write_report(None, None, tmp_path / 'report.html')
    assert (tmp_path / 'report.html').read_text() == 'old'


@pytest.mark.filterwarnings('ignore:.*are no classes of the model')
def test_full_disk_leaves_nothing(samples, classifier, tmp_path, monkeypatch):
    fill_disk(monkeypatch, Path, 'write_text')
    with pytest.raises(OSError, match='No space left'):
        write_report(classifier.model_, samples, tmp_path / 'report.html')
    assert os.listdir(tmp_path) == []


@pytest.mark.filterwarnings('ignore:.*are no classes of the model')
def test_evaluation_is_that_of_evaluate(report, samples, classifier):
    assert str(report[1]) == str(evaluate(classifier, samples))


def test_page_has_the_metrics_with_their_intervals(report, text):
    for _, *values in report[1].summary():
        value, low, high = (f'{number:.3f}' for number in values)
        assert re.search(rf'{value}</td>\s*<td class="n">{low} to {high}</td>', text)


def test_page_tells_rows_labels_images_and_status(text):
    assert '22 of 24 rows have a label, and 21 of these an image' in text
    assert re.search(r'<th>truncated</th><td class="n">1</td>', text)
    assert re.search(r'<th>ok</th><td class="n">21</td>', text)


def test_page_tells_the_settings_of_the_model(text, classifier):
    for setting in ('edge_on, round', 'g, r', '24 x 24 pixels', classifier.model_.spec.identifier):
        assert f'<td class="wide">{setting}</td>' in text


def test_page_shows_the_worst_mistakes_with_image_and_row(report, text):
    worst = report[1].worst()
    assert len(worst) >= N_EVIL
    shown = re.findall(r'data-row="(\d+)"', text)
    assert shown == [str(row) for row in worst['row']]
    assert len(re.findall(r'<img src="data:image/png;base64,\w', text)) == len(worst)


def test_page_refers_to_nothing_outside(text):
    addresses = re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^")\s>]+)', text)
    assert len(addresses) > 10
    assert all(address.startswith(('#', 'data:')) for address in addresses)


def test_page_is_valid_html(text):
    page = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    identifiers = [element.get('id') for element in page.iter() if element.get('id')]
    assert len(identifiers) == len(set(identifiers)) > 5


def test_what_stands_in_the_catalogue_is_only_text(text):
    assert EVIL not in text
    assert '&lt;script&gt;document.title' in text


def test_model_without_mistakes_has_a_page(classifier, blobs, tmp_path):
    right = classifier.predict(blobs)
    evaluation = classifier.report(blobs, tmp_path / 'report.html', right)
    assert evaluation.accuracy == 1
    assert 'There are none.' in (tmp_path / 'report.html').read_text(encoding='utf-8')


def test_one_class_among_the_labels_has_a_page(classifier, blobs, tmp_path):
    labels = np.full(len(blobs), 'round')
    evaluation = classifier.report(blobs, tmp_path / 'report.html', labels)
    assert np.isnan(evaluation.roc_auc)
    assert (tmp_path / 'report.html').exists()


def test_model_of_plain_features_has_a_page_without_images(tmp_path):
    random = np.random.default_rng(0)
    labels = np.resize(['E', 'S'], 60)
    features = random.normal(size=(60, 4)) + 2 * (labels == 'S')[:, np.newaxis]
    model = MorphologyClassifier(verbose=0).fit(features, labels)
    evaluation = model.report(features, tmp_path / 'report.html', labels)
    text = (tmp_path / 'report.html').read_text(encoding='utf-8')
    assert text.count('<article') == np.sum(~evaluation.is_right) > 0
    assert 'image/png' not in text


def test_existing_evaluation_is_not_predicted_again(
    classifier, blobs, tmp_path, report, monkeypatch
):
    evaluation = classifier.evaluate(blobs, by='morphology')
    monkeypatch.setattr('astro_morph.evaluation.report.predict', None)
    path = tmp_path / 'again.html'
    again = classifier.report(blobs, path, evaluation=evaluation)
    text = path.read_text(encoding='utf-8')
    assert str(again) == str(evaluation)
    assert 'By morphology' in text
    for row in evaluation.groups('morphology'):
        assert f'<th>{row["group"]}</th><td class="n" data-name="galaxies">{row["n"]}</td>' in text
    html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)


def test_evaluation_of_other_samples_is_refused(classifier, blobs, tmp_path):
    evaluation = classifier.evaluate(blobs)
    with pytest.raises(ValueError, match=r'evaluation is of \d+ labelled rows, expected one of'):
        classifier.report(blobs[:10], tmp_path / 'report.html', evaluation=evaluation)
    assert list(tmp_path.iterdir()) == []


def test_samples_without_labels_are_an_error(classifier, blobs, tmp_path):
    with pytest.raises(ValueError, match='no row has a label'):
        classifier.report(blobs, tmp_path / 'report.html', np.full(len(blobs), ''))
    assert list(tmp_path.iterdir()) == []


class TestInBrowser:
    @pytest.fixture
    def page(self, browser, report):
        """Open the page from the disk, and see in the end that nothing else was asked for."""
        set_screen(browser, *DESKTOP)
        browser.get(report[0].as_uri())
        yield browser
        requests = browser.execute_script(
            "return performance.getEntriesByType('resource').map((entry) => entry.name)"
        )
        assert [name for name in requests if not name.startswith('data:')] == []

    @pytest.mark.parametrize(('screen', 'dark'), [(DESKTOP, False), (PHONE, False), (PHONE, True)])
    def test_fits_the_screen(self, page, screen, dark):
        set_screen(page, *screen, dark=dark)
        for details in page.find_elements(By.TAG_NAME, 'summary'):
            details.click()
        width, inner = page.execute_script(
            'return [document.documentElement.scrollWidth, innerWidth]'
        )
        assert width <= inner
        assert page.title == 'Evaluation of galaxy classifications'

    def test_no_number_is_cut_off_on_a_phone(self, page):
        set_screen(page, *PHONE)
        wide = page.execute_script(
            "return [...document.querySelectorAll('.scroll')].filter("
            '(box) => box.scrollWidth > box.clientWidth).map((box) => box.innerText)'
        )
        assert wide == []

    def test_navigation_leads_to_each_section(self, page):
        for link in page.find_elements(By.CSS_SELECTOR, 'nav a'):
            link.click()
            section = page.find_element(By.ID, link.get_attribute('href').partition('#')[2])
            assert section.find_element(By.TAG_NAME, 'h2').is_displayed()
            assert page.current_url.endswith(f'#{section.get_attribute("id")}')

    def test_all_pictures_are_drawn(self, page):
        widths = page.execute_script(
            'return Promise.all([...document.images].map('
            '(image) => image.decode().then(() => image.naturalWidth)))'
        )
        assert len(widths) > N_EVIL
        assert min(widths) > 0

    def test_mistakes_are_chosen_by_class(self, page):
        Select(page.find_element(By.ID, 'true')).select_by_visible_text(EVIL)
        shown = [article for article in mistakes(page) if article.is_displayed()]
        assert {article.get_attribute('data-true') for article in shown} == {EVIL}
        assert len(shown) == N_EVIL
        assert page.find_element(By.ID, 'shown').text == f'{N_EVIL} shown'

    def test_mistakes_are_ordered(self, page):
        def ordered_by(name):
            return [float(article.get_attribute(f'data-{name}')) for article in mistakes(page)]

        assert ordered_by('confidence') == sorted(ordered_by('confidence'), reverse=True)
        Select(page.find_element(By.ID, 'order')).select_by_visible_text('row number')
        assert ordered_by('row') == sorted(ordered_by('row'))

    def test_mistake_tells_what_the_catalogue_says_of_it(self, page):
        article = mistakes(page)[0]
        row = article.get_attribute('data-row')
        assert 'of row' not in article.text
        article.find_element(By.TAG_NAME, 'summary').click()
        assert f'{EVIL} of row {row}' in article.text


def mistakes(page):
    return page.find_elements(By.TAG_NAME, 'article')
