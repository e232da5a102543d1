# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of catalogues without any image: each row gets its status, whatever the model asks for."""

import numpy as np
import pytest
from astropy.table import Table

from astro_morph import MorphologyClassifier, OnnxClassifier
from astro_morph.cutouts import FirstOf, Hips2Fits, ImageFiles, Mosaics, as_pictures
from astro_morph.photometry import Preprocessor, measure
from astro_morph.simulation import SimulatedSurvey, serve

pytestmark = pytest.mark.filterwarnings('ignore:X. none of')

FAR = Table(
    {'ra': [10.0, 11.0, np.nan], 'dec': [-60.0, -61.0, 3.0], 'path': ['a.jpg', '', 'c.npy']}
)

STATUS = {
    'files': ['not_found', 'no_path', 'not_found'],
    None: ['no_coverage', 'no_coverage', 'no_coordinates'],
}


@pytest.fixture(scope='module')
def sources(tmp_path_factory):
    """Sources that have other bands than the models, or another kind of images."""
    folder = tmp_path_factory.mktemp('sky')
    five = SimulatedSurvey(n_galaxies=2, bands='ugriz')
    five.write(folder)
    mosaics = Mosaics(folder / 'sdss-{band}.fits')
    with serve(five) as server:
        address = f'{server.url}/hips-image-services/hips2fits'
        yield {
            'simulated': five,
            'mosaics': mosaics,
            'files': ImageFiles('path', folder=folder),
            'service': Hips2Fits('sdss', server=address, cache=False),
            'pictures': Hips2Fits('sdss', bands='rgb', server=address, cache=False),
            'in turn': FirstOf(mosaics, five),
        }


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    survey = SimulatedSurvey(n_galaxies=16, kinds=['spiral', 'edge_on'])
    flux = survey.fetch(survey.catalogue, size=24)
    models = {}
    for kind, cutouts in {'flux': flux, 'picture': as_pictures(flux)}.items():
        model = MorphologyClassifier(strategy='linear', verbose=0, random_state=0).fit(cutouts)
        path = tmp_path_factory.mktemp('models') / 'model.onnx'
        model.to_onnx(path)
        models[kind, 'torch'], models[kind, 'onnx'] = model, OnnxClassifier(path)
        models[kind, 'onnx'].verbose = 0
    return models


@pytest.mark.parametrize(
    ('name', 'kind', 'backend'),
    [
        ('simulated', 'flux', 'torch'),
        ('simulated', 'picture', 'onnx'),
        ('mosaics', 'flux', 'onnx'),
        ('mosaics', 'picture', 'torch'),
        ('files', 'flux', 'torch'),
        ('files', 'picture', 'onnx'),
        ('service', 'flux', 'onnx'),
        ('pictures', 'flux', 'torch'),
        ('pictures', 'picture', 'onnx'),
        ('in turn', 'picture', 'torch'),
    ],
)
def test_every_row_has_its_status(sources, models, tmp_path, name, kind, backend):
    model = models[kind, backend]
    model.source = sources[name]
    table = FAR if name == 'files' else FAR['ra', 'dec']
    expected = STATUS['files' if name == 'files' else None]
    annotated = model.annotate(table)
    assert annotated['morph_status'].tolist() == expected
    assert annotated['morph_class'].mask.all()
    assert np.ma.getmaskarray(model.predict(table)).all()
    assert np.isnan(model.predict_proba(table)).all()
    assert not model.predict_set(table).any()
    assert len(model.query(table, 2)) == 0
    table.write(tmp_path / 'in.fits')
    counts = model.annotate_file(tmp_path / 'in.fits', tmp_path / 'out.fits')
    assert counts == {status: expected.count(status) for status in expected}
    if kind == 'flux' and name != 'pictures':
        measured = model.annotate(table, measures=True)
        assert measured['morph_gini'].mask.all()


@pytest.mark.parametrize('name', ['simulated', 'mosaics', 'files', 'service', 'in turn'])
def test_measures_and_clean_up_need_no_image(sources, name):
    table = FAR if name == 'files' else FAR['ra', 'dec']
    cutouts = sources[name].fetch(table, size=24)
    expected = STATUS['files' if name == 'files' else None]
    assert measure(cutouts)['measure_status'].tolist() == expected
    assert Preprocessor().transform(cutouts).status.tolist() == expected
