# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of `RemoteSource`: requests, the cache, failures, outages, interruption, plans."""

import contextlib
import os
import pickle
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
import requests
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph import conf, decode_flags
from astro_morph.cutouts import CutoutCache, FetchError, OutageError, RemoteSource
from astro_morph.cutouts.services import remote
from astro_morph.images.errors import TruncatedImageError
from astro_morph.utils import database

SIDE = 16

# A user without rights; a test that runs as root acts for it.
NOBODY = 65534


class Service(RemoteSource):
    """A service without a network: a pixel holds the declination at its place, and its band."""

    def __init__(self, survey='sdss-dr9', *, misbehave=None, **options):
        super().__init__(survey, **{'cache': False, **options})
        self.asked = []
        self.misbehave = misbehave

    def _make_client(self):
        return SimpleNamespace(_session=requests.Session(), thread=threading.get_ident())

    def _answer(self, request, client):
        assert client.thread == threading.get_ident()
        self.asked.append(request)
        image = self.draw(request)
        if self.misbehave is not None:
            image = self.misbehave(request, image)
        if request.band == 'rgb':
            return np.stack([request.cut(image)] * 3, axis=1)
        return request.cut(image)

    def draw(self, request):
        ny, nx = request.shape
        north = (np.arange(ny) - (ny - 1) / 2) * request.scale / 3600
        image = np.repeat(request.dec + north[:, np.newaxis], nx, axis=1)
        return image + 1000 * ['rgb', 'g', 'r', 'i'].index(request.band)

    @property
    def rows_asked(self):
        return sorted(row for request in self.asked for row in request.rows.tolist())


def positions(n, *, apart=1.0):
    """Return positions on a line, some degrees apart."""
    return SkyCoord(150 + apart * np.arange(n), np.full(n, 2.0), unit='deg')


@pytest.fixture(autouse=True)
def _quick():
    with conf.set_temp('requests_per_second', 10_000.0):
        yield


def fail_for(band=None, *, error):
    def misbehave(request, image):
        if band is None or request.band == band:
            raise error
        return image

    return misbehave


def test_each_row_gets_its_own_place():
    dec = [-5.0, 20.0, 60.0, 89.5]
    cutouts = Service(bands='gr').fetch(SkyCoord([10, 350, 180, 7], dec, unit='deg'), size=SIDE)
    assert cutouts.shape == (4, 2, SIDE, SIDE)
    assert cutouts.bands == ('g', 'r')
    assert cutouts.pixel_scale == 0.396 * u.arcsec
    assert cutouts.kind == 'flux'
    np.testing.assert_allclose(cutouts.images.mean(axis=(2, 3))[:, 0] - 1000, dec, atol=1e-3)
    np.testing.assert_allclose(cutouts.images.mean(axis=(2, 3))[:, 1] - 2000, dec, atol=1e-3)
    assert cutouts.is_ok.all()
    assert not cutouts.flags.any()


def test_a_bad_position_makes_no_request():
    table = Table({'ra': [10.0, np.nan, 20.0], 'dec': [0.0, 0.0, 95.0]})
    service = Service(bands='r')
    cutouts = service.fetch(table, size=SIDE)
    assert list(cutouts.status) == ['ok', 'no_coordinates', 'invalid_coordinates']
    assert service.rows_asked == [0]
    assert len(cutouts.table) == 3


def test_no_rows_make_no_request():
    service = Service(bands='r')
    assert len(service.fetch(positions(0), size=SIDE)) == 0
    assert service.asked == []


def test_the_scale_follows_a_column():
    table = Table({'ra': [10.0, 11, 12], 'dec': [0.0, 0, 0], 'radius': [8.0, 4.0, -1.0]})
    service = Service(bands='r')
    cutouts = service.fetch(table, size=(SIDE, '4 * radius'))
    assert list(cutouts.status) == ['ok', 'ok', 'no_size']
    np.testing.assert_allclose(cutouts.pixel_scale[:2].value, [2.0, 1.0])
    assert sorted(request.scale for request in service.asked) == [1.0, 2.0]


def test_a_picture_has_three_bands_from_one_request():
    service = Service(bands='rgb', misbehave=lambda request, image: image * 0 + 7)
    cutouts = service.fetch(positions(2), size=SIDE)
    assert cutouts.kind == 'picture'
    assert cutouts.bands == ('red', 'green', 'blue')
    assert (cutouts.images == 7).all()
    assert len(service.asked) == 2


def test_rows_that_share_a_field_are_the_same_pixels():
    coords = positions(6, apart=20 / 3600)
    service, alone = Service(bands='gr'), Service(bands='gr')
    cutouts = service.fetch(coords, size=SIDE)
    assert [len(request.rows) for request in service.asked] == [6, 6]
    one_by_one = [alone.fetch(coord.reshape(1), size=SIDE).images[0] for coord in coords]
    # Half a pixel of 0.396 arcsec in declination.
    np.testing.assert_allclose(cutouts.images, one_by_one, atol=0.5 * 0.396 / 3600)
    assert service.asked[0].shape == service.asked[1].shape


