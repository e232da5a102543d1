# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read what the bundled encoders learn from: pictures of many surveys, and what people said."""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table

sys.path.append(str(Path(__file__).parents[1] / 'benchmarks'))

from skies import TASKS, is_held_back, read_pictures

# Views show the central 64 pixels of pictures like those of SDSS; drawn from 96 pixels, they have
# no corner without sky.
IMAGE_SIZE = 96


class PictureSet(NamedTuple):
    """A table of pictures: side of the part that is read, and how often a pass shows each."""

    table: str
    field: int | None = None
    repeats: int = 1


# Small surveys are shown more often: otherwise nine of ten pictures would be of SDSS or JWST.
SETS = (
    PictureSet('galaxies/pool', field=96),
    PictureSet('galaxies/gz1', field=96),
    PictureSet('galaxies/gz2_votes', field=96),
    PictureSet('skies/sdss_pool2', field=96),
    PictureSet('skies/ceers_f200w', repeats=4),
    PictureSet('skies/first_radio', repeats=4),
    PictureSet('galaxies/rings', repeats=12),
    PictureSet('skies/galaxy10_decals', repeats=12),
    PictureSet('skies/legacy_ttype', repeats=12),
    PictureSet('skies/cfhtls_lens', repeats=12),
    PictureSet('skies/gz_examples', repeats=12),
)

# Surveys by a part of the name that tables give them; the pictures of a table without that column
# are of SDSS, but for those of rings.
SURVEYS = (
    'SDSS',
    'DECaLS',
    'Legacy',
    'JWST',
    'FIRST',
    'CFHTLS',
    'KiDS',
    'UKIDSS',
    'GOODS',
    'CANDELS',
)
DECALS = SURVEYS.index('DECaLS')


class Pictures(NamedTuple):
    """Pictures: images (n, 3, y, x), files as ``table/image``, and numbers of their surveys."""

    images: np.ndarray
    files: np.ndarray
    surveys: np.ndarray

    def of_rows(self, rows):
        return Pictures(*(array[rows] for array in self))


def read_all(folder, *, exclude=()):
    """Read the pictures of all sets, without those whose file name is in ``exclude``."""
    parts = []
    for table, field, repeats in SETS:
        rows = Table.read(folder / f'{table}.csv')
        rows = rows[~np.isin(rows['image'], exclude)]
        names = np.array(rows['image']).astype(str)
        images = read_pictures(folder, table, names, field=field, size=IMAGE_SIZE)
        files = np.array([f'{table}/{name}' for name in names])
        part = images, files, _surveys_of(table, rows)
        parts.append([np.tile(array, (repeats, *[1] * (array.ndim - 1))) for array in part])
    return Pictures(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _surveys_of(table, rows):
    if 'survey' not in rows.colnames:
        return np.full(len(rows), DECALS if table.endswith('rings') else 0)
    numbers = np.array(
        [next(i for i, part in enumerate(SURVEYS) if part in name) for name in rows['survey']]
    )
    return np.where(numbers == SURVEYS.index('Legacy'), DECALS, numbers)


class Question(NamedTuple):
    """What people answered: files of pictures, and fractions of the answers, (n, n_answers)."""

    files: list
    fractions: np.ndarray


def read_answers(folder, files):
    """
    Read the classes and votes of pictures.

    Pictures that are held back (`skies.is_held_back`) have no answers.

    Parameters
    ----------
    folder : path-like
        The folder of the folders galaxies and skies.
    files : ndarray of str, shape (n,)
        Files of the pictures, as `read_all` returns them.

    Returns
    -------
    fractions : ndarray of float32, shape (n, n_answers)
        Fraction of the votes for each answer, 0 where a question was not asked.
    n_answers : list of int
        Number of answers of each question.
    """
    questions = [*_classes(folder), *_kaggle_votes(folder), *_jwst_votes(folder)]
    n_answers = [question.fractions.shape[1] for question in questions]
    columns = np.concatenate([[0], np.cumsum(n_answers)])
    fractions = np.zeros((len(files), columns[-1]), np.float32)
    for number, question in enumerate(questions):
        known = dict(zip(question.files, question.fractions, strict=True))
        rows = [row for row, file in enumerate(files) if file in known]
        part = slice(columns[number], columns[number + 1])
        fractions[rows, part] = [known[files[row]] for row in rows]
    fractions[is_held_back(files)] = 0
    return fractions, n_answers


def _classes(folder):
    """Yield the classes of SDSS, and the tasks of the benchmark of other tables."""
    labelled = Table.read(folder / 'skies/sdss_pool2.csv')
    more = Table.read(folder / 'skies/pool_labels.csv')
    files = [f'skies/sdss_pool2/{name}' for name in labelled['image']]
    files += [f'galaxies/pool/pool/kaggle/{number}.jpg' for number in more['galaxy_id']]
    yield _one_vote(files, np.array([*labelled['morphology'], *more['morphology']]).astype(str))
    others = {table for table, *_ in SETS} - {'skies/sdss_pool2'}
    for task in (make(folder) for make in TASKS):
        if getattr(task, 'table', None) in others:
            yield _one_vote([f'{task.table}/{name}' for name in task.pictures], task.labels)


def _one_vote(files, labels):
    return Question(files, (labels[:, None] == np.unique(labels)).astype(float))


def _kaggle_votes(folder):
    """Yield the questions of the Galaxy Zoo challenge, whose votes are fractions of all people."""
    votes = Table.read(folder / 'skies/kaggle_votes.csv')
    ids = votes['GalaxyID'].astype(str)
    files = [f'skies/sdss_pool2/kaggle/{number}.jpg' for number in ids]
    files += [f'galaxies/pool/pool/kaggle/{number}.jpg' for number in ids]
    for question in ('Class1', 'Class2', 'Class6', 'Class7', 'Class8'):
        answers = [name for name in votes.colnames if name.startswith(f'{question}.')]
        fractions = np.array([votes[name] for name in answers]).T
        yield Question(files, np.tile(fractions, (2, 1)))


def _jwst_votes(folder):
    """Yield the questions of Galaxy Zoo CEERS, as fractions of the people asked first."""
    votes = Table.read(folder / 'skies/ceers_f200w.csv')
    answers = [name for name in votes.colnames if '__' in name]
    questions = dict.fromkeys(name.split('_')[0] for name in answers)
    counts = {
        question: np.array(
            [np.ma.filled(votes[name], 0) for name in answers if name.startswith(f'{question}_')],
            float,
        ).T
        for question in questions
    }
    n_people = np.maximum(counts['t0'].sum(axis=1, keepdims=True), 1)
    files = [f'skies/ceers_f200w/{name}' for name in votes['image']]
    for of_question in counts.values():
        yield Question(files, of_question / n_people)
