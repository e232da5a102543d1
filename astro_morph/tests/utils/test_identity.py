# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Descriptions of values: equal for equal values, in all processes, and different for others."""

import copy
import json
import pickle
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table

from astro_morph import surveys
from astro_morph.cutouts import CutoutSource, FirstOf, Hips2Fits, ImageFiles, Mosaics
from astro_morph.simulation import SimulatedSurvey
from astro_morph.utils.identity import describe


class Shifted(CutoutSource):
    """A source that keeps its argument under another name, and counts its calls."""

    def __init__(self, shift=0, *, table=None):
        self._by = shift
        self.n_calls = 0

    def fetch(self, X, *, size=None):
        self.n_calls += 1


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (None, None),
        (True, True),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.nan, 'nan'),
        (Path('tiles') / 'a.fits', str(Path('tiles') / 'a.fits')),
        (('g', 'r'), ['g', 'r']),
        ({'g': 1, 2: Path('b')}, {'g': 1, '2': 'b'}),
        (0.4 * u.arcsec, '0.4 arcsec'),
        (Shifted(3), {f'{__name__}.Shifted': {'shift': 3}}),
    ],
)
def test_plain_values_are_readable(value, expected):
    assert describe(value) == expected
    assert json.loads(json.dumps(describe(value))) == expected


DIFFERENT = [
    0.4 * u.arcsec,
    0.4 * u.arcmin,
    [0.4, 0.5] * u.arcsec,
    np.zeros(3),
    np.zeros(3, np.float32),
    np.arange(3.0),
    Table({'id': [1, 2]}),
    Table({'id': [1, 3]}),
    [f'tile{number}' for number in range(20)],
    [f'tile{number}' for number in range(21)],
    surveys.get('sdss'),
    surveys.get('legacy'),
    Shifted(),
    Shifted(1),
    Shifted(table=Table({'id': [1, 2]})),
    Shifted(table=Table({'id': [1, 3]})),
    ImageFiles(),
    ImageFiles('path'),
    ImageFiles(folder='a'),
    ImageFiles(bands='gr'),
    FirstOf(ImageFiles(folder='a'), ImageFiles(folder='b')),
    FirstOf(ImageFiles(folder='b'), ImageFiles(folder='a')),
    Hips2Fits('sdss'),
    Hips2Fits('sdss', bands='gr'),
    Hips2Fits('sdss', pixel_scale=1 * u.arcsec),
    Hips2Fits('legacy'),
    SimulatedSurvey(n_galaxies=2),
    SimulatedSurvey(n_galaxies=2, random_state=1),
    SimulatedSurvey('legacy', n_galaxies=2),
]


def test_different_values_have_different_descriptions():
    descriptions = [json.dumps(describe(value)) for value in DIFFERENT]
    assert len(set(descriptions)) == len(DIFFERENT)


def test_equal_values_have_equal_descriptions():
    for value in DIFFERENT:
        assert describe(copy.deepcopy(value)) == describe(value)
        assert describe(pickle.loads(pickle.dumps(value))) == describe(value)


def test_use_does_not_change_a_source():
    for source in (Shifted(1), SimulatedSurvey(n_galaxies=2)):
        before = describe(source)
        source.fetch(SimulatedSurvey(n_galaxies=2).catalogue)
        assert describe(source) == before


def test_setting_that_was_changed_counts():
    source = ImageFiles('path')
    source.column = 'other'
    assert source.settings()['column'] == 'other'


def test_cache_does_not_count(tmp_path):
    assert describe(Hips2Fits('sdss', cache=tmp_path / 'c.sqlite')) == describe(Hips2Fits('sdss'))


def test_function_without_a_name_is_itself_only():
    def shift():
        pass

    assert describe(shift) == describe(shift)
    assert describe(shift) != describe(lambda: None)


def test_relative_paths_are_those_of_the_folder(tmp_path, monkeypatch):
    survey = SimulatedSurvey(n_galaxies=2, bands='g')
    descriptions = []
    for name in ('a', 'b'):
        survey.write(tmp_path / name)
        monkeypatch.chdir(tmp_path / name)
        sources = Mosaics('*-{band}.fits'), Mosaics(str(tmp_path / name / '*-{band}.fits'))
        descriptions.append([source.settings()['paths'] for source in sources])
        descriptions.append([ImageFiles().settings()['folder']] * 2)
    assert all(relative == absolute for relative, absolute in descriptions)
    assert descriptions[:2] != descriptions[2:]
