# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Image paths as catalogues have them: odd ones are a status, several columns a choice."""

import re
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
from astropy import log
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph import conf
from astro_morph.catalog import find_image_column
from astro_morph.cutouts import (
    CutoutSet,
    CutoutSource,
    FirstOf,
    ImageFiles,
    Mosaics,
    as_cutouts,
    as_source,
    holds_images,
    stream_cutouts,
)
from astro_morph.simulation import SimulatedSurvey

FLUX = np.random.default_rng(0).normal(size=(1, 12, 12)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """A folder with one image, in a folder whose name has brackets, which is the home."""
    folder = tmp_path / 'run[1]'
    folder.mkdir()
    np.save(folder / 'a.npy', FLUX)
    fits.PrimaryHDU(FLUX[0]).writeto(folder / 'a.fits')
    fits.PrimaryHDU(FLUX[0]).writeto(folder / 'b[2].fits')
    return folder


def statuses(folder, *cells):
    column = np.empty(len(cells), object)
    column[:] = cells
    return ImageFiles('path', folder=folder).fetch(Table({'path': column})).status.tolist()


@pytest.mark.parametrize(
    ('cell', 'status'),
    [
        ('a.fits', 'ok'),
        (' a.fits ', 'ok'),
        (b'a.fits', 'ok'),
        (Path('a.fits'), 'ok'),
        ('./a.fits', 'ok'),
        ('a.fits[0]', 'ok'),
        ('b[2].fits', 'ok'),
        ('b[2].fits[0]', 'ok'),
        ('a.fits[²]', 'not_an_image'),
        ('a.fits[٣]', 'not_an_image'),
        ('a.fits[99999999999999999999]', 'not_an_image'),
        ('a.fits[-1]', 'not_an_image'),
        ('a.fits[]', 'not_found'),
        ('a.fits[1', 'not_found'),
        ('[0]', 'unreadable'),
        ('x' * 300, 'unreadable'),
        ('x' * 300 + '[1]', 'unreadable'),
        ('a/' * 5000, 'unreadable'),
        ('a\0.fits', 'unreadable'),
        ('~a\0b/a.fits', 'unreadable'),
        ('~nobody-of-this-name/a.fits', 'not_found'),
        ('\udcff.fits', 'not_found'),
        ('\ud800.fits', 'unreadable'),
        (b'\xff\xfe.fits', 'not_found'),
        ('a.fits\n', 'ok'),
        ('C:\\data\\a.fits', 'not_found'),
        (PureWindowsPath('C:/data/a.fits'), 'not_found'),
        ('http://example.org/a.fits', 'not_found'),
        ('s3://bucket/a.fits', 'not_found'),
        ('novel://[a.fits', 'not_found'),
        ('file://[a.fits', 'unreadable'),
        ('.', 'unreadable'),
        ('..', 'unreadable'),
        ('a.fits/b.fits', 'unreadable'),
        ('*.fits', 'not_found'),
        ('', 'no_path'),
        (None, 'no_path'),
        (np.nan, 'no_path'),
        (np.ma.masked, 'no_path'),
        (3, 'no_path'),
        (True, 'no_path'),
        (['a.fits'], 'no_path'),
        ({'path': 'a.fits'}, 'no_path'),
    ],
)
def test_an_odd_path_is_a_status(folder, cell, status):
    assert statuses(folder, 'a.npy', cell) == ['ok', status]


def test_url_of_this_machine(folder):
    assert statuses(None, folder.as_uri() + '/a.fits') == ['ok']


def test_home_and_brackets(folder, monkeypatch):
    monkeypatch.setenv('HOME', str(folder))
    monkeypatch.setenv('USERPROFILE', str(folder))
    assert statuses('~', 'a.npy') == ['ok']
    assert statuses(Path('~'), 'a.npy') == ['ok']
    assert statuses(None, '~/a.fits[0]', str(folder / 'b[2].fits')) == ['ok', 'ok']


@pytest.mark.parametrize(
    'pattern', ['~/sdss-{band}.fits', '~/*-r.fits', '~/sdss-r.fits', '~/sdss-[r].fits']
)
def test_home_and_brackets_in_patterns(folder, monkeypatch, pattern):
    survey = SimulatedSurvey(n_galaxies=2, kinds=['spiral', 'edge_on'], bands=['r'])
    survey.write(folder)
    monkeypatch.setenv('HOME', str(folder))
    monkeypatch.setenv('USERPROFILE', str(folder))
    for written in (pattern, pattern.replace('~', str(folder))):
        for source in (Mosaics(written), Mosaics(Path(written)), as_source(written, None)):
            assert source.fetch(survey.catalogue, size=8).is_ok.all()


@pytest.fixture
def several(folder):
    """A table with columns that could hold paths; of one, most files exist."""
    return Table(
        {
            'filename': ['frame-1.fits', 'frame-2.fits', 'frame-3.fits'],
            'image_path': ['lost/1.npy', 'a.npy', ''],
            'jpeg': ['a.npy', 'a.npy', 'none.npy'],
            'name': ['x', 'y', 'z'],
        }
    )


@pytest.mark.parametrize(
    ('columns', 'expected', 'others'),
    [
        (['filename', 'image_path', 'jpeg', 'name'], 'jpeg', ['image_path', 'filename']),
        (['filename', 'image_path', 'name'], 'image_path', ['filename']),
        (['filename', 'jpeg'], 'jpeg', ['filename']),
        (['filename', 'name'], 'filename', None),
        (['jpeg', 'name'], 'jpeg', None),
        (['name'], None, None),
    ],
)
def test_the_column_whose_files_exist_is_taken(several, folder, columns, expected, others):
    table = several[columns]
    said = []
    assert find_image_column(table, folder=folder, report=said.append) == expected
    if others is None:
        assert not said
    else:
        assert said == [
            f'image paths are read from the column {expected!r}, whose files exist; {others} '
            'could hold image paths too'
        ]


def test_the_choice_is_said_once(several, folder):
    for source in (ImageFiles(folder=folder), as_source('auto', several, folder=folder)):
        with log.log_to_list() as said:
            list(stream_cutouts(several, source=source, batch_size=1))
        assert sum("from the column 'jpeg'" in record.message for record in said) <= 1
        cutouts = as_cutouts(several, source=source)
        assert cutouts.status.tolist() == ['ok', 'ok', 'not_found']
    assert as_source('auto', several, folder=folder).column == 'jpeg'
    assert as_source(ImageFiles(folder=folder, bands='r'), several).bands == 'r'


def test_without_files_the_name_decides(several):
    assert find_image_column(several) == 'image_path'
    frame = several.to_pandas()
    assert holds_images(frame)
    assert not holds_images(frame[['jpeg', 'name']])


class Elsewhere(CutoutSource):
    """A source that finds nothing."""

    def fetch(self, X, *, size=None):
        return CutoutSet(np.full((len(X), 1, 8, 8), np.nan), status=['timeout'] * len(X), table=X)


POSITIONS = Table({'ra': [150.1, 150.2], 'dec': [2.0, -2.5]})


def test_a_call_without_any_image_says_so(folder):
    table = Table({'path': ['', 'b/1.npy', 'b/2.npy']})
    source = ImageFiles(folder=folder)
    first = re.escape(repr(f'{folder}/b/1.npy'))
    expected = rf'X: none of 3 rows has an image \(2 not_found, 1 no_path\); the first is {first};'
    for call in (
        lambda: source.fetch(table),
        lambda: as_cutouts(table, source=source),
        lambda: list(stream_cutouts(table, source=source, batch_size=1)),
        lambda: as_cutouts(table, source=FirstOf(source, source)),
    ):
        with pytest.warns(AstropyUserWarning, match=expected) as said:
            call()
        assert len(said) == 1


@pytest.mark.parametrize(
    ('source', 'X', 'text'),
    [
        (Elsewhere(), POSITIONS, r'2 timeout\); the first is the position 150.10000 \+2.00000 deg'),
        (Elsewhere(), Table({'id': [1]}), r'1 timeout\); the first is row 0;'),
        (
            SimulatedSurvey(n_galaxies=2),
            SkyCoord([10, 20], [-80, -70], unit='deg'),
            r'2 no_coverage\); the first is the position 10.00000 -80.00000 deg',
        ),
        (
            SimulatedSurvey(n_galaxies=2),
            Table({'ra': [np.nan], 'dec': [0.0]}),
            r'1 no_coordinates\); check source',
        ),
    ],
)
def test_other_sources_say_so_too(source, X, text):
    with pytest.warns(AstropyUserWarning, match=text):
        as_cutouts(X, source=source)


def test_one_image_is_enough(folder):
    table = Table({'path': ['lost.npy', 'lost.npy', 'a.npy']})
    as_cutouts(table, source=ImageFiles(folder=folder))
    list(stream_cutouts(table, source=ImageFiles(folder=folder), batch_size=1))
    as_cutouts(table, source=FirstOf(ImageFiles(folder='/nowhere'), ImageFiles(folder=folder)))
    as_cutouts(table[:0], source=ImageFiles(folder=folder))


@pytest.mark.filterwarnings('ignore:X. none of')
@pytest.mark.parametrize('size', [None, 8, (8, '4 * radius')])
def test_without_any_image_a_size_is_kept(size):
    cutouts = ImageFiles().fetch(Table({'path': ['lost.npy']}), size=size)
    assert cutouts.shape[2:] == ((8, 8) if size else (1, 1))


def test_only_the_part_of_an_image_that_is_asked_for_is_kept(folder):
    np.save(folder / 'large.npy', np.ones((1, 1000, 1000), np.float32))
    source = ImageFiles(folder=folder)
    with conf.set_temp('max_image_size', 0.01):
        files = source._read(Table({'path': ['large.npy']}), 'path', 8)
    assert files[0].image.image.base is None
    assert files[0].image.shape == (1, 8, 8)
    assert (
        source.fetch(Table({'path': ['large.npy']}), size=8).images.tolist()
        == np.ones((1, 1, 8, 8)).tolist()
    )
