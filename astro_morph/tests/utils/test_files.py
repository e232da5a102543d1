# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of files that are written atomically."""

import errno
import os
import signal
import subprocess
import sys

import pytest
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.utils import files
from astro_morph.utils.files import atomic_file, check_new, locked


def test_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / 'model.pt'
    with atomic_file(path) as aside:
        aside.write_text('half')
        assert not path.exists()
        assert aside.parent == path.parent
        assert aside.suffix == '.pt'
    assert path.read_text() == 'half'
    assert os.listdir(tmp_path) == ['model.pt']


def test_failure_leaves_nothing_and_keeps_the_old_file(tmp_path):
    path = tmp_path / 'model.pt'
    path.write_text('old')

    def fail():
        with atomic_file(path, overwrite=True) as aside:
            aside.write_text('half')
            msg = 'No space left on device'
            raise OSError(msg)

    with pytest.raises(OSError, match='No space left'):
        fail()
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['model.pt']


def test_existing_file_is_refused_before_the_work(tmp_path):
    path = tmp_path / 'model.pt'
    path.write_text('old')
    with pytest.raises(FileExistsError, match=r'model\.pt exists already; use overwrite=True'):
        check_new(path)
    with pytest.raises(FileExistsError, match='overwrite=True'), atomic_file(path):
        pytest.fail('the block was entered')
    assert path.read_text() == 'old'


def test_two_writers_at_once_do_not_share_a_file(tmp_path):
    path = tmp_path / 'model.pt'
    with atomic_file(path, overwrite=True) as one, atomic_file(path, overwrite=True) as other:
        assert one != other
        one.write_text('one')
        other.write_text('other')
    assert path.read_text() == 'one'
    assert os.listdir(tmp_path) == ['model.pt']


def test_link_stays_a_link(tmp_path):
    target, link = tmp_path / 'target', tmp_path / 'link'
    target.write_text('old')
    link.symlink_to(target)
    with atomic_file(link, overwrite=True) as aside:
        aside.write_text('new')
    assert link.is_symlink()
    assert target.read_text() == 'new'


def test_file_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / 'model.pt'

    def write():
        with atomic_file(path) as aside:
            aside.write_text('mine')
            path.write_text('theirs')

    with pytest.raises(FileExistsError, match='exists already; use overwrite=True'):
        write()
    assert path.read_text() == 'theirs'
    assert os.listdir(tmp_path) == ['model.pt']


def test_file_without_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, 'Operation not permitted')

    monkeypatch.setattr(os, 'link', refuse)
    with atomic_file(tmp_path / 'model.pt') as aside:
        aside.write_text('complete')
    assert (tmp_path / 'model.pt').read_text() == 'complete'
    assert os.listdir(tmp_path) == ['model.pt']


class TestLock:
    def test_one_run_at_a_time(self, tmp_path):
        path = tmp_path / 'out.fits'
        with locked(path):
            with pytest.raises(BlockingIOError, match=r'out\.fits is being written by another run'):
                self.enter(path)
            self.enter(tmp_path / 'other.fits')
        self.enter(path)
        assert os.listdir(tmp_path) == []

    def enter(self, path):
        with locked(path):
            pass

    def test_killed_process_leaves_no_lock(self, tmp_path):
        path = tmp_path / 'out.fits'
        code = (
            'import os, signal, sys; from astro_morph.utils.files import locked\n'
            'with locked(sys.argv[1]): os.kill(os.getpid(), signal.SIGKILL)'
        )
        ended = subprocess.run([sys.executable, '-c', code, path])
        assert ended.returncode == -signal.SIGKILL
        assert os.listdir(tmp_path) == ['.out.fits.lock']
        self.enter(path)
        assert os.listdir(tmp_path) == []

    def test_folders_are_created_and_removed_if_empty(self, tmp_path):
        with pytest.raises(ZeroDivisionError), locked(tmp_path / 'a' / 'b' / 'out.fits'):
            1 / 0  # noqa: B018
        assert os.listdir(tmp_path) == []
        with locked(tmp_path / 'a' / 'b' / 'out.fits'):
            (tmp_path / 'a' / 'kept').touch()
        assert os.listdir(tmp_path / 'a') == ['kept']

    def test_file_system_without_locks(self, tmp_path, monkeypatch):
        def refuse(*_):
            raise OSError(errno.ENOLCK, 'No locks available')

        monkeypatch.setattr(files, '_lock', refuse)
        with pytest.warns(AstropyUserWarning, match='cannot be locked .*no other run'):
            self.enter(tmp_path / 'out.fits')
        assert os.listdir(tmp_path) == []

    def test_lock_that_was_removed_before_it_was_taken(self, tmp_path, monkeypatch):
        path, lock = tmp_path / 'out.fits', files._lock

        def remove_first(file):
            monkeypatch.setattr(files, '_lock', lock)
            os.unlink(tmp_path / '.out.fits.lock')
            lock(file)

        monkeypatch.setattr(files, '_lock', remove_first)
        with locked(path), pytest.raises(BlockingIOError):
            self.enter(path)
