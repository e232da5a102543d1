# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A labelling session: what it asks, saves, undoes and learns."""

import socket
from contextlib import nullcontext

import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph import MorphologyClassifier
from astro_morph.catalog import read_positions
from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.labelling import LabellingSession, cross_validate, label, label_table, start
from astro_morph.labelling.session import QUEUE
from astro_morph.learning.active import CRITERIA
from astro_morph.simulation import SimulatedSurvey
from astro_morph.tests.catalog.test_table_chunks import assert_same_table
from astro_morph.tests.catalog.test_table_io import require
from astro_morph.tests.helpers import fill_disk, make_blobs

CLASSES = ['round', 'edge_on']


def unlabelled(n, *, n_missing=0):
    """Return blobs without labels, their true classes, and features that separate these."""
    cutouts = make_blobs(n)
    truth = cutouts.table['morphology'].tolist()
    del cutouts.table['morphology']
    # As pooled features are: many, each of which says a little.
    features = np.random.default_rng(0).normal(size=(n, 200))
    features[np.array(truth) == 'round'] += 1
    status = np.array(['ok'] * n, 'U20')
    status[:n_missing] = 'truncated'
    features[:n_missing] = np.nan
    return cutouts.replace(status=status), truth, features


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'labelled.ecsv'


@pytest.fixture
def session(path):
    cutouts, truth, features = unlabelled(40, n_missing=3)
    session = LabellingSession(cutouts, features, path, classes=CLASSES)
    session.truth = truth
    return session


def answer(session, n):
    """Label n galaxies correctly, and learn meanwhile; return their rows."""
    rows = []
    for i in range(n):
        rows.append(session.row)
        session.label(session.row, session.truth[session.row])
        if i % 8 == 0:
            session.learn()
    session.learn()
    return rows


class TestLabels:
    def test_a_label_is_in_the_file_at_once(self, session, path):
        row = session.row
        session.label(row, 'edge_on')
        labels = read_table(path)['morphology']
        assert labels[row] == 'edge_on'
        assert labels.mask.sum() == 39
        assert session.row != row
        assert session.counts == {'round': 0, 'edge_on': 1}

    def test_every_galaxy_with_an_image_is_asked_about_once(self, session):
        assert session.n_left == 37
        rows = answer(session, 37)
        assert sorted(rows) == list(range(3, 40))
        assert session.row is None
        assert session.n_left == 0

    def test_only_the_galaxy_that_was_looked_at_gets_a_label(self, session, path):
        row = session.row
        session.label(row, 'round')
        with pytest.raises(ValueError, match=f'row {row} is not the current galaxy'):
            session.label(row, 'round')
        assert session.counts == {'round': 1, 'edge_on': 0}

    @pytest.mark.parametrize(
        'row', [None, True, False, np.True_, -1, 40, 1.0, 'x', [0], slice(None), ..., np.arange(40)]
    )
    def test_only_numbers_of_rows_are_rows(self, session, path, row):
        first = session.row
        session.label(first, 'round')
        before = read_table(path)['morphology'].tolist()
        for call in (
            lambda: session.label(row, 'edge_on'),
            lambda: session.skip(row),
            lambda: session.row_info(row),
            lambda: session.picture(row),
        ):
            with pytest.raises(ValueError, match='row must be the number of a row, 0 to 39, got'):
                call()
        assert read_table(path)['morphology'].tolist() == before
        assert session.n_left == 36

    @pytest.mark.parametrize('row', [None, 0, 5, True])
    def test_nothing_is_labelled_when_none_is_left(self, session, path, row):
        answer(session, 37)
        before = read_table(path)['morphology'].tolist()
        for call in (lambda: session.label(row, 'edge_on'), lambda: session.skip(row)):
            with pytest.raises(ValueError, match='no more galaxies to label'):
                call()
        assert read_table(path)['morphology'].tolist() == before
        assert session.counts == {'round': 18, 'edge_on': 19}

    def test_numbers_of_numpy_are_rows(self, session):
        session.label(np.int64(session.row), 'round')
        assert session.counts['round'] == 1

    def test_an_unknown_class_is_refused(self, session):
        with pytest.raises(ValueError, match=r"label must be one of .*, got 'square'"):
            session.label(session.row, 'square')
        assert session.counts == {'round': 0, 'edge_on': 0}

    def test_undo_takes_back_the_last_label_and_asks_again(self, session, path):
        first, second = answer(session, 2)
        session.undo()
        assert session.row == second
        assert np.flatnonzero(~read_table(path)['morphology'].mask).tolist() == [first]
        session.undo()
        assert session.row == first
        assert not session.can_undo
        with pytest.raises(ValueError, match='nothing to undo'):
            session.undo()

    def test_a_skipped_galaxy_is_not_asked_about_again_unless_undone(self, session):
        row = session.row
        session.skip(row)
        assert session.can_undo
        session.undo()
        assert session.row == row
        session.skip(row)
        assert row not in answer(session, 36)
        assert session.row is None

    def test_a_label_that_cannot_be_written_is_no_label(self, session, path):
        session.path = path.parent / 'gone' / path.name
        row = session.row
        with pytest.raises(OSError, match='gone'):
            session.label(row, 'round')
        assert session.row == row
        assert session.counts == {'round': 0, 'edge_on': 0}
        assert session.table['morphology'].mask.all()

    def test_pictures_and_words_are_there_for_each_that_is_asked_about(self, session):
        answer(session, 20)
        assert session.picture(session.row).startswith('data:image/png;base64,')
        assert session.row_info(session.row) == f'row {session.row} · 9.6″ wide'

    def test_position_is_told_where_it_is_known(self, path):
        survey = SimulatedSurvey(n_galaxies=2)
        cutouts = survey.fetch(survey.catalogue['ra', 'dec'], size=32)
        session = LabellingSession(cutouts, np.eye(2), path, classes=CLASSES)
        ra, dec = survey.catalogue['ra'][1].deg, survey.catalogue['dec'][1].deg
        assert session.row_info(1) == f'row 1 · RA {ra:.4f} Dec {dec:+.4f} · 12.7″ wide'