def test_what_came_is_not_fetched_again(tmp_path):
    cache = tmp_path / 'cache.sqlite'
    first = Service(bands='gr', cache=cache).fetch(positions(3), size=SIDE)
    service = Service(bands='rig', cache=cache)
    again = service.fetch(positions(4), size=SIDE)
    np.testing.assert_array_equal(again.images[:3, [2, 0]], first.images)
    asked = sorted((request.band, row) for request in service.asked for row in request.rows)
    assert asked == [('g', 3), ('i', 0), ('i', 1), ('i', 2), ('i', 3), ('r', 3)]


@pytest.mark.parametrize(
    'change', [{'server': 'http://127.0.0.1:1'}, {'pixel_scale': 0.4 * u.arcsec}]
)
def test_the_cache_tells_what_differs(tmp_path, change):
    cache = tmp_path / 'cache.sqlite'
    Service(bands='r', cache=cache).fetch(positions(1), size=SIDE)
    service = Service(bands='r', cache=cache, **change)
    service.fetch(positions(1), size=SIDE)
    assert len(service.asked) == 1


def test_what_another_process_fetched_meanwhile_is_not_asked_for(tmp_path):
    cache = CutoutCache(tmp_path / 'cache.sqlite')
    other = Service(bands='r', cache=cache)

    def fetch_all_elsewhere(request, image):
        other.fetch(positions(8), size=SIDE)
        return image

    service = Service(bands='r', cache=cache, misbehave=fetch_all_elsewhere)
    with conf.set_temp('requests_at_once', 1):
        assert service.fetch(positions(8), size=SIDE).is_ok.all()
    assert len(service.asked) == 1


def test_no_coverage_is_remembered_and_a_failure_is_not(tmp_path):
    def misbehave(request, image):
        if request.rows[0] == 1:
            return np.full_like(image, np.nan)
        if request.rows[0] == 2:
            raise FetchError(status='http_503', is_network=True)
        return image

    cache = tmp_path / 'cache.sqlite'
    cutouts = Service(bands='r', cache=cache, misbehave=misbehave).fetch(positions(3), size=SIDE)
    assert list(cutouts.status) == ['ok', 'no_coverage', 'http_503']
    service = Service(bands='r', cache=cache)
    cutouts = service.fetch(positions(3), size=SIDE)
    assert list(cutouts.status) == ['ok', 'no_coverage', 'ok']
    assert service.rows_asked == [2]


def test_a_missing_band_leaves_the_row():
    service = Service(bands='gri', misbehave=fail_for('r', error=FetchError('timeout')))
    cutouts = service.fetch(positions(1), size=SIDE)
    assert list(cutouts.status) == ['ok']
    assert decode_flags(cutouts.flags) == [['missing_band']]
    assert np.isnan(cutouts.images[0]).all(axis=(1, 2)).tolist() == [False, True, False]


def test_the_status_is_that_of_the_first_band_that_failed():
    def misbehave(request, image):
        if request.band == 'g':
            return np.full_like(image, np.nan)
        raise FetchError({'r': 'timeout', 'i': 'connection'}[request.band])

    cutouts = Service(bands='gri', misbehave=misbehave).fetch(positions(1), size=SIDE)
    assert list(cutouts.status) == ['timeout']
    assert not cutouts.flags.any()


def test_partial_coverage_is_flagged():
    def misbehave(request, image):
        image[0, 0] = np.nan
        return image

    cutouts = Service(bands='r', misbehave=misbehave).fetch(positions(1), size=SIDE)
    assert decode_flags(cutouts.flags) == [['partial_coverage']]
    assert list(cutouts.status) == ['ok']


@pytest.mark.parametrize(
    ('error', 'status'),
    [
        (FetchError('wrong_size'), 'wrong_size'),
        (TruncatedImageError('ends early'), 'truncated'),
        (requests.ReadTimeout('slow'), 'timeout'),
        (requests.ConnectionError('broken'), 'connection'),
        (AttributeError('no such thing'), 'not_an_image'),
    ],
)
def test_what_a_client_raises_becomes_a_status(error, status):
    service = Service(bands='r', misbehave=fail_for(error=error))
    assert list(service.fetch(positions(2), size=SIDE).status) == [status] * 2


def test_the_cause_of_an_error_tells_its_status():
    def misbehave(request, image):
        try:
            raise FetchError(status='timeout')
        except FetchError as error:
            raise RuntimeError from error

    assert Service(bands='r', misbehave=misbehave).fetch(positions(1)).status == 'timeout'


