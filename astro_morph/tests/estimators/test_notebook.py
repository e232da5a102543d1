# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What notebooks and logs show: valid HTML, short texts, and progress in few lines."""

import io
import subprocess
import sys

import html5lib
import numpy as np
import pytest
from sklearn.base import clone

from astro_morph import MorphologyClassifier
from astro_morph.cutouts import FirstOf, ImageColumns, ImageFiles
from astro_morph.evaluation import evaluate
from astro_morph.prediction.predict import predict
from astro_morph.tests.helpers import make_blobs
from astro_morph.utils.progress import progress_bar

EVIL = '<script>alert("mine")</script>'


def parse(html):
    """Parse HTML, and complain of what is not valid."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parseFragment(html)


def text_of(html):
    return ' '.join(' '.join(parse(html).itertext()).split())


class TestCutouts:
    def test_shows_the_first_images_and_what_there_is(self):
        blobs = make_blobs(12).replace(status=['truncated', 'not_found'] + ['ok'] * 10)
        images = parse(blobs._repr_html_()).findall('.//img')
        assert [image.get('title') for image in images] == [f'row {row}' for row in range(2, 10)]
        assert all(image.get('src').startswith('data:image/png;base64,') for image in images)
        text = text_of(blobs._repr_html_())
        assert '12 cutouts of 2 bands (g, r), 24 x 24 pixels of 0.4 arcsec, flux' in text
        assert 'status: 10 ok, 1 truncated, 1 not_found' in text

    @pytest.mark.parametrize('status', ['ok', 'truncated'])
    @pytest.mark.parametrize('n', [0, 1])
    def test_shows_few_and_none(self, n, status):
        images = parse(make_blobs(n).replace(status=[status] * n)._repr_html_()).findall('.//img')
        assert len(images) == (n if status == 'ok' else 0)

    def test_names_are_only_text(self):
        html = make_blobs(2).replace(bands=[EVIL, 'r'])._repr_html_()
        assert parse(html).find('.//script') is None
        assert EVIL in text_of(html)

    def test_needs_no_pytorch(self):
        code = (
            'import sys, numpy as np\n'
            'from astro_morph import CutoutSet\n'
            'CutoutSet(np.ones((2, 3, 8, 8)))._repr_html_()\n'
            "print('torch' in sys.modules)"
        )
        command = [sys.executable, '-c', code]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert said.strip() == 'False'


class TestEvaluation:
    def test_shows_all_its_figures(self, classifier, blobs):
        evaluation = evaluate(classifier, blobs)
        tables = parse(evaluation._repr_html_()).findall('.//table')
        shown = [[''.join(cell.itertext()) for cell in table.iter('td')] for table in tables]
        summary, classes = evaluation.summary(), evaluation.to_table()
        expected = [4 * len(summary), 9 * len(classes), 5 * len(classes)]
        assert [len(cells) for cells in shown] == expected
        assert f'{evaluation.accuracy:.3f}' in shown[0]
        assert '24 galaxies' in text_of(evaluation._repr_html_())

    @pytest.mark.filterwarnings('ignore:.*are no classes of the model')
    def test_names_are_only_text(self, classifier, blobs):
        labels = [EVIL, *blobs.table['morphology'][1:]]
        html = evaluate(classifier, blobs, labels)._repr_html_()
        assert parse(html).find('.//script') is None
        assert EVIL in text_of(html)

    def test_has_a_short_text(self, classifier, blobs):
        expected = '<Evaluation: 24 galaxies of 2 classes, accuracy '
        assert repr(evaluate(classifier, blobs)).startswith(expected)


class TestEstimators:
    def test_shows_parameters_and_whether_it_is_fitted(self, classifier):
        html = classifier._repr_html_()
        assert html5lib.parse(html, namespaceHTMLElements=False).find('.//table') is not None
        assert 'MorphologyClassifier' in html
        assert 'linear' in html
        assert 'Not fitted' not in html
        assert 'Not fitted' in clone(classifier)._repr_html_()

    def test_of_pictures_that_were_read_is_shown_too(self, classifier, tmp_path):
        classifier.save(tmp_path / 'model.pt')
        loaded = MorphologyClassifier.load(tmp_path / 'model.pt')
        assert 'Not fitted' not in loaded._repr_html_()


def test_sources_have_a_short_text():
    columns = ImageColumns(['image_g', 'image_r'])
    assert repr(columns) == '<ImageColumns: image_g, image_r>'
    assert repr(ImageFiles('file', folder='pictures')) == '<ImageFiles: paths of file in pictures>'
    assert repr(FirstOf(columns, ImageFiles())) == (
        '<FirstOf: <ImageColumns: image_g, image_r>, '
        '<ImageFiles: paths of the column that holds them>>'
    )


def test_models_have_a_short_text(classifier, encoder):
    said = '<TorchModel: edge_on, round from images of g, r, 24 x 24 pixels>'
    assert repr(classifier.model_) == said
    assert repr(encoder.model_) == '<TorchModel: features from images of g, r, 24 x 24 pixels>'


def test_predictions_have_a_short_text(classifier, blobs):
    some = blobs.replace(status=np.where(np.arange(24) < 3, 'truncated', 'ok'))
    said = repr(predict(classifier.model_, some))
    assert said == '<Predictions: 24 rows, 2 classes, 3 without image>'


def test_log_has_few_lines_of_progress(monkeypatch):
    """An hour of work, an image a second, to a file instead of a screen."""
    log, seconds = io.StringIO(), 0
    monkeypatch.setattr('sys.stderr', log)
    monkeypatch.setattr('tqdm.std.time', lambda: seconds)
    with progress_bar(3600, 'encoding') as bar:
        for _ in range(3600):
            seconds += 1
            bar.update()
    shown = log.getvalue().split('\r')
    assert '3.60k/3.60k' in shown[-1]
    assert 100 < len(shown) < 370
