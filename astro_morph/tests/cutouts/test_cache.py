# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of the cache: contents, pruning, damaged files, threads and processes."""

import multiprocessing
import os
import pickle
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from astropy.config import set_temp_cache
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph import conf
from astro_morph.cli import main
from astro_morph.cutouts import Hips2Fits
from astro_morph.cutouts.fetching import cache as cache_module
from astro_morph.cutouts.fetching.cache import NO_COVERAGE, CutoutCache, CutoutKey
from astro_morph.simulation import SimulatedSurvey, serve
from astro_morph.utils import database

SIDE = 16

CAN_KILL = pytest.mark.skipif(sys.platform == 'win32', reason='the system has no kill -9')


def make_key(number, **changes):
    return CutoutKey('SimSky', 'r', 10 + number / 1000, -5.0, SIDE, 0.4)._replace(**changes)


def make_image(number):
    """Return the image of a number, with a missing pixel."""
    image = np.random.default_rng(number).normal(size=(SIDE, SIDE)).astype(np.float32)
    image[0, 0] = np.nan
    return image


def make_items(numbers):
    return [(make_key(number), make_image(number)) for number in numbers]


def count_right(cache, numbers):
    """Count the images that are found, and check their pixels."""
    numbers = list(numbers)
    found = cache.get(map(make_key, numbers))
    for number, image in zip(numbers, found, strict=True):
        if image is not None:
            np.testing.assert_array_equal(image, make_image(number))
    return sum(image is not None for image in found)


def is_known(cache, key):
    (image,) = cache.get([key])
    return image is not None