class TestCatalogue:
    @pytest.mark.parametrize('ending', ['fits', 'ecsv', 'vot', 'h5'])
    def test_all_else_is_kept_in_every_format(self, tmp_path, ending):
        cutouts, _, features = unlabelled(6)
        before = QTable(cutouts.table)
        before['size'] = np.arange(6.0) * cutouts.pixel_scale
        before['size'].info.description = 'half-light radius'
        before['morphology'] = ['S0', '', '', '', '', '']
        before['morphology'].description = 'by eye'
        before.meta['ORIGIN'] = 'somewhere'
        path = tmp_path / f'labelled.{ending}'
        session = LabellingSession(cutouts.replace(table=before), features, path, classes=CLASSES)
        assert session.classes == ('round', 'edge_on', 'S0')
        row = session.row
        assert row != 0
        session.label(row, 'edge_on')
        after = read_table(path)
        assert after.colnames == before.colnames
        assert after['id'].tolist() == before['id'].tolist()
        assert after['size'].unit == 'arcsec'
        np.testing.assert_allclose(after['size'], before['size'].value)
        assert after['size'].description == 'half-light radius'
        assert after['morphology'].description == 'by eye'
        assert after.meta['ORIGIN'] == 'somewhere'
        labels = np.ma.filled(after['morphology'], '').tolist()
        assert labels == ['S0'] + ['edge_on' if i == row else '' for i in range(1, 6)]
        assert 'morphology' not in cutouts.table.colnames

    def test_labelling_goes_on_from_the_file(self, session, path):
        rows = answer(session, 5)
        again = LabellingSession(session.cutouts, session.features, path, classes=CLASSES)
        assert again.counts == session.counts
        assert again.row not in rows
        assert again.n_left == 32

    def test_another_catalogue_is_not_overwritten(self, session, path):
        kept = path.read_text()
        cutouts, _, features = unlabelled(30)
        with pytest.raises(ValueError, match=r'40 rows, and is not this catalogue of 30 rows'):
            LabellingSession(cutouts, features, path, classes=CLASSES)
        cutouts, _, features = unlabelled(40)
        cutouts.table['other'] = 1
        with pytest.raises(ValueError, match=r"lacks the columns \['other'\]"):
            LabellingSession(cutouts, features, path, classes=CLASSES)
        assert path.read_text() == kept

    def test_classes_may_be_those_of_the_catalogue(self, path):
        cutouts, truth, features = unlabelled(6)
        cutouts.table['morphology'] = [*truth[:3], '', '', '']
        session = LabellingSession(cutouts, features, path)
        assert session.classes == ('edge_on', 'round')

    def test_classes_may_be_numbers(self, path):
        cutouts, _, features = unlabelled(6)
        cutouts.table['morphology'] = MaskedColumn([4, 0, 0, 0, 0, 0], mask=[0, 1, 1, 1, 1, 1])
        session = LabellingSession(cutouts, features, path, classes=['4', '7'])
        row = session.row
        session.label(row, 7)
        labels = read_table(path)['morphology']
        assert labels.dtype.kind == 'i'
        assert (labels[0], labels[row]) == (4, 7)
        with pytest.raises(ValueError, match=r'classes must be like the labels .* \[4, 7\]'):
            LabellingSession(cutouts, features, path, classes=['spiral', 'round'])

    @pytest.mark.parametrize('classes', [None, [], ['one'], ['one', '']])
    def test_two_classes_are_needed(self, path, classes):
        cutouts, _, features = unlabelled(4)
        with pytest.raises(ValueError, match='classes must name at least two classes'):
            LabellingSession(cutouts, features, path, classes=classes)

    def test_images_without_a_table_are_refused(self, path):
        cutouts, _, features = unlabelled(4)
        with pytest.raises(ValueError, match='X has images only'):
            LabellingSession(cutouts.replace(table=None), features, path, classes=CLASSES)