def test_an_outage_stops_early_and_keeps_what_came(tmp_path):
    n_good = 30

    def misbehave(request, image):
        if len(service.asked) > n_good:
            raise FetchError(status='connection', message='host is gone', is_network=True)
        return image

    cache = tmp_path / 'cache.sqlite'
    service = Service(bands='r', cache=cache, misbehave=misbehave)
    with conf.set_temp('requests_at_once', 2), pytest.raises(OutageError, match='gone') as info:
        service.fetch(positions(200), size=SIDE)
    assert len(service.asked) <= n_good + remote.OUTAGE + 10
    cutouts = info.value.cutouts
    assert len(cutouts) == 200
    assert cutouts.is_ok.sum() == n_good
    assert set(cutouts.status) == {'ok', 'connection', 'outage'}
    service = Service(bands='r', cache=cache)
    assert service.fetch(positions(200), size=SIDE).is_ok.all()
    assert len(service.asked) == 170


def test_failures_of_single_rows_are_no_outage():
    refused = Service(bands='r', misbehave=fail_for(error=FetchError('http_400')))
    assert (refused.fetch(positions(50), size=SIDE).status == 'http_400').all()

    def fail_often(request, image):
        if request.rows[0] % 2:
            raise FetchError(status='timeout', is_network=True)
        return image

    cutouts = Service(bands='r', misbehave=fail_often).fetch(positions(100), size=SIDE)
    assert cutouts.is_ok.sum() == 50


