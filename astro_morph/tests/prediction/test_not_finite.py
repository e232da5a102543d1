# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Answers that are no numbers have a status and no class, in memory and in files."""

import numpy as np
import pytest
from astropy.table import Table

from astro_morph import CutoutSet
from astro_morph.catalog.io.tables import read_table
from astro_morph.models.spec import ModelSpec
from astro_morph.prediction.annotate import annotate
from astro_morph.prediction.predict import predict
from astro_morph.prediction.streaming import annotate_file

pytest.importorskip('h5py')

TREE = {'bar': {'answers': {'yes': 'n_yes', 'no': 'n_no'}}}
IMAGES = {'bands': ('g', 'r'), 'size': 20, 'views': 1}
SPECS = {
    'classes': ModelSpec(classes=('a', 'b'), **IMAGES),
    'votes': ModelSpec(classes=('bar_yes', 'bar_no'), tree=TREE, **IMAGES),
}
STATUS = ['ok', 'not_finite', 'no_coverage', 'ok']


class Broken:
    """A model that returns one odd number for bright images, in one of its outputs."""

    n_features = 3

    def __init__(self, spec, output, odd):
        self.spec, self._output, self._odd = spec, output, odd

    def run(self, samples):
        n = len(samples)
        outputs = [np.full((n, 2), 0.5, 'f4'), np.ones((n, 3), 'f4'), np.full(n, 0.5, 'f4')]
        outputs[self._output].reshape(n, -1)[samples[:, 0, 0, 0] > 1, -1] = self._odd
        return outputs


@pytest.fixture
def cutouts():
    images = np.random.default_rng(0).normal(scale=0.1, size=(4, 2, 20, 20))
    images[1] += 10
    status = ['ok', 'ok', 'no_coverage', 'ok']
    return CutoutSet(images, bands='gr', status=status, table=Table({'id': range(4)}))


@pytest.mark.parametrize('odd', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('output', [0, 1], ids=['logits', 'features'])
@pytest.mark.parametrize('kind', SPECS)
def test_is_a_status_in_memory_and_in_files(cutouts, tmp_path, kind, output, odd):
    model = Broken(SPECS[kind], output, odd)
    assert predict(model, cutouts).status.tolist() == STATUS
    cutouts.write(tmp_path / 'cutouts.h5')
    counts = annotate_file(model, tmp_path / 'cutouts.h5', tmp_path / 'a.fits', verbose=False)
    assert counts == {'ok': 2, 'not_finite': 1, 'no_coverage': 1}
    for table in (annotate(model, cutouts), read_table(tmp_path / 'a.fits')):
        assert table['morph_status'].tolist() == STATUS
        for name in {'morph_class', 'morph_p_a', 'morph_bar_yes_std'} & set(table.colnames):
            assert table[name].mask.tolist() == [False, True, True, False]


@pytest.mark.parametrize('odd', [np.nan, np.inf])
def test_novelty_alone_may_be_unknown(cutouts, odd):
    table = annotate(Broken(SPECS['classes'], 2, odd), cutouts)
    assert table['morph_status'].tolist() == ['ok', 'ok', 'no_coverage', 'ok']
    assert table['morph_novelty'].mask.tolist() == [False, True, True, False]