class TestNothingIsLost:
    """Whatever happens to the file, each label that was given is in its journal."""

    def again(self, session, path):
        return LabellingSession(session.cutouts, session.features, path, classes=CLASSES)

    def test_file_that_is_gone_is_restored(self, session, path):
        answer(session, 5)
        session.undo()
        expected = read_table(path)
        path.unlink()
        with pytest.warns(AstropyUserWarning, match='is gone: its 4 labels are restored from'):
            again = self.again(session, path)
        assert again.counts == session.counts
        assert_same_table(read_table(path), expected)

    def test_labels_of_numbers_are_restored(self, path):
        cutouts, _, features = unlabelled(6)
        for classes in ([4, 7], None):
            warns = pytest.warns(AstropyUserWarning) if classes is None else nullcontext()
            with warns:
                session = LabellingSession(cutouts, features, path, classes=classes or [4, 7])
            if classes:
                session.label(session.row, 7)
            path.unlink()
        assert session.counts == {4: 0, 7: 1}

    def test_damaged_file_says_where_the_labels_are(self, session, path):
        answer(session, 5)
        path.write_bytes(b'')
        with pytest.raises(ValueError, match=r'cannot be read: .*; move the file away'):
            self.again(session, path)
        path.rename(path.with_name('damaged'))
        with pytest.warns(AstropyUserWarning, match='restored'):
            assert self.again(session, path).counts == session.counts

    def test_journal_of_another_catalogue_is_kept_but_not_used(self, session, path):
        answer(session, 5)
        journal = path.with_name('labelled.ecsv.journal')
        before = journal.read_text()
        path.unlink()
        cutouts, _, features = unlabelled(41)
        other = LabellingSession(cutouts, features, path, classes=CLASSES)
        assert sum(other.counts.values()) == 0
        assert journal.read_text().startswith(before)

    def test_journal_cut_off_by_a_crash(self, session, path):
        answer(session, 5)
        journal = path.with_name('labelled.ecsv.journal')
        journal.write_bytes(journal.read_bytes()[:-4])
        again = self.again(session, path)
        again.label(again.row, 'round')
        path.unlink()
        with pytest.warns(AstropyUserWarning, match='its 6 labels'):
            self.again(session, path)

    def test_labels_that_were_emptied_by_hand_stay_empty(self, session, path):
        first, *_ = answer(session, 5)
        table = read_table(path)
        table['morphology'][first] = np.ma.masked
        write_table(table, path, overwrite=True)
        assert sum(self.again(session, path).counts.values()) == 4
        path.unlink()
        with pytest.warns(AstropyUserWarning, match='its 4 labels'):
            self.again(session, path)

    def test_two_sessions_of_one_file(self, session, path):
        answer(session, 3)
        later = self.again(session, path)
        answered = later.row
        later.label(answered, 'round')
        row = session.row
        with pytest.raises(OSError, match='was changed by another session or program; start'):
            session.label(row, 'edge_on')
        assert session.row == row
        assert sum(session.counts.values()) == 3
        labels = read_table(path)['morphology']
        assert labels[answered] == 'round'
        assert (~labels.mask).sum() == 4

    def test_label_that_cannot_be_written_is_not_in_the_journal(self, session, path, monkeypatch):
        row = session.row
        with monkeypatch.context() as patch:
            fill_disk(patch, label_table, 'write_table')
            with pytest.raises(OSError, match='No space left'):
                session.label(row, 'round')
        path.unlink()
        assert sum(self.again(session, path).counts.values()) == 0

    @pytest.mark.parametrize('ending', ['fits', 'ecsv', 'vot', 'h5', 'csv', 'parquet'])
    def test_catalogue_in_another_order_is_another(self, tmp_path, ending):
        require(f'.{ending}')
        path = tmp_path / f'labelled.{ending}'
        cutouts, _, features = unlabelled(6)
        table = cutouts.table
        table['ra'] = np.linspace(10, 11, 6)
        table['dec'] = MaskedColumn(np.linspace(-1, 1, 6), mask=np.arange(6) == 2)
        table['name'] = ['a', 'b', 'c ', 'd', '', 'f']
        table['mag'] = np.array([1, 2, np.nan, 4, 5, 6], np.float32) / 3
        table['is_ok'] = np.arange(6) > 3
        session = LabellingSession(cutouts, features, path, classes=CLASSES)
        session.label(session.row, 'round')
        again = LabellingSession(cutouts, features, path, classes=CLASSES)
        assert again.counts == session.counts
        for names in (['id'], ['ra', 'dec'], ['name'], ['mag']):
            other = table.copy()
            for name in names:
                other[name] = table[name][::-1]
            with pytest.raises(ValueError, match=r'in another order: in row 0, its .* differs'):
                LabellingSession(cutouts.replace(table=other), features, path, classes=CLASSES)

    def test_sky_in_another_order_is_another(self, path):
        survey = SimulatedSurvey(n_galaxies=4)
        cutouts = survey.fetch(survey.catalogue['ra', 'dec'], size=32)
        for table in (cutouts.table, QTable({'coords': read_positions(cutouts.table)[0]})):
            LabellingSession(cutouts.replace(table=table), np.eye(4), path, classes=CLASSES)
            with pytest.raises(ValueError, match='in row 0, its position differs'):
                LabellingSession(
                    cutouts.replace(table=table[::-1]), np.eye(4), path, classes=CLASSES
                )
            path.unlink()
            path.with_name('labelled.ecsv.journal').unlink()