@pytest.fixture
def ctrl_c_interrupts():
    """Interrupts raise, also where the tests run in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures('ctrl_c_interrupts')
def test_an_interrupt_keeps_what_came(tmp_path):
    def misbehave(request, image):
        time.sleep(0.005)
        if len(service.asked) == 10:
            os.kill(os.getpid(), signal.SIGINT)
        return image

    cache = tmp_path / 'cache.sqlite'
    service = Service(bands='r', cache=cache, misbehave=misbehave)
    with conf.set_temp('requests_at_once', 1), pytest.raises(KeyboardInterrupt):
        service.fetch(positions(50), size=SIDE)
    time.sleep(0.1)
    assert len(service.asked) < 20
    service = Service(bands='r', cache=cache)
    assert service.fetch(positions(50), size=SIDE).is_ok.all()
    assert len(service.asked) <= 50 - 7


def test_a_plan_tells_what_a_fetch_does(tmp_path):
    coords = SkyCoord([*positions(30, apart=10 / 3600), *positions(20, apart=-3)[1:]])
    service = Service(bands='gr', cache=tmp_path / 'cache.sqlite')
    service.fetch(coords[40:], size=SIDE)
    service.asked.clear()
    with conf.set_temp('requests_per_second', 5.0):
        plan = service.plan(coords, size=SIDE)
    assert service.asked == []
    service.fetch(coords, size=SIDE)
    assert plan.n_rows == len(coords)
    assert plan.n_cached == 9
    assert plan.n_requests == len(service.asked) == 2 * (1 + 10)
    n_pixels = sum(np.prod(request.shape) for request in service.asked)
    assert plan.megabytes == pytest.approx(4 * n_pixels / 1e6)
    assert plan.seconds == pytest.approx(plan.n_requests / 5)
    assert '22 requests' in str(plan)


def test_a_large_fetch_says_so_first(monkeypatch, caplog):
    monkeypatch.setattr(remote, 'MANY_REQUESTS', 5)
    Service(bands='r').fetch(positions(5), size=SIDE)
    assert not caplog.records
    Service(bands='r').fetch(positions(6), size=SIDE)
    assert '6 requests' in caplog.text


def test_a_stream_says_once_what_all_of_it_takes(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(remote, 'MANY_REQUESTS', 10)
    service = Service(bands='r', cache=tmp_path / 'cache.sqlite')
    service.fetch(positions(4), size=SIDE)
    batches = list(service.stream(positions(16), size=SIDE, batch_size=4))
    assert [len(batch) for batch in batches] == [4] * 4
    assert len(caplog.records) == 1
    assert '12 requests' in caplog.text


def test_a_stream_of_nothing_is_empty():
    assert list(Service().stream(positions(0))) == []


def test_a_source_is_pickled(tmp_path):
    service = Service(bands='r', cache=tmp_path / 'cache.sqlite')
    service.fetch(positions(2), size=SIDE)
    service.asked.clear()
    again = pickle.loads(pickle.dumps(service))
    assert again.fetch(positions(2), size=SIDE).is_ok.all()
    assert again.asked == []


def test_astroquery_keeps_its_own_settings():
    from astroquery import cache_conf

    with cache_conf.set_temp('cache_active', True):
        Service(bands='r').fetch(positions(2), size=SIDE)
        assert cache_conf.cache_active


class Spoiler:
    """
    Make a cache unusable in some way, for a user without special rights.

    Each method returns how many of the images in the file can still be read.
    """

    def __init__(self, path, stack, monkeypatch):
        self.path, self._stack, self._monkeypatch = path, stack, monkeypatch

    def _connect(self):
        connection = sqlite3.connect(self.path, isolation_level=None)
        self._stack.callback(connection.close)
        return connection

    def file_only_read(self):
        self.path.chmod(0o444)
        return 3

    def folder_only_read(self):
        self.path.parent.chmod(0o555)
        return 3

    def folder_only_read_without_companions(self):
        for other in set(self.path.parent.iterdir()) - {self.path}:
            other.unlink()
        return self.folder_only_read()

    def file_without_permission(self):
        self.path.chmod(0)
        return 0

    def folder_without_permission(self):
        self.path.parent.chmod(0)
        return 0

    def folder_in_its_place(self):
        self.path.unlink()
        self.path.mkdir()
        return 0

    def damaged_in_folder_only_read(self):
        self.path.write_bytes(bytes(20_000))
        return self.folder_only_read_without_companions() * 0

    def later_version(self):
        self._connect().execute('PRAGMA user_version = 99')
        return 0

    def locked_to_write(self):
        self._connect().execute('BEGIN IMMEDIATE')
        return 3

    def locked_altogether(self):
        connection = self._connect()
        connection.execute('PRAGMA locking_mode = EXCLUSIVE')
        connection.execute('BEGIN EXCLUSIVE')
        return 0

    def being_opened_by_a_process_that_hangs(self):
        keeper = sqlite3.connect(f'{self.path}.lock', isolation_level=None)
        self._stack.callback(keeper.close)
        keeper.execute('BEGIN EXCLUSIVE')
        return 0

    def full_disk(self):
        connect = database._connect

        def connect_to_full_disk(*args, **options):
            connection = connect(*args, **options)
            # SQLite sets it to the present number of pages.
            connection.execute('PRAGMA max_page_count = 1')
            return connection

        self._monkeypatch.setattr(database, '_connect', connect_to_full_disk)
        return 3


@pytest.fixture
def spoiler(monkeypatch):
    """Spoils the cache of a user to whom permissions apply, unlike to root."""
    monkeypatch.setattr(database, 'PATIENCE', 0.05)
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as name:
        folder = Path(name) / 'folder'
        folder.mkdir()
        Service(bands='r', cache=folder / 'cache.sqlite').fetch(positions(3), size=SIDE)
        if hasattr(os, 'geteuid') and os.geteuid() == 0:
            for path in (folder.parent, folder, *folder.iterdir()):
                os.chown(path, NOBODY, NOBODY)
            stack.callback(os.seteuid, 0)
        yield Spoiler(folder / 'cache.sqlite', stack, monkeypatch)
        stack.close()
        folder.chmod(0o755)


@pytest.mark.skipif(sys.platform == 'win32', reason='the system has other permissions')
@pytest.mark.parametrize('way', [name for name in vars(Spoiler) if name[0] != '_'])
def test_no_row_is_lost_with_a_cache_that_cannot_be_used(spoiler, way):
    """All rows have their images, whatever is wrong with the cache; and one warning says so."""
    n_readable = getattr(spoiler, way)()
    if hasattr(os, 'geteuid') and os.geteuid() == 0:
        os.seteuid(NOBODY)
    service = Service(bands='r', cache=spoiler.path)
    with pytest.warns(AstropyUserWarning) as warned:
        batches = list(service.stream(positions(6), size=SIDE, batch_size=3))
    assert len(warned) == 1
    assert 'cache.sqlite' in str(warned[0].message)
    assert 'not kept' in str(warned[0].message)
    assert all(cutouts.is_ok.all() for cutouts in batches)
    assert len(service.rows_asked) == 6 - n_readable
    for cutouts in batches:
        expected = Service(bands='r').fetch(cutouts.table, size=SIDE)
        np.testing.assert_array_equal(cutouts.images, expected.images)


def test_a_cache_below_a_file_is_worked_without(tmp_path):
    (tmp_path / 'file').touch()
    service = Service(bands='r', cache=tmp_path / 'file' / 'cache.sqlite')
    with pytest.warns(AstropyUserWarning, match='not kept') as warned:
        assert service.fetch(positions(2), size=SIDE).is_ok.all()
    assert len(warned) == 1


def test_a_source_goes_on_where_its_cache_does_not_exist(tmp_path):
    """As on the other machines of a cluster."""
    folder = tmp_path / 'folder'
    source = Service(bands='r', cache=CutoutCache(folder / 'cache.sqlite'))
    content = pickle.dumps(source)
    shutil.rmtree(folder)
    folder.touch()
    copy = pickle.loads(content)
    with pytest.warns(AstropyUserWarning, match='not kept'):
        assert copy.fetch(positions(2), size=SIDE).is_ok.all()
