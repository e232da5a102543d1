# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From file to file: the rows and columns of `annotate`, whatever stops the run in between."""

import functools
import os
import signal
import subprocess
import sys
import tracemalloc
from collections import Counter

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.wcs import WCS

from astro_morph import CutoutSet
from astro_morph.catalog import nested
from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.cutouts import CutoutSource, Mosaics
from astro_morph.images.tiles import SkyImage
from astro_morph.prediction import streaming
from astro_morph.prediction.annotate import annotate
from astro_morph.prediction.streaming import annotate_file
from astro_morph.tests.catalog.test_table_chunks import assert_same_table
from astro_morph.tests.catalog.test_table_io import require
from astro_morph.tests.helpers import BrightnessModel, fill_disk

N_TILES = 4
SIDE = 60
MODEL = BrightnessModel()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with mosaics of two bands, and a catalogue of their sky in no order."""
    folder = tmp_path_factory.mktemp('streaming')
    random = np.random.default_rng(0)
    positions = []
    for tile in range(N_TILES):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
        wcs.wcs.crval = 150 + tile, 2
        wcs.wcs.crpix = SIDE / 2, SIDE / 2
        wcs.wcs.cdelt = -1e-4, 1e-4
        for band in 'gr':
            pixels = random.normal(size=(SIDE, SIDE)).astype(np.float32)
            fits.PrimaryHDU(pixels, wcs.to_header()).writeto(folder / f'tile{tile}-{band}.fits')
        positions.append(wcs.pixel_to_world(*random.uniform(10, SIDE - 10, (2, 15))))
    coords = SkyCoord(
        np.concatenate([[(c.ra.deg, c.dec.deg) for c in p] for p in positions]) * u.deg
    )
    coords = coords[random.permutation(len(coords))]
    table = Table({'id': np.arange(60), 'ra': coords.ra, 'dec': coords.dec}, meta={'SURVEY': 'x'})
    table['dec'][7] += 40
    table['ra'][[11, 59]] = np.nan
    table['mag'] = MaskedColumn(random.normal(20, 1, 60), unit='mag', mask=np.arange(60) == 40)
    table['name'] = ['galaxy ' * (1 + row % 3) for row in range(60)]
    table['name'].info.description = 'Its name'
    write_table(table, folder / 'survey.fits')
    return folder


@pytest.fixture
def tiles(folder):
    return Mosaics(str(folder / 'tile*-{band}.fits'))


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(streaming, 'WINDOW', 25)
    monkeypatch.setattr(streaming, 'PART', 6)


def columns_of(path):
    """Give the bytes of each column of a file, and of its mask."""
    table = read_table(path)
    return {
        name: (np.asarray(column).tobytes(), np.ma.getmaskarray(np.ma.asarray(column)).tobytes())
        for name, column in table.columns.items()
    }


@pytest.mark.parametrize(
    'ending', ['.fits', '.fits.gz', '.parquet', '.h5', '.ecsv', '.vot', '.csv']
)
def test_file_is_that_of_annotate(folder, tiles, small_windows, tmp_path, ending):
    require(ending)
    path = tmp_path / f'survey{ending}'
    write_table(read_table(folder / 'survey.fits'), path)
    counts = annotate_file(MODEL, path, tmp_path / f'out{ending}', source=tiles, verbose=False)
    write_table(annotate(MODEL, read_table(path), source=tiles), tmp_path / f'whole{ending}')
    found, expected = (read_table(tmp_path / f'{name}{ending}') for name in ('out', 'whole'))
    # The date of the run stands in what is said of it.
    for table in (found, expected):
        for meta in (table.meta, table['morph_class'].info.meta):
            meta.pop('MORPHDAT', None)
    assert_same_table(found, expected)
    assert counts == {'ok': 57, 'no_coverage': 1, 'no_coordinates': 2}
    assert found['morph_status'][[7, 11, 59]].tolist() == ['no_coverage'] + ['no_coordinates'] * 2
    assert sorted(os.listdir(tmp_path)) == sorted(
        f'{n}{ending}' for n in ('survey', 'out', 'whole')
    )


def image_columns(cutouts, form):
    """Return the images of cutouts as columns of a table, as Parquet files have them."""
    images = [
        image if is_ok else None for image, is_ok in zip(cutouts.images, cutouts.is_ok, strict=True)
    ]
    if form == 'tensors':
        masks = ~cutouts.is_ok[:, np.newaxis, np.newaxis] & np.ones(cutouts.shape[2:], bool)
        bands = enumerate(cutouts.bands)
        return {band: MaskedColumn(cutouts.images[:, i], mask=masks) for i, band in bands}
    structures = np.empty(len(cutouts), object)
    bands = list(cutouts.bands)
    structures[:] = [image if image is None else {'band': bands, 'flux': image} for image in images]
    return {'image': structures}


@pytest.mark.parametrize('form', ['tensors', 'structures'])
def test_images_in_the_catalogue(folder, tiles, tmp_path, monkeypatch, form):
    arrow = pytest.importorskip('pyarrow')
    parquet = pytest.importorskip('pyarrow.parquet')
    table = read_table(folder / 'survey.fits')['id', 'ra', 'dec']
    cutouts = tiles.fetch(table, size=8)
    for name, column in image_columns(cutouts, form).items():
        table[name] = column
    path = tmp_path / 'images.parquet'
    if form == 'tensors':
        write_table(table, path)
    else:
        plane = arrow.list_(arrow.list_(arrow.list_(arrow.float32())))
        kind = arrow.struct({'band': arrow.list_(arrow.string()), 'flux': plane})
        arrays = {name: arrow.array(table[name].tolist()) for name in ('id', 'ra', 'dec')}
        image = nested.write_objects(table['image'], kind)
        parquet.write_table(arrow.table({**arrays, 'image': image}), path)
    # A window has a few rows, since the images fill it.
    monkeypatch.setattr(streaming, 'WINDOW_BYTES', 8 * 2 * 8 * 8 * 4)
    monkeypatch.setattr(streaming, 'PART', 3)
    counts = annotate_file(MODEL, path, tmp_path / 'out.parquet', verbose=False)
    assert counts == {'ok': 57, 'all_nan': 3}
    expected = annotate(MODEL, cutouts)
    found = read_table(tmp_path / 'out.parquet')
    for name in ('morph_class', 'morph_p_bright', 'morph_confidence'):
        assert found[name].tolist() == expected[name].tolist()
    before, after = map(parquet.read_table, (path, tmp_path / 'out.parquet'))
    for name in {*before.column_names} - {'ra', 'dec'}:
        assert after[name].type == before[name].type
        assert after[name].to_pylist() == before[name].to_pylist()


def test_mosaics_are_opened_once_a_part(folder, tiles, tmp_path, monkeypatch):
    opened = Counter()
    read = SkyImage.read
    monkeypatch.setattr(SkyImage, 'read', lambda image: opened.update([image.path]) or read(image))
    monkeypatch.setattr(streaming, 'PART', 10)
    annotate_file(MODEL, folder / 'survey.fits', tmp_path / 'o.fits', source=tiles, verbose=False)
    # Six parts of four tiles in order: five ends of a part lie within a tile, at most.
    assert len(opened) == 2 * N_TILES
    assert opened.total() <= 2 * (N_TILES + 5)


class Interrupted(BrightnessModel):
    """A model that is interrupted after some batches; it counts the images it has seen."""

    def __init__(self, after):
        self.n_left = after
        self.n_seen = 0

    def run(self, samples):
        if not self.n_left:
            raise KeyboardInterrupt
        self.n_left -= 1
        self.n_seen += len(samples)
        return super().run(samples)


class TestResume:
    def run(self, folder, tiles, output, model=MODEL, **options):
        return annotate_file(
            model, folder / 'survey.fits', output, source=tiles, verbose=False, **options
        )

    def interrupt(self, folder, tiles, output, **options):
        with pytest.raises(KeyboardInterrupt):
            self.run(folder, tiles, output, Interrupted(4), **options)
        assert not output.exists()
        assert sorted(os.listdir(output.parent)) == [f'{output.name}.parts']

    def test_goes_on_behind_the_last_part(self, folder, tiles, small_windows, tmp_path):
        self.interrupt(folder, tiles, tmp_path / 'out.fits')
        rest = Interrupted(1000)
        counts = self.run(folder, tiles, tmp_path / 'out.fits', rest, resume=True)
        assert rest.n_seen <= 57 - 3 * 6 + 3
        assert counts.total() == 60
        self.run(folder, tiles, tmp_path / 'undisturbed.fits')
        assert columns_of(tmp_path / 'out.fits') == columns_of(tmp_path / 'undisturbed.fits')
        assert sorted(os.listdir(tmp_path)) == ['out.fits', 'undisturbed.fits']

    def test_full_disk_leaves_whole_parts_only(self, folder, tiles, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            fill_disk(patch, np, 'savez')
            with pytest.raises(OSError, match='No space left'):
                self.run(folder, tiles, tmp_path / 'out.fits')
        assert os.listdir(tmp_path / 'out.fits.parts') == ['run.json']
        self.run(folder, tiles, tmp_path / 'out.fits', resume=True)
        assert os.listdir(tmp_path) == ['out.fits']

    def test_begins_if_there_is_nothing_to_go_on_with(self, folder, tiles, tmp_path):
        assert self.run(folder, tiles, tmp_path / 'out.fits', resume=True)['ok'] == 57

    def test_stopped_run_is_not_begun_anew(self, folder, tiles, small_windows, tmp_path):
        self.interrupt(folder, tiles, tmp_path / 'out.fits')
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match='run that was stopped; use resume=True'):
                self.run(folder, tiles, tmp_path / 'out.fits', overwrite=overwrite)

    def test_other_runs_are_told_apart(self, folder, tiles, small_windows, tmp_path):
        self.interrupt(folder, tiles, tmp_path / 'out.fits')
        with pytest.raises(ValueError, match='another run, whose prefix is morph_, not m_; resume'):
            self.run(folder, tiles, tmp_path / 'out.fits', resume=True, prefix='m_')
        other = Interrupted(1)
        other.spec = MODEL.spec.__class__(**(vars(MODEL.spec) | {'identifier': 'other'}))
        with pytest.raises(ValueError, match='another run, whose model is'):
            self.run(folder, tiles, tmp_path / 'out.fits', other, resume=True)
        write_table(read_table(folder / 'survey.fits')[:50], tmp_path / 'short.fits')
        with pytest.raises(ValueError, match='another run, whose catalogue is'):
            annotate_file(
                MODEL, tmp_path / 'short.fits', tmp_path / 'out.fits', source=tiles, resume=True
            )

    def test_killed_anywhere_the_columns_are_the_same(self, folder, tmp_path):
        # Killed as a file is about to get its name: that of the settings, of parts, of what the
        # output is made of, of the output.
        code = (
            'import os, signal, sys; from pathlib import Path; '
            'from astro_morph.prediction import streaming; '
            'from astro_morph.tests.helpers import BrightnessModel\n'
            'streaming.WINDOW, streaming.PART = 25, 6\n'
            'count, replace = int(sys.argv[3]), Path.replace\n'
            'def kill_or_replace(path, target):\n'
            '    global count\n'
            '    count -= 1\n'
            '    if count == 0: os.kill(os.getpid(), signal.SIGKILL)\n'
            '    return replace(path, target)\n'
            'Path.replace = kill_or_replace\n'
            'streaming.annotate_file(BrightnessModel(), sys.argv[1], sys.argv[2], '
            "source='tile*-{band}.fits', resume=True, verbose=False)\n"
        )

        def run(output, count):
            arguments = [sys.executable, '-c', code, folder / 'survey.fits', output, str(count)]
            return subprocess.run(arguments, cwd=folder, capture_output=True, text=True)

        assert run(tmp_path / 'undisturbed.fits', 0).returncode == 0
        for count in (3, 6, 14, 6, 7):
            assert run(tmp_path / 'out.fits', count).returncode == -signal.SIGKILL
            assert not (tmp_path / 'out.fits').exists()
        done = run(tmp_path / 'out.fits', 0)
        assert done.returncode == 0, done.stderr
        assert columns_of(tmp_path / 'out.fits') == columns_of(tmp_path / 'undisturbed.fits')

    def test_other_settings_of_a_source_are_told_apart(self, tmp_path):
        write_table(Table({'id': range(6)}), tmp_path / 'in.csv')

        def run(*arguments, after=99, **options):
            model = Interrupted(after)
            return annotate_file(
                model,
                tmp_path / 'in.csv',
                tmp_path / 'out.csv',
                source=Constant(*arguments),
                verbose=False,
                **options,
            )

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streaming, 'PART', 2)
            with pytest.raises(KeyboardInterrupt):
                run(1, after=2)
            with pytest.raises(ValueError, match=r"whose source is .*'value': 1.*, not .*: -1"):
                run(-1, resume=True)
            run(1, resume=True)
        assert set(read_table(tmp_path / 'out.csv')['morph_class']) == {'bright'}

    def test_run_that_has_computed_nothing_leaves_nothing(self, folder, tiles, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            self.run(folder, tiles, tmp_path / 'new' / 'out.fits', Interrupted(0))
        assert os.listdir(tmp_path) == []
        # Nor one that was killed then.
        (tmp_path / 'out.fits.parts').mkdir()
        (tmp_path / 'out.fits.parts' / 'run.json').write_text('{}')
        self.run(folder, tiles, tmp_path / 'out.fits', prefix='m_')
        assert os.listdir(tmp_path) == ['out.fits']

    def test_parts_without_a_run_are_discarded(self, folder, tiles, small_windows, tmp_path):
        output, parts = tmp_path / 'out.fits', tmp_path / 'out.fits.parts'
        self.interrupt(folder, tiles, output)
        (parts / 'run.json').unlink()
        (parts / 'notes.txt').touch()
        dark = BrightnessModel()
        dark.run = lambda samples: MODEL.run(-samples)
        self.run(folder, tiles, output, dark)
        self.run(folder, tiles, tmp_path / 'undisturbed.fits', dark)
        assert columns_of(output) == columns_of(tmp_path / 'undisturbed.fits')
        # Files that no run has written are kept.
        assert os.listdir(parts) == ['notes.txt']

    @pytest.mark.parametrize('is_in_place', [False, True])
    def test_run_that_was_killed_as_it_tidied_up_is_complete(
        self, folder, tiles, small_windows, tmp_path, monkeypatch, is_in_place
    ):
        path = output = tmp_path / 'out.fits'
        write_table(read_table(folder / 'survey.fits'), path)
        options = {'source': tiles, 'overwrite': True, 'verbose': False}
        if not is_in_place:
            path = path.rename(tmp_path / 'in.fits')
            options.pop('overwrite')
        with monkeypatch.context() as patch:
            patch.setattr(streaming.Parts, 'discard', lambda parts: None)
            counts = annotate_file(MODEL, path, output, **options)
        annotated = columns_of(output)
        assert len(os.listdir(tmp_path / 'out.fits.parts')) == 13
        assert annotate_file(MODEL, path, output, resume=True, **options) == counts
        assert columns_of(output) == annotated
        assert sorted(os.listdir(tmp_path)) == sorted({path.name, output.name})
        with pytest.raises(FileExistsError, match='exists already; use overwrite=True'):
            annotate_file(MODEL, path, output, source=tiles)

    def test_two_runs_into_one_file(self, folder, tiles, tmp_path):
        run = functools.partial(self.run, folder, tiles, tmp_path / 'out.fits')

        class First(BrightnessModel):
            def run(self, samples):
                for resume in (False, True):
                    with pytest.raises(BlockingIOError, match='is being written by another run'):
                        run(resume=resume)
                return super().run(samples)

        run(First())
        assert os.listdir(tmp_path) == ['out.fits']

    def test_file_of_another_program_is_kept(self, folder, tiles, small_windows, tmp_path):
        output = tmp_path / 'out.fits'

        class Second(BrightnessModel):
            def run(self, samples):
                output.write_text('of another program')
                return super().run(samples)

        for model, resume in [(Second(), False), (MODEL, True)]:
            with pytest.raises(FileExistsError, match='exists already; use overwrite=True'):
                self.run(folder, tiles, output, model, resume=resume)
        assert output.read_text() == 'of another program'
        self.run(folder, tiles, output, resume=True, overwrite=True)
        assert os.listdir(tmp_path) == ['out.fits']

    def test_right_to_replace_is_that_of_the_run(self, folder, tiles, small_windows, tmp_path):
        output = tmp_path / 'out.fits'
        output.write_text('old')
        with pytest.raises(KeyboardInterrupt):
            self.run(folder, tiles, output, Interrupted(4), overwrite=True)
        assert output.read_text() == 'old'
        assert self.run(folder, tiles, output, resume=True).total() == 60

    def test_catalogue_that_changes_meanwhile(self, folder, tiles, small_windows, tmp_path):
        path = tmp_path / 'in.fits'
        write_table(read_table(folder / 'survey.fits'), path)

        class Touching(BrightnessModel):
            def run(self, samples):
                os.utime(path)
                return super().run(samples)

        with pytest.raises(ValueError, match='another run, whose catalogue is'):
            annotate_file(Touching(), path, tmp_path / 'out.fits', source=tiles, verbose=False)
        assert not (tmp_path / 'out.fits').exists()

    @pytest.mark.parametrize(
        ('text', 'message'),
        [
            ('', r'run\.json is damaged; delete the folder'),
            ('[1]', r'run\.json is damaged; delete the folder'),
            ('{"settings": {}}', r'run\.json is damaged; delete the folder'),
            (
                '{"settings": {"format": "astro_morph annotation 1"}}',
                "format 'astro_morph annotation 1', expected 'astro_morph annotation 2'; .*version",
            ),
        ],
    )
    def test_run_of_another_version(self, folder, tiles, small_windows, tmp_path, text, message):
        self.interrupt(folder, tiles, tmp_path / 'out.fits')
        (tmp_path / 'out.fits.parts' / 'run.json').write_text(text)
        with pytest.raises(ValueError, match=message):
            self.run(folder, tiles, tmp_path / 'out.fits', resume=True)

    def test_damaged_part(self, folder, tiles, small_windows, tmp_path):
        self.interrupt(folder, tiles, tmp_path / 'out.fits')
        part = tmp_path / 'out.fits.parts' / '000000-000000.npz'
        part.write_bytes(part.read_bytes()[:-50])
        with pytest.raises(ValueError, match=r'000000\.npz is damaged .* delete it'):
            self.run(folder, tiles, tmp_path / 'out.fits', resume=True)
        part.unlink()
        assert self.run(folder, tiles, tmp_path / 'out.fits', resume=True).total() == 60


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='runs are forked')
def test_killed_and_simultaneous_runs():
    # Many more are in benchmarks/interruptions.py.
    arguments = ['--kills', '4', '--pairs', '2', '--seed', '0']
    program = [sys.executable, '-m', 'astro_morph.tests.prediction.interruptions']
    ended = subprocess.run([*program, *arguments], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith('seed 0\n4 kills and 2 pairs: ')


class Constant(CutoutSource):
    """Images that hold one value."""

    def __init__(self, value):
        self._pixel = value

    def fetch(self, X, *, size=None):
        return CutoutSet(np.full((len(X), 2, 8, 8), self._pixel), bands='gr', table=X)


class TestRefusal:
    def test_file_and_columns_are_replaced_only_if_asked(self, folder, tiles, tmp_path):
        path = tmp_path / 'out.fits'
        annotate_file(MODEL, folder / 'survey.fits', path, source=tiles, verbose=False)
        with pytest.raises(FileExistsError, match='exists already; use overwrite=True'):
            annotate_file(MODEL, folder / 'survey.fits', path, source=tiles)
        with pytest.raises(ValueError, match=r"the columns .*'morph_class'.* already"):
            annotate_file(MODEL, path, tmp_path / 'again.fits', source=tiles)
        before = columns_of(path)
        annotate_file(MODEL, path, path, source=tiles, overwrite=True, verbose=False)
        assert columns_of(path) == before
        assert os.listdir(tmp_path) == ['out.fits']

    def test_text_that_the_format_does_not_take(self, folder, tiles, tmp_path, small_windows):
        table = read_table(folder / 'survey.fits')
        table['name'] = ['a'] * 59 + ['é']
        write_table(table, tmp_path / 'survey.ecsv')
        with pytest.raises(ValueError, match="'name' holds the text 'é' beyond ASCII"):
            annotate_file(
                Interrupted(0), tmp_path / 'survey.ecsv', tmp_path / 'o.fits', source=tiles
            )
        assert os.listdir(tmp_path) == ['survey.ecsv']

    def test_no_catalogue(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='there is no file'):
            annotate_file(MODEL, tmp_path / 'nothing.fits', tmp_path / 'out.fits')

    def test_failure_of_a_source_ends_the_run(self, folder, tmp_path):
        class Broken(CutoutSource):
            def fetch(self, X, *, size=None):
                msg = 'the tape is torn'
                raise ValueError(msg)

        with pytest.raises(ValueError, match='the tape is torn'):
            annotate_file(MODEL, folder / 'survey.fits', tmp_path / 'out.fits', source=Broken())
        assert not (tmp_path / 'out.fits').exists()


class Flat(CutoutSource):
    """Images that hold the row's number."""

    def fetch(self, X, *, size=None):
        images = np.broadcast_to(np.reshape(X['id'], (-1, 1, 1, 1)) / 1e4, (len(X), 2, 8, 8))
        return CutoutSet(images, bands='gr', table=X)


