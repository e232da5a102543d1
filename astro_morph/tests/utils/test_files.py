# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of files that are written atomically."""

import os

import pytest

from astro_morph.utils.files import atomic_file, check_new


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
