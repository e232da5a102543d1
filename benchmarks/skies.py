# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Read questions about the galaxies of several surveys, with pictures and the answers of people.

FOLDER has the folders ``galaxies`` and ``skies`` with the tables and pictures. A third of each
task, chosen by the name of the picture, is held back: no encoder has learnt its labels.
"""

import io
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from PIL import Image

from astro_morph.cutouts import as_pictures
from astro_morph.simulation import SimulatedSurvey

__all__ = ['FIVE_CLASSES', 'TASKS', 'Task', 'is_held_back', 'is_tested', 'read_pictures']

# Galaxies of the simulated survey, which is like none of the pictures.
N_SIMULATED = 450

CLEAN_CLASSES = ('round', 'in_between', 'spiral', 'edge_on', 'cigar')


class Task(NamedTuple):
    """A question about the galaxies of a survey: pictures by name, and a label of each."""

    name: str
    is_home: bool  # whether the survey is that of the first pretraining, SDSS
    table: str
    pictures: np.ndarray  # names of the pictures
    labels: np.ndarray  # of str
    field: int | None  # side of the part that shows a galaxy, in pixels; None for all

    def images(self, folder, rows, *, size=64):
        """Return the pictures of some rows, uint8 of shape (n, 3, size, size)."""
        return read_pictures(folder, self.table, self.pictures[rows], field=self.field, size=size)


class SimulatedTask(NamedTuple):
    """Simulated galaxies with the pixels, seeing and noise of the Legacy Surveys, as pictures."""

    name: str
    is_home: bool
    pictures: np.ndarray
    labels: np.ndarray
    survey: SimulatedSurvey

    def images(self, folder, rows, *, size=64):
        cutouts = self.survey.fetch(self.survey.catalogue[rows], size=size)
        return as_pictures(cutouts).images.astype(np.uint8)


def is_held_back(names):
    """Choose a third of the pictures by their names: these are held back."""
    return np.array([_number(name) % 3 == 0 for name in names])


def is_tested(names):
    """Choose two fifths of those held back: no bundled classifier has learnt them either."""
    return is_held_back(names) & np.array([_number(name) // 3 % 5 < 2 for name in names])


def _number(name):
    return zlib.crc32(Path(name).stem.encode())


def read_pictures(folder, table, names, *, field=None, size=64):
    """
    Read the central parts of pictures.

    Parameters
    ----------
    folder : path-like
        The folder of the folders galaxies and skies.
    table : str
        Path of the table in it, without ``.csv``; pictures of ``skies`` are in a zip file beside
        it.
    names : sequence of str
        Names of the pictures, column ``image`` of the table.
    field : int, default=None
        Side of the central part in pixels of the file; the largest square if None.
    size : int, default=64
        Side to which this part is resampled.

    Returns
    -------
    images : ndarray of uint8, shape (n, 3, size, size)
        The images, whose first row is the lowest.
    """
    if table.startswith('galaxies'):
        return np.array([_central(folder / 'galaxies' / name, field, size) for name in names])
    with zipfile.ZipFile(folder / f'{table}.zip') as files:
        return np.array([_central(io.BytesIO(files.read(name)), field, size) for name in names])


def _central(file, field, size):
    with Image.open(file) as picture:
        side = min(field or min(picture.size), *picture.size)
        left, top = ((length - side) // 2 for length in picture.size)
        picture = picture.convert('RGB').crop((left, top, left + side, top + side))
        if side != size:
            picture = picture.resize((size, size), Image.Resampling.LANCZOS)
        return np.asarray(picture)[::-1].transpose(2, 0, 1)


def _task(name, table, question, folder, *, is_home=False, field=None):
    """Build the task of a table; the question turns it into labels, '' where there is none."""
    rows = Table.read(folder / f'{table}.csv')
    labels = np.array(np.ma.filled(np.ma.asarray(question(rows)), '')).astype(str)
    is_labelled = labels != ''
    pictures = np.array(rows['image'][is_labelled]).astype(str)
    return Task(name, is_home, table, pictures, labels[is_labelled], field)


def _simulated(folder):
    survey = SimulatedSurvey(
        'legacy', n_galaxies=N_SIMULATED, random_state=0, bands=['g', 'r', 'z']
    )
    names = np.array([f'simulated-{row}' for row in range(N_SIMULATED)])
    labels = np.array(survey.catalogue['morphology']).astype(str)
    return SimulatedTask('simulated Legacy Surveys', False, names, labels, survey)


# Questions: they turn a table into labels.


def _column(name):
    return lambda table: table[name].astype(str)


def _clean_class(table):
    return np.where(np.isin(table['morphology'], CLEAN_CLASSES), table['morphology'], '')


def _volunteers_agree(table):
    answers = ('smooth', 'features_or_disk')
    votes = [np.ma.filled(table[f't0_smooth_or_featured__{answer}'], 0) for answer in answers]
    smooth = votes[0] / np.maximum(votes[0] + votes[1], 1)
    is_asked = votes[0] + votes[1] >= 8
    return np.select(
        [is_asked & (smooth > 0.7), is_asked & (smooth < 0.3)], ['smooth', 'featured'], ''
    )


def _example(table):
    is_asked = np.char.startswith(np.array(table['question']).astype(str), 'Is the galaxy')
    names = {'Smooth': 'smooth', 'Features or disk': 'featured', 'Features': 'featured'}
    labels = [names.get(str(label), '') for label in table['label']]
    return np.where(is_asked, labels, '')


def _lens(table):
    grade = np.asarray(table['label'], float)
    return np.select([grade > 1.8, grade < 1.2], ['lens', 'none'], '')


def _early_or_late(table):
    return np.where(np.asarray(table['label'], float) <= 0, 'early', 'late')


#: Clean classes of Galaxy Zoo 2; a function that takes the folder and returns the task.
FIVE_CLASSES = partial(
    _task, 'SDSS, five classes', 'skies/sdss_pool2', _clean_class, is_home=True, field=64
)

#: Functions that take the folder and return a task. Pictures are shown at the scale that shows a
#: galaxy as large as in those of SDSS.
TASKS = (
    partial(
        _task,
        'SDSS, four classes',
        'galaxies/kaggle4',
        _column('morphology'),
        is_home=True,
        field=64,
    ),
    partial(
        _task, 'SDSS, Galaxy Zoo 1', 'galaxies/gz1', _column('morphology'), is_home=True, field=64
    ),
    FIVE_CLASSES,
    partial(_task, 'DECaLS, rings', 'galaxies/rings', _column('ring'), field=64),
    partial(_task, 'DECaLS, Galaxy10', 'skies/galaxy10_decals', _column('label')),
    partial(_task, 'Legacy Surveys, early or late', 'skies/legacy_ttype', _early_or_late),
    partial(_task, 'JWST, seven classes', 'skies/ceers_f200w', _column('morphology'), field=64),
    partial(_task, 'JWST, smooth or featured', 'skies/ceers_f200w', _volunteers_agree, field=64),
    partial(_task, 'five surveys, smooth or featured', 'skies/gz_examples', _example),
    partial(_task, 'CFHTLS, lens or not', 'skies/cfhtls_lens', _lens, field=64),
    partial(_task, 'FIRST, radio morphology', 'skies/first_radio', _column('label'), field=64),
    _simulated,
)
