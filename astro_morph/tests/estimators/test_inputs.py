# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What a function is given is not its own: images and tables are never changed in place."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from astropy.table import MaskedColumn

from astro_morph import (
    CutoutSet,
    MorphologyClassifier,
    MorphologyEncoder,
    OnnxClassifier,
    catalog,
    plotting,
)
from astro_morph.catalog.io import tables as table_io
from astro_morph.cutouts import FirstOf, ImageColumns, ImageFiles, Mosaics, as_cutouts
from astro_morph.evaluation import evaluate
from astro_morph.learning.training.conditions import RandomConditions
from astro_morph.learning.training.views import RandomViews
from astro_morph.models import calibration
from astro_morph.models.networks import square_views
from astro_morph.models.novelty import fit_novelty
from astro_morph.photometry import Preprocessor, defects, measure, segmentation, sky, structure
from astro_morph.prediction import predict as prediction
from astro_morph.simulation import SimulatedSurvey
from astro_morph.tests.helpers import make_blobs

FRAMED = Preprocessor(neighbours='all', recentre=5, rotate=True, scale='kron', psf_fwhm=[1.2, 1.0])
LINEAR = {'encoder': 'random', 'strategy': 'linear', 'device': 'cpu', 'verbose': 0}
NOISE = np.full((12, 2), 0.05, np.float32)

# Of one image.
CENTRE, RADIUS = (15.5, 15.5), 8.0


def write_predictions(given):
    return catalog.write_predictions(
        given.table,
        classes=['a', 'b'],
        probabilities=given.probabilities,
        status=given.cutouts.status,
        flags=given.cutouts.flags,
        provenance={'MORPHVER': '1'},
    )


CALLS = {
    'as_table': lambda given: catalog.as_table(given.table),
    'read_positions': lambda given: catalog.read_positions(given.table),
    'read_labels': lambda given: catalog.read_labels(given.table, 'morphology'),
    'read_sizes': lambda given: catalog.read_sizes(given.table, 'radius'),
    'write_predictions': write_predictions,
    'write_table': lambda given: table_io.write_table(given.table, given.folder / 'table.vot'),
    'CutoutSet': lambda given: CutoutSet(given.images, table=given.table),
    'CutoutSet.write': lambda given: given.cutouts.write(given.folder / 'cutouts.hdf5'),
    'as_cutouts': lambda given: as_cutouts(given.images),
    'FirstOf.fetch': lambda given: FirstOf(given.survey, given.survey).fetch(given.table, size=32),
    'ImageColumns.fetch': lambda given: ImageColumns(['image']).fetch(given.table),
    'ImageFiles.fetch': lambda given: ImageFiles('path')._fetch_quietly(given.table),
    'Mosaics.fetch': lambda given: Mosaics(given.survey.write(given.folder)).fetch(given.table),
    'SimulatedSurvey': lambda given: SimulatedSurvey(catalogue=given.table).flux,
    'SimulatedSurvey.fetch': lambda given: given.survey.fetch(given.table),
    'Preprocessor': lambda given: Preprocessor().fit_transform(given.cutouts),
    'Preprocessor, frame': lambda given: FRAMED.transform(given.cutouts),
    'Preprocessor, pictures': lambda given: FRAMED.transform(given.cutouts.replace(kind='picture')),
    'Preprocessor.segment': lambda given: Preprocessor().segment(given.cutouts),
    'find_missing': lambda given: defects.find_missing(given.images),
    'find_cosmic_rays': lambda given: defects.find_cosmic_rays(given.images, NOISE),
    'find_saturated': lambda given: defects.find_saturated(given.images, given.images > 1),
    'fill_small_holes': lambda given: defects.fill_small_holes(given.images, given.mask),
    'measure_sky': lambda given: sky.measure_sky(given.images),
    'border_noise': lambda given: sky.border_noise(given.images),
    'segment': lambda given: segmentation.segment(given.images, NOISE),
    'signal_to_noise': lambda given: segmentation.signal_to_noise(given.images, NOISE),
    'smooth': lambda given: segmentation.smooth(given.images[:, 0]),
    'detect': lambda given: segmentation.detect(given.images[:, 0]),
    'grow': lambda given: segmentation.grow(given.mask[:, 0], 2),
    'measure': lambda given: measure(given.cutouts),
    'petrosian_radius': lambda given: structure.petrosian_radius(given.image, CENTRE),
    'light_inside': lambda given: structure.light_inside(given.image, CENTRE, RADIUS),
    'concentration': lambda given: structure.concentration(given.image, CENTRE, RADIUS),
    'asymmetry': lambda given: structure.asymmetry(given.image, CENTRE, RADIUS, sky=given.image),
    'm20': lambda given: structure.m20(given.image, given.mask[1, 1]),
    'smoothness': lambda given: structure.smoothness(given.image, CENTRE, RADIUS, sky=given.image),
    'galaxy_region': lambda given: structure.galaxy_region(given.image, CENTRE, RADIUS),
    'square_views': lambda given: square_views(torch.from_numpy(given.images)),
    'RandomViews': lambda given: RandomViews(32, grey=0.5, noise=0.1, band_gain=0.1)(
        torch.from_numpy(given.images), torch.Generator().manual_seed(0)
    ),
    'RandomConditions': lambda given: RandomConditions.of('gr')(
        torch.from_numpy(given.images), torch.Generator().manual_seed(0)
    ),
    'fit_temperature': lambda given: calibration.fit_temperature(
        given.probabilities, np.resize([0, 1], 12)
    ),
    'prediction_sets': lambda given: calibration.prediction_sets(
        given.probabilities, given.probabilities[:, 0]
    ),
    'fit_novelty': lambda given: fit_novelty(given.images[:, 0, 8], random_state=0),
    'plotting.feature_map': lambda given: plotting.feature_map(given.images[:, 0, 8]),
    'plotting.rgb': lambda given: plotting.rgb(given.images),
    'plotting.cutouts': lambda given: plotting.cutouts(given.cutouts),
    'plotting.augmentations': lambda given: plotting.augmentations(given.cutouts),
    'plotting.preprocessing': lambda given: plotting.preprocessing(given.cutouts),
    'MorphologyClassifier.fit': lambda given: MorphologyClassifier(**LINEAR).fit(given.cutouts),
    'fine-tune': lambda given: MorphologyClassifier(
        **LINEAR | {'strategy': 'fine-tune'}, epochs=1
    ).fit(given.cutouts),
    'fit, labels': lambda given: MorphologyClassifier(**LINEAR).fit(given.images, given.labels),
    'predict': lambda given: given.classifier.predict(given.cutouts),
    'predict_proba': lambda given: given.classifier.predict_proba(given.images),
    'predict_set': lambda given: given.classifier.predict_set(given.cutouts, coverage=0.8),
    'query': lambda given: given.classifier.query(given.images, 3),
    'suspect_labels': lambda given: MorphologyClassifier(**LINEAR).suspect_labels(given.cutouts),
    'adapt': lambda given: given.classifier.adapt(given.cutouts),
    'score': lambda given: given.classifier.score(given.images, given.labels),
    'annotate': lambda given: given.classifier.annotate(given.cutouts, measures=True),
    'annotate, table': lambda given: given.classifier.annotate(given.table),
    'evaluate': lambda given: evaluate(given.classifier, given.cutouts),
    'prepare': lambda given: prediction.prepare(given.classifier.model_.spec, given.cutouts),
    'MorphologyEncoder.fit': lambda given: MorphologyEncoder(epochs=1, verbose=0).fit(
        given.cutouts
    ),
    'MorphologyEncoder.transform': lambda given: given.encoder.transform(given.cutouts),
    'MorphologyEncoder.neighbors': lambda given: given.encoder.neighbors(given.images, 2),
    'OnnxClassifier.annotate': lambda given: OnnxClassifier(given.model).annotate(given.cutouts),
}


