# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The demo, on a sky of few galaxies."""

import numpy as np
import pytest
from astropy.table import Table

from astro_morph import OnnxClassifier
from astro_morph.catalog.io.tables import read_table
from astro_morph.cli import demo
from astro_morph.cutouts import Mosaics


@pytest.fixture(scope='module')
def small_demo(tmp_path_factory):
    """Run the demo once; give its folder and what it gave back."""
    folder = tmp_path_factory.mktemp('demo') / 'new' / 'folder'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, 'N_GALAXIES', 40)
        patch.setattr(demo, 'N_LABELLED', 25)
        patch.setattr(demo, 'N_SHOWN', 4)
        return folder, demo.run(folder, random_state=1, verbose=0)


def test_demo_writes_what_it_says(small_demo):
    folder, _ = small_demo
    assert {path.name for path in folder.iterdir()} == {
        'annotated.ecsv',
        'demo.png',
        'morphology.onnx',
        'sdss-g.fits',
        'sdss-i.fits',
        'sdss-r.fits',
    }


def test_demo_annotates_every_galaxy_and_shows_only_some_labels(small_demo):
    folder, _ = small_demo
    annotated = read_table(folder / 'annotated.ecsv')
    assert len(annotated) == 40
    assert np.sum(~annotated['morphology'].mask) == 25
    assert set(annotated['morph_status']) == {'ok'}


def test_demo_is_evaluated_on_the_galaxies_without_a_label(small_demo):
    folder, evaluation = small_demo
    annotated = read_table(folder / 'annotated.ecsv')
    hidden = annotated['morphology'].mask
    assert len(evaluation.true) == 15
    # What the file holds is what was evaluated.
    assert evaluation.predicted.tolist() == annotated['morph_class'][hidden].tolist()
    # A guess is right in one of five.
    assert evaluation.accuracy > 0.4


def test_files_of_the_demo_are_enough_to_go_on(small_demo):
    folder, _ = small_demo
    annotated = read_table(folder / 'annotated.ecsv')
    source = Mosaics(folder / 'sdss-{band}.fits')
    classes = OnnxClassifier(folder / 'morphology.onnx', source).predict(annotated[:3])
    assert classes.tolist() == annotated['morph_class'][:3].tolist()


def test_labels_are_hidden_in_a_copy():
    truth = Table({'ra': np.arange(9.0), 'dec': np.zeros(9), 'morphology': ['spiral'] * 9})
    catalogue, is_labelled = demo.hide_labels(truth, 4, random_state=0)
    assert is_labelled.sum() == 4
    np.testing.assert_array_equal(catalogue['morphology'].mask, ~is_labelled)
    assert (truth['morphology'] == 'spiral').all()
    assert not np.array_equal(demo.hide_labels(truth, 4, random_state=1)[1], is_labelled)
