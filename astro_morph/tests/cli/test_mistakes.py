# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Every mistake that a person makes is answered in one line, before a model is loaded."""

import os
import re
import shlex

import pytest

from astro_morph.cli import main
from astro_morph.tests.cli.mistakes import MISTAKES, make_files

# How arguments are written in Python, for which the command line has options.
IN_PYTHON = re.compile(r'\b(source|bands|size|overwrite|resume|encoder|\w+_columns?)\b ?=|\w\(\)')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The files that the mistakes are made with."""
    folder = tmp_path_factory.mktemp('mistakes')
    make_files(folder)
    return folder


@pytest.fixture
def without_models(monkeypatch):
    """Let a test fail if a model is loaded or trained."""

    def load(*args, **options):
        pytest.fail('a model was loaded')

    for name in (
        'models.torch_model.TorchModel.load',
        'models.onnx_model.OnnxModel.__init__',
        'estimators.classifier.MorphologyClassifier.__init__',
        'estimators.encoder.MorphologyEncoder.__init__',
    ):
        monkeypatch.setattr(f'astro_morph.{name}', load)


# Warnings are shown, as at the command line, and must not add a line.
@pytest.mark.filterwarnings('always')
@pytest.mark.usefixtures('without_models')
@pytest.mark.parametrize('mistake', MISTAKES, ids=lambda mistake: mistake.says)
def test_a_mistake_is_answered_in_one_line(mistake, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    before = sorted(os.listdir(folder))
    try:
        code = main(shlex.split(mistake.command))
    except SystemExit as end:
        code = end.code
    output, error = capsys.readouterr()
    assert (code, output) == (mistake.code, ''), error
    assert error.startswith('astro-morph')
    assert error.count('\n') == 1
    assert mistake.says in error
    assert not IN_PYTHON.search(error), error
    assert sorted(os.listdir(folder)) == before