@pytest.fixture(scope='module')
def survey():
    return SimulatedSurvey(n_galaxies=12, bands='gr')


@pytest.fixture(scope='module')
def fitted(survey):
    """Models of cutouts of 32 pixels, and the file of one."""
    blobs = make_blobs(12, size=32)
    classifier = MorphologyClassifier(survey, **LINEAR).fit(blobs)
    return classifier, MorphologyEncoder(epochs=1, verbose=0).fit(blobs)


@pytest.fixture(scope='module')
def model(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp('model') / 'model.onnx'
    fitted[0].to_onnx(path)
    return path


@pytest.fixture
def given(survey, fitted, model, tmp_path):
    """Images with defects, a table with holes, and what else a call needs."""
    cutouts = make_blobs(12, size=32)
    images = cutouts.images.copy()
    images[1, 0, 3:6, 3:6] = np.nan
    images[2, 1, 8, 9] = 40
    images[3, :, 25:30, 3:8] += 2
    status, flags = cutouts.status.copy(), np.arange(12, dtype=np.int32)
    status[4] = 'truncated'
    table = survey.catalogue['ra', 'dec', 'half_light_radius'].copy()
    table['morphology'] = MaskedColumn(np.resize(['round', 'edge_on'], 12))
    table['path'] = 'nowhere.fits'
    table.rename_column('half_light_radius', 'radius')
    table['image'] = images[:, 0]
    table.meta['SURVEY'] = {'name': 'simulated'}
    return SimpleNamespace(
        cutouts=cutouts.replace(images=images, status=status, flags=flags, table=table),
        images=images,
        image=images[0, 0].astype(float),
        mask=np.isnan(images) | (images > 1),
        table=table,
        labels=np.array(table['morphology']),
        probabilities=np.full((12, 2), 0.5),
        classifier=fitted[0],
        encoder=fitted[1],
        model=model,
        survey=survey,
        folder=tmp_path,
    )


def arrays(given):
    """Give all arrays that a call could change, by name."""
    cutouts, table = given.cutouts, given.table
    return {
        'images': given.images,
        'cutouts': cutouts.images,
        'status': cutouts.status,
        'flags': cutouts.flags,
        'image': given.image,
        'mask': given.mask,
        'labels': given.labels,
        'probabilities': given.probabilities,
        'bad labels': table['morphology'].mask,
        **{name: np.asarray(table[name]) for name in table.colnames},
        'columns': np.array(table.colnames),
        'meta': np.array(repr(table.meta)),
        'units': np.array(
            [str(column.unit) for column in table['ra', 'dec', 'radius'].columns.values()]
        ),
    }


@pytest.mark.parametrize('call', CALLS.values(), ids=CALLS)
def test_inputs_are_never_changed_in_place(call, given):
    before = {name: array.copy() for name, array in arrays(given).items()}
    call(given)
    after = arrays(given)
    assert after.keys() == before.keys()
    for name, array in after.items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