class TestLearning:
    def test_first_galaxies_are_unlike_each_other(self, path):
        # Three kinds; two of them are rare, and a draw of three may well miss them.
        kind = np.repeat([0, 1, 2], [36, 2, 2])
        cutouts, _, _ = unlabelled(40)
        features = 50 * np.eye(3)[kind] + np.random.default_rng(0).normal(size=(40, 3))
        session = LabellingSession(cutouts, features, path, classes=CLASSES)
        asked = []
        for _ in range(QUEUE):
            asked.append(kind[session.row])
            session.label(session.row, 'round')
            session.learn()
        assert set(asked) == {0, 1, 2}

    def test_one_class_alone_is_no_reason_to_stop(self, session):
        for _ in range(QUEUE + 4):
            session.label(session.row, 'round')
            session.learn()
        assert session.progress == []
        assert session.row is not None

    def test_accuracy_is_that_of_galaxies_held_out(self, session):
        answer(session, 30)
        last = session.progress[-1]
        assert last.n_labels == 30
        assert last.low < last.accuracy <= last.high
        assert last.accuracy > 0.9
        assert [past.n_labels for past in session.progress] == sorted(
            {past.n_labels for past in session.progress}
        )

    def test_accuracy_of_labels_without_meaning_is_that_of_guessing(self):
        random = np.random.default_rng(0)
        progress = cross_validate(random.normal(size=(200, 5)), random.integers(2, size=200))
        assert progress.low < 0.5 < progress.high

    def test_the_only_galaxy_of_a_class_is_not_held_out(self):
        features = np.array([[0.0], [0.1], [5.0], [5.1], [9.0]])
        assert cross_validate(features, np.array([0, 0, 1, 1, 2])).n_labels == 5
        assert cross_validate(features, np.array([0, 0, 1, 2, 3])) is None

    def test_what_was_learnt_from_a_label_taken_back_is_forgotten(self, session):
        answer(session, 12)
        session.undo()
        session.learn()
        assert session.progress[-1].n_labels == 11

    @pytest.mark.parametrize('criterion', CRITERIA)
    def test_the_doubtful_are_asked_about_next(self, path, criterion):
        cutouts, _, _ = unlabelled(60)
        position = np.linspace(-1, 1, 60)
        features = np.stack([position, np.zeros(60)], 1)
        features[-1, 1] = 5
        cutouts.table['morphology'] = np.where(position < 0, 'round', 'edge_on')
        is_known = (np.abs(position) > 0.3) & (np.abs(position) < 0.9)
        cutouts.table['morphology'][~is_known] = ''
        session = LabellingSession(cutouts, features, path, criterion=criterion)
        session.learn()
        # What was first asked about stays, because someone may be looking at it.
        session.skip(session.row)
        if criterion == 'novelty':
            assert session.row == 59
        else:
            assert np.abs(position[session.row]) < 0.1

    def test_the_galaxy_that_is_looked_at_stays(self, session):
        answer(session, QUEUE - 1)
        session.label(session.row, session.truth[session.row])
        row = session.row
        session.learn()
        assert session.row == row

    def test_an_unknown_criterion_is_refused(self, session, path):
        with pytest.raises(ValueError, match=r"criterion must be one of .*, got 'best'"):
            LabellingSession(session.cutouts, session.features, path, criterion='best')


class TestStart:
    def test_features_are_those_of_the_encoder(self, encoder, blobs, path):
        classifier = MorphologyClassifier(encoder=encoder, verbose=0)
        session = start(blobs, path, classifier=classifier)
        np.testing.assert_allclose(
            session.features, encoder.adapt(blobs).transform(blobs), rtol=1e-5
        )
        assert session.counts == {'edge_on': 12, 'round': 12}
        assert session.row is None

    def test_a_random_encoder_is_refused(self, blobs, path):
        classifier = MorphologyClassifier(encoder='random')
        with pytest.raises(ValueError, match="encoder='random' can't find"):
            start(blobs, path, classifier=classifier)

    def test_a_file_that_cannot_be_written_is_known_first(self, blobs, tmp_path):
        with pytest.raises(ValueError, match=r"'labels\.doc' must end in"):
            label(blobs, tmp_path / 'labels.doc')

    def test_a_port_in_use_is_known_first(self, blobs, path):
        with socket.create_server(('127.0.0.1', 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(ValueError, match=f'port={port} cannot be used .*; choose another'):
                label(blobs, path, port=port, show=False)
        assert not path.exists()