def is_sound(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute('PRAGMA integrity_check').fetchall() == [('ok',)]


def broken_files(path):
    """Return the main files that were set aside, in order."""
    return sorted(path.parent.glob(f'{path.name}.broken-[0-9]'))


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'cutouts.sqlite'


@pytest.fixture
def cache(path):
    return CutoutCache(path)


@pytest.fixture
def clock(monkeypatch):
    """The time of the cache's clock, in a list that a test may change."""
    now = [1_800_000_000]
    monkeypatch.setattr(cache_module.time, 'time', lambda: now[0])
    return now


class TestWhatIsKept:
    def test_flux_picture_and_no_coverage_come_back_in_order(self, cache):
        picture = np.arange(3 * SIDE**2, dtype=np.uint8).reshape(3, SIDE, SIDE)
        keys = [make_key(0), make_key(0, band='rgb'), make_key(0, band='g'), make_key(1)]
        cache.put(zip(keys[:3], [make_image(0), picture, NO_COVERAGE], strict=True))
        flux, colour, outside, unknown = cache.get(keys)
        np.testing.assert_array_equal(flux, make_image(0), strict=True)
        np.testing.assert_array_equal(colour, picture, strict=True)
        assert outside is NO_COVERAGE
        assert unknown is None
        assert len(cache) == 3

    def test_what_was_put_is_there_for_another_instance(self, cache, path):
        cache.put(make_items(range(5)))
        assert count_right(CutoutCache(path), range(6)) == 5

    def test_same_key_twice_in_one_call(self, cache):
        cache.put(make_items([1]))
        first, second = cache.get([make_key(1)] * 2)
        np.testing.assert_array_equal(first, second)

    @pytest.mark.parametrize('change', [{'survey': 'b'}, {'band': 'g'}, {'side': 15}, {'scale': 1}])
    def test_each_part_of_the_key_matters(self, cache, change):
        cache.put(make_items([0]))
        assert not is_known(cache, make_key(0, **change))

    @pytest.mark.parametrize(
        ('change', 'is_same'),
        [
            ({'ra': 10 + 0.004 / 3600}, True),
            ({'ra': 10 + 0.02 / 3600}, False),
            ({'ra': 370.0}, True),
            ({'dec': -5 - 0.004 / 3600}, True),
            ({'dec': -5 + 0.02 / 3600}, False),
            ({'scale': 0.40004}, True),
            ({'scale': 0.4002}, False),
            ({'ra': np.float64(10), 'survey': np.str_('SimSky'), 'side': np.int64(SIDE)}, True),
        ],
    )
    def test_positions_agree_to_a_hundredth_of_an_arcsecond(self, cache, change, is_same):
        cache.put(make_items([0]))
        assert is_known(cache, make_key(0, **change)) == is_same

    def test_position_on_both_sides_of_zero_hours(self, cache):
        cache.put([(make_key(0, ra=1e-7), make_image(0))])
        assert is_known(cache, make_key(0, ra=360 - 1e-7))

    def test_later_image_replaces_the_earlier(self, cache):
        cache.put([(make_key(0), NO_COVERAGE)])
        cache.put([(make_key(0), make_image(1))])
        cache.put([(make_key(0), make_image(0))])
        assert count_right(cache, [0]) == len(cache) == 1

    def test_image_of_another_shape_is_refused_with_all_of_its_call(self, cache):
        with pytest.raises(ValueError, match=r'shape \(3, 4\).* 16 x 16'):
            cache.put([*make_items([0]), (make_key(1), np.zeros((3, 4)))])
        assert len(cache) == 0

    def test_interrupted_put_keeps_nothing_of_it(self, cache):
        def items():
            yield from make_items([0])
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cache.put(items())
        cache.put(make_items([1]))
        assert len(cache) == 1


class TestWhereItIs:
    def test_default_is_in_the_cache_folder_of_astropy(self, tmp_path):
        with (
            set_temp_cache(tmp_path),
            conf.set_temp('cache_file', ''),
            conf.set_temp('cache_size', 0.5),
        ):
            cache = CutoutCache()
        assert cache.path.is_relative_to(tmp_path)
        assert cache.path.parts[-2:] == ('astro_morph', 'cutouts.sqlite')
        assert cache.max_size == 500_000_000

    def test_configuration_names_another_file(self, path):
        with conf.set_temp('cache_file', str(path)):
            assert CutoutCache().path == path

    def test_folder_is_made(self, tmp_path):
        cache = CutoutCache(tmp_path / 'new' / 'folder' / 'cutouts.sqlite')
        cache.put(make_items([0]))
        assert count_right(cache, [0]) == 1

    def test_path_that_cannot_be_a_file_is_refused_at_once(self, tmp_path):
        with pytest.raises(OSError, match='cannot be used'):
            CutoutCache(tmp_path)

    def test_pickle_holds_the_settings(self, path):
        cache = CutoutCache(path, max_size=123456)
        cache.put(make_items([0]))
        content = pickle.dumps(cache)
        assert len(content) < 500
        copy = pickle.loads(content)
        assert count_right(copy, [0]) == 1
        assert repr(copy) == repr(cache) == f'CutoutCache({str(path)!r}, max_size=123456)'

    def test_closed_cache_opens_again(self, cache, path):
        cache.put(make_items([0]))
        cache.close()
        assert not Path(f'{path}-wal').exists()
        assert count_right(cache, [0]) == 1


class TestSize:
    def test_file_stays_below_its_limit_and_the_oldest_go(self, path, clock):
        cache = CutoutCache(path, max_size=1_000_000)
        for start in range(0, 3000, 100):
            clock[0] += 10_000
            cache.put(make_items(range(start, start + 100)))
            cache.get([make_key(0)])
        assert path.stat().st_size < 1_000_000 + 200_000  # and what the last call put
        kept = [number for number in range(3000) if count_right(cache, [number])]
        assert kept[0] == 0  # used all the time
        assert kept[1:] == list(range(3000 - len(kept[1:]), 3000))
        assert 0.6 * 1_000_000 < len(kept) * 4 * SIDE**2 < 1_000_000

    def test_reading_writes_once_an_hour(self, cache, path, clock):
        def written():
            return Path(f'{path}-wal').stat().st_size

        cache.put(make_items(range(100)))
        before = written()
        clock[0] += 3000
        assert count_right(cache, range(100)) == 100
        assert written() == before
        clock[0] += 3000
        assert count_right(cache, range(100)) == 100
        assert before < (after := written())
        assert count_right(cache, range(100)) == 100
        assert written() == after

    def test_prune_drops_the_oldest_and_shrinks_the_file(self, cache, path, clock):
        cache.put(make_items(range(500)))
        clock[0] += 10_000
        cache.put(make_items(range(500, 1000)))
        cache.get(map(make_key, range(250)))
        cache.prune(800_000)
        assert path.stat().st_size < 800_000
        assert count_right(cache, range(250, 500)) == 0
        assert count_right(cache, [*range(250), *range(500, 1000)]) == len(cache) > 500

    def test_prune_to_more_than_there_is_drops_nothing(self, cache):
        cache.put(make_items(range(50)))
        cache.prune(1e9)
        assert count_right(cache, range(50)) == 50

    def test_clear_drops_all(self, cache, path):
        cache.put(make_items(range(500)))
        cache.clear()
        assert len(cache) == 0
        assert path.stat().st_size < 50_000
        cache.put(make_items([0]))
        assert count_right(cache, [0]) == 1

    def test_summary_says_what_there_is(self, cache, path, clock):
        clock[0] = 1_800_000_000  # 2027-01-15 08:00:00 UTC
        cache.put(make_items(range(40)))
        clock[0] += 86_400
        cache.put([(make_key(0, survey='other'), make_image(0)), (make_key(99), NO_COVERAGE)])
        summary = cache.describe()
        assert summary.path == path
        assert summary.n_images == 41
        assert summary.n_no_coverage == 1
        assert summary.surveys == {'SimSky': 40, 'other': 1}
        assert summary.oldest == '2027-01-15 08:00:00'
        assert summary.newest == '2027-01-16 08:00:00'
        assert 41 * 4 * SIDE**2 < summary.size < 200_000
        assert f'{path}: 41 images, 0.1 MB' in str(summary)

    def test_summary_of_an_empty_cache(self, cache):
        summary = cache.describe()
        assert (summary.n_images, summary.n_no_coverage, summary.surveys) == (0, 0, {})
        assert 'never' in str(summary)


class TestCommandLine:
    @pytest.fixture
    def run(self, path, capsys):
        """Return a function that runs a command on 500 cached images, and its code and output."""
        CutoutCache(path).put(make_items(range(500)))

        def run(*arguments):
            code = main(['cache', *arguments])
            return code, capsys.readouterr().out

        with conf.set_temp('cache_file', str(path)):
            yield run

    def test_it_shows_the_summary(self, run, path):
        assert run() == (0, f'{CutoutCache(path).describe()}\n')

    def test_it_prunes_to_a_size(self, run, path):
        code, output = run('prune', '--max-size', '0.3 MB')
        assert code == 0
        assert path.stat().st_size < 300_000
        assert 0 < len(CutoutCache(path)) < 300
        assert f'{len(CutoutCache(path))} images' in output

    def test_it_prunes_to_the_configured_size(self, run, path):
        with conf.set_temp('cache_size', 0.0003):
            assert run('prune')[0] == 0
        assert path.stat().st_size < 300_000

    def test_it_clears(self, run, path):
        assert '0 images' in run('clear')[1]
        assert len(CutoutCache(path)) == 0

    @pytest.mark.parametrize('size', ['2', '2 m', 'much'])
    def test_size_must_be_one_of_files(self, run, path, size, capsys):
        with pytest.raises(SystemExit):
            run('prune', '--max-size', size)
        assert '--max-size' in capsys.readouterr().err
        assert len(CutoutCache(path)) == 500


def write_text(path):
    path.write_text('ra,dec\n1,2\n' * 1000)


def write_short_text(path):
    path.write_text('ra')


def write_foreign_database(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript('CREATE TABLE cutouts (a); INSERT INTO cutouts VALUES (1)')


def write_version(path, version):
    CutoutCache(path).put(make_items([0]))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f'PRAGMA user_version = {version}')


def write_earlier_version(path):
    write_version(path, -1)


def write_without_index(path):
    CutoutCache(path).put(make_items([0]))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute('DROP INDEX by_use')


def write_later_format(path):
    CutoutCache(path).put(make_items([0]))
    with open(path, 'r+b') as file:
        file.seek(44)  # where SQLite has the number of its format
        file.write(bytes([0, 0, 0, 9]))


def write_cut_short(path):
    CutoutCache(path).put(make_items(range(100)))
    os.truncate(path, path.stat().st_size // 2)


def write_cut_in_the_header(path):
    CutoutCache(path).put(make_items(range(100)))
    os.truncate(path, 90)


FOREIGN = [
    write_text,
    write_short_text,
    write_foreign_database,
    write_earlier_version,
    write_without_index,
    write_later_format,
    write_cut_short,
    write_cut_in_the_header,
]


class TestBrokenFile:
    @pytest.mark.parametrize('write', FOREIGN)
    def test_file_that_is_no_cache_is_set_aside_whole(self, write, path):
        write(path)
        content = path.read_bytes()
        with pytest.warns(AstropyUserWarning, match=r'cutouts\.sqlite\.broken-1'):
            cache = CutoutCache(path)
        assert len(cache) == 0
        cache.put(make_items([0]))
        assert count_right(cache, [0]) == 1
        assert [other.read_bytes() for other in broken_files(path)] == [content]

    def test_cache_of_a_later_version_is_left_as_it_is(self, path):
        """Two releases that share a file would otherwise rename it by turns."""
        write_version(path, 99)
        content = path.read_bytes()
        with pytest.raises(OSError, match=r'of version 99.* knows 1.*cache_file'):
            CutoutCache(path)
        assert path.read_bytes() == content
        assert not broken_files(path)

    def test_earlier_broken_file_stays(self, path):
        for number in (1, 2, 3):
            path.write_text(f'broken {number}')
            with pytest.warns(AstropyUserWarning, match=f'broken-{number}'):
                CutoutCache(path)
        texts = [other.read_text() for other in broken_files(path)]
        assert texts == ['broken 1', 'broken 2', 'broken 3']

    def test_foreign_database_keeps_what_was_not_yet_in_its_main_file(self, path):
        with closing(sqlite3.connect(path)) as foreign:
            foreign.executescript('PRAGMA journal_mode = WAL; CREATE TABLE a AS SELECT 42')
            with pytest.warns(AstropyUserWarning, match='broken-1'):
                CutoutCache(path)
        with closing(sqlite3.connect(broken_files(path)[0])) as aside:
            assert aside.execute('SELECT * FROM a').fetchall() == [(42,)]

    def test_empty_file_is_begun_without_a_word(self, path):
        path.touch()
        cache = CutoutCache(path)
        cache.put(make_items([0]))
        assert count_right(cache, [0]) == 1

    def test_threads_that_find_it_broken_begin_one_new_file(self, path):
        write_text(path)
        with pytest.warns(AstropyUserWarning, match='broken-1') as warned:
            caches = list(ThreadPoolExecutor(8).map(CutoutCache, [path] * 8))
        assert len(warned) == len(broken_files(path)) == 1
        for number, cache in enumerate(caches):
            cache.put(make_items([number]))
        assert count_right(caches[0], range(8)) == 8

    @pytest.mark.parametrize('seed', range(20))
    def test_no_thread_opens_what_another_sets_aside(self, path, seed, monkeypatch):
        """However long a thread waits between opening and reading the file."""
        connect, chance = sqlite3.connect, random.Random(seed)

        def connect_slowly(name, **options):
            connection = connect(name, **options)
            if Path(name) == path:
                time.sleep(chance.expovariate(100))
            return connection

        def put(number):
            CutoutCache(path).put(make_items([number]))

        write_text(path)
        monkeypatch.setattr(sqlite3, 'connect', connect_slowly)
        with pytest.warns(AstropyUserWarning, match='broken-1') as warned:
            list(ThreadPoolExecutor(8).map(put, range(8)))
        assert len(warned) == 1
        assert count_right(CutoutCache(path), range(8)) == 8

    @pytest.mark.parametrize('seed', range(30))
    @pytest.mark.filterwarnings('ignore:.*broken-1:astropy.utils.exceptions.AstropyUserWarning')
    def test_damage_anywhere_gives_no_wrong_image(self, path, seed):
        """Images are right, or missing and stored again, whenever the damage is noticed."""
        CutoutCache(path).put(make_items(range(200)))
        content = bytearray(path.read_bytes())
        chance = random.Random(seed)
        for _ in range(5):
            start, length = chance.randrange(len(content)), chance.choice([1, 100, 5000])
            content[start : start + length] = chance.randbytes(len(content[start : start + length]))
        path.write_bytes(content)
        cache = CutoutCache(path)
        assert count_right(cache, range(200)) < 200
        for number in range(200):
            if not is_known(cache, make_key(number)):
                cache.put(make_items([number]))
        assert count_right(cache, range(200)) == 200

    def test_damage_under_an_open_cache(self, cache, path):
        cache.put(make_items(range(500)))
        other = CutoutCache(path)
        other.prune(1e9)  # into the main file
        with open(path, 'r+b') as file:
            file.seek(4096)
            file.write(bytes(path.stat().st_size - 4096))
        with pytest.warns(AstropyUserWarning, match='broken-1') as warned:
            hammer(cache, range(500))
        assert len(warned) == len(broken_files(path)) == 1
        assert count_right(cache, range(500)) == count_right(other, range(500)) == 500

    @pytest.mark.parametrize(
        'damage',
        [
            '(checksum, pixels) = (SELECT checksum, pixels FROM cutouts WHERE id = 1)',
            'pixels = zeroblob(LENGTH(pixels))',
            "pixels = x''",
            "pixels = 'text'",
            "checksum = 'text'",
        ],
    )
    def test_damaged_row_is_missing(self, cache, path, damage):
        cache.put(make_items(range(3)))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f'UPDATE cutouts SET {damage} WHERE id = 2')
        assert count_right(cache, range(3)) == 2
        cache.put(make_items([1]))
        assert count_right(cache, range(3)) == 3

    def test_file_that_takes_nothing_more_costs_no_image(self, cache, path, monkeypatch, clock):
        """Another program locks the file longer than the cache waits."""
        cache.put(make_items([0]))
        clock[0] += 10_000
        monkeypatch.setattr(database, 'PATIENCE', 0.01)
        impatient = CutoutCache(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as keeper:
            keeper.execute('BEGIN IMMEDIATE')
            with pytest.warns(AstropyUserWarning, match='locked.* not kept'):
                impatient.put(make_items([1]))
            assert count_right(impatient, [0, 1]) == 1
        impatient.put(make_items([1]))
        assert count_right(impatient, [0, 1]) == 2


def begin_caches(folder):
    for number in range(12):
        CutoutCache(folder / f'{number}.sqlite').close()


def name_place(ra, dec):
    return f'{float(ra):.6f},{float(dec):.6f}'


class Diary(CutoutCache):
    """A cache that logs the times of misses and of stored images."""

    def get(self, keys):
        keys, began = list(keys), time.monotonic()
        found = super().get(keys)
        lacked = [key for key, image in zip(keys, found, strict=True) if image is None]
        # A source looks for one alone right before it asks for it.
        self._note(began, 'asks' if len(keys) == 1 else 'lacks', lacked)
        return found

    def put(self, items):
        items = list(items)
        super().put(items)
        self._note(time.monotonic(), 'has', [key for key, _ in items])

    def _note(self, moment, what, keys):
        line = f'{moment} {what} {" ".join(name_place(key.ra, key.dec) for key in keys)}\n'
        # Unbuffered, so that lines of two processes do not mix.
        with open(self.path.with_name('diary'), 'ab', buffering=0) as file:
            file.write(line.encode())


def read_diary(path):
    """Count the requests for each image, and check that no stored image was missed."""
    lines = [line.split() for line in path.with_name('diary').read_text().splitlines()]
    had = {
        key: float(moment) for moment, what, *keys in lines[::-1] if what == 'has' for key in keys
    }
    asked = Counter()
    for moment, what, *keys in lines:
        if what != 'has':
            assert all(float(moment) < had.get(key, np.inf) for key in keys)
        if what == 'asks':
            asked.update(keys)
    return asked


def fetch_slowly(path, numbers):
    cache = Diary(path)
    random.shuffle(numbers)
    for number in numbers:
        if not is_known(cache, make_key(number)):
            time.sleep(0.002)
            cache.put(make_items([number]))


def fetch_fast(path, url, table):
    """Fetch without the usual limits."""
    cache = Diary(path) if path else False
    source = Hips2Fits('sdss-dr9', bands='r', server=url, cache=cache)
    with conf.set_temp('requests_per_second', 1e6):
        return source.fetch(table, size='4 * radius')


def kill_at_random(worker, arguments, n_kills, *, longest):
    """Run two processes, and kill and replace one of them repeatedly."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([worker.__module__, 'astroquery.hips2fits'])

    def start():
        process = context.Process(target=worker, args=arguments)
        process.start()
        return process

    processes = [start(), start()]
    for _ in range(n_kills):
        time.sleep(random.uniform(0.01, longest))
        killed = processes.pop(random.randrange(2))
        killed.kill()
        killed.join()
        processes.append(start())
    for process in processes:
        process.join()
        assert process.exitcode == 0


def hammer(cache, numbers):
    for number in numbers:
        if count_right(cache, [number]) == 0:
            cache.put(make_items([number]))


class TestSharing:
    def test_threads_share_one_instance(self, cache, path):
        numbers = [random.Random(seed).sample(range(300), 300) for seed in range(8)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(hammer, [cache] * 8, numbers))
        assert count_right(cache, range(300)) == len(cache) == 300
        cache.close()
        assert is_sound(path)

    @pytest.mark.skipif(not hasattr(os, 'fork'), reason='the system has no fork')
    def test_instance_goes_on_in_parent_and_child_after_a_fork(self, path):
        # In a process of its own, because this one has threads.
        program = f"""
import os
from astro_morph.utils import database
from astro_morph.cutouts.fetching.cache import CutoutCache
from astro_morph.tests.cutouts.test_cache import count_right, hammer
cache = CutoutCache({str(path)!r}, max_size=1e9)
hammer(cache, range(10))
opened, connect = [], database._connect
database._connect = lambda path, *args: opened.append(path) or connect(path, *args)
child = os.fork()
hammer(cache, range(300) if child else range(300, 600))
# SQLite forbids a child to use a connection of its parent.
assert bool(opened) != bool(child)
if child:
    assert os.waitpid(child, 0)[1] == 0
    assert count_right(cache, range(600)) == 600
"""
        subprocess.run([sys.executable, '-c', program], check=True)
        assert is_sound(path)

    @CAN_KILL
    def test_kill_while_the_file_is_begun_leaves_a_cache(self, tmp_path):
        kill_at_random(begin_caches, (tmp_path,), 6, longest=0.15)
        for number in range(12):
            path = tmp_path / f'{number}.sqlite'
            hammer(CutoutCache(path), [number])
            assert is_sound(path)
        assert not list(tmp_path.glob('*broken*'))

    @CAN_KILL
    def test_kill_at_any_moment_loses_only_what_was_in_flight(self, path):
        kill_at_random(fetch_slowly, (path, list(range(1500))), 20, longest=0.15)
        assert is_sound(path)
        assert not broken_files(path)
        assert count_right(CutoutCache(path), range(1500)) == 1500
        asked = read_diary(path)
        assert len(asked) == 1500 < asked.total()

    @CAN_KILL
    def test_kill_in_the_middle_of_a_fetch(self, path):
        """Each request is for an image that was missing when its process looked."""
        sky = SimulatedSurvey(n_galaxies=20, bands='r')
        ny, nx = sky.flux.shape[1:]
        chance = np.random.default_rng(0)
        coords = sky.wcs.pixel_to_world(chance.uniform(-40, nx, 200), chance.uniform(0, ny, 200))
        # Of different sizes, so that none share a request.
        table = Table({'coord': coords, 'radius': np.linspace(4, 5, 200)})
        with serve(sky, delay=0.02) as server:
            url = f'{server.url}/hips-image-services/hips2fits'
            kill_at_random(fetch_fast, (path, url, table), 20, longest=0.4)
            requests = Counter(name_place(r.params['ra'], r.params['dec']) for r in server.requests)
            cutouts = fetch_fast(path, url, table)
            assert len(server.requests) == requests.total()
            truth = fetch_fast(None, url, table)
        assert is_sound(path)
        assert not broken_files(path)
        asked = read_diary(path)
        assert len(requests) == 200 < requests.total()
        assert requests <= asked
        assert set(truth.status) == {'ok', 'no_coverage'}
        np.testing.assert_array_equal(cutouts.status, truth.status)
        np.testing.assert_array_equal(cutouts.images, truth.images)