class TestLength:
    @pytest.mark.parametrize('ending', ['.fits', '.csv'])
    def test_memory_does_not_grow_with_the_catalogue(self, tmp_path, monkeypatch, ending):
        monkeypatch.setattr(streaming, 'WINDOW', 500)
        monkeypatch.setattr(streaming, 'PART', 100)
        monkeypatch.setattr('astro_morph.catalog.io.csv.BLOCK', 500)
        # How many batches threads are ahead of each other, at most a few, is left to chance.
        monkeypatch.setattr(streaming, 'draw_ahead', iter)
        peaks = []
        for n in (500, 1000, 5000):  # the first call also imports
            table = Table({'id': np.arange(n)})
            for name in 'abcdefgh':
                table[name] = np.random.default_rng(0).normal(size=n)
            write_table(table, tmp_path / f'{n}{ending}')
            del table
            tracemalloc.start()
            annotate_file(
                MODEL,
                tmp_path / f'{n}{ending}',
                tmp_path / f'o{n}{ending}',
                source=Flat(),
                verbose=False,
            )
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[2] < 1.1 * peaks[1]

    def test_progress_counts_the_rows_that_are_left(
        self, folder, tiles, small_windows, tmp_path, monkeypatch
    ):
        bars = []

        class Bar:
            def __init__(self, total, description, *, unit, done, verbose):
                self.total, self.unit, self.done, self.n_updated = total, unit, done, 0
                bars.append(self)

            def update(self, n):
                self.n_updated += n

            def __enter__(self):
                return self

            def __exit__(self, *error):
                pass

        monkeypatch.setattr(streaming, 'progress_bar', Bar)
        path = folder / 'survey.fits'
        with pytest.raises(KeyboardInterrupt):
            annotate_file(Interrupted(4), path, tmp_path / 'out.fits', source=tiles)
        annotate_file(MODEL, path, tmp_path / 'out.fits', source=tiles, resume=True)
        first, second = bars
        assert (first.total, first.unit, first.done) == (60, 'rows', 0)
        assert 0 < second.done < 60
        assert second.done + second.n_updated == 60

    def test_catalogue_without_rows(self, folder, tiles, tmp_path):
        write_table(read_table(folder / 'survey.fits')[:0], tmp_path / 'none.fits')
        counts = annotate_file(
            MODEL, tmp_path / 'none.fits', tmp_path / 'out.fits', source=tiles, verbose=False
        )
        found = read_table(tmp_path / 'out.fits')
        assert (counts.total(), len(found), found.colnames[-1]) == (0, 0, 'morph_status')


@pytest.mark.parametrize('ending', ['.h5', '.zarr', '.hats'])
def test_file_of_cutouts(folder, tiles, tmp_path, small_windows, ending):
    for package in {'.h5': ['h5py'], '.zarr': ['zarr'], '.hats': ['lsdb']}[ending]:
        pytest.importorskip(package, exc_type=ImportError)
    catalogue = read_table(folder / 'survey.fits')
    catalogue = catalogue[np.isfinite(catalogue['ra'])]
    cutouts = tiles.fetch(catalogue, size=8)
    path = tmp_path / f'cutouts{ending}'
    cutouts.write(path)
    annotate_file(MODEL, path, tmp_path / 'out.ecsv', verbose=False)
    expected = annotate(MODEL, CutoutSet.read(path))
    found = read_table(tmp_path / 'out.ecsv')
    assert found.colnames == expected.colnames
    assert found['morph_class'].tolist() == expected['morph_class'].tolist()
    assert sorted(found['id']) == sorted(catalogue['id'])
    if ending != '.hats':
        assert found['id'].tolist() == catalogue['id'].tolist()
