# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Every mistake that a person makes is answered in one line, before a model is loaded."""

import os
import re
import shlex
import warnings

import pytest
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.cli import main
from astro_morph.cli.files import check_memory
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


def test_cutouts_larger_than_the_memory_are_refused():
    check_memory((3, 100, 100), 1000)
    with pytest.raises(ValueError, match='1000 cutouts of 900000 x 900000 pixels in 3 bands'):
        check_memory((3, 900_000, 900_000), 1000)


class TestReport:
    """What is printed of an error that no table of mistakes foresees."""

    @pytest.fixture
    def run(self, monkeypatch, capsys):
        """Run a task that raises an error or warns; give the exit code and the errors printed."""

        def run(task, *options):
            monkeypatch.setattr('astro_morph.cli.cache.main', task)
            return main(['cache', *options]), capsys.readouterr().err

        return run

    @pytest.mark.parametrize(
        ('error', 'says'),
        [
            (ValueError('the first line\nand more'), 'the first line'),
            (ValueError('\n  later'), 'later'),
            (KeyError('flux'), "KeyError: 'flux'"),
            (RuntimeError(), 'RuntimeError'),
            (AssertionError('odd'), 'AssertionError: odd'),
            (ZeroDivisionError('by zero'), 'ZeroDivisionError: by zero'),
            (MemoryError(), 'there is not enough memory'),
            (OSError(28, 'No space left on device'), 'No space left on device'),
            (OSError(13, 'Permission denied', 'a.fits'), 'a.fits: Permission denied'),
            (
                ModuleNotFoundError("No module named 'sklearn.base'", name='sklearn.base'),
                'this needs the package scikit-learn, which is not installed; '
                'python -m pip install scikit-learn',
            ),
            (UnicodeDecodeError('utf-8', b'\xff', 0, 1, 'invalid start byte'), "'utf-8' codec"),
            (RecursionError('maximum depth'), 'RecursionError: maximum depth'),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_any_error_is_one_line(self, run, error, says):
        def task(arguments):
            raise error

        code, printed = run(task)
        assert code == 1
        assert printed.startswith(f'astro-morph: {says}')
        assert printed.count('\n') == 1
        code, printed = run(task, '--debug')
        assert code == 1
        assert printed.startswith('Traceback')
        assert printed.splitlines()[-1].startswith(f'astro-morph: {says}')

    @pytest.mark.filterwarnings('always')
    def test_warnings_are_one_line_and_those_of_other_packages_are_hidden(self, run):
        def task(arguments):
            warnings.warn('the cache\ncannot be read', AstropyUserWarning, stacklevel=1)
            warnings.warn('will change', FutureWarning, stacklevel=1)

        assert run(task) == (0, 'astro-morph: warning: the cache\n')
        assert run(task, '--debug')[1].splitlines()[-1] == 'astro-morph: warning: will change'

    def test_closed_pipe_is_left_to_the_process(self, run):
        def task(arguments):
            raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            run(task)
