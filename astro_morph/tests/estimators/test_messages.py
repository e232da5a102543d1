# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What the messages say that users meet most, and that the page of messages lists them."""

import re
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import astropy.units as u
import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from onnx import helper

from astro_morph import (
    CutoutSet,
    MorphologyClassifier,
    MorphologyEncoder,
    MorphologyRegressor,
    OnnxClassifier,
    plotting,
    surveys,
)
from astro_morph.catalog import flags, read_labels, read_positions, read_sizes
from astro_morph.catalog.io.tables import read_table, write_table
from astro_morph.cutouts import (
    Hips2Fits,
    ImageColumns,
    ImageFiles,
    LegacyCutouts,
    Mosaics,
    as_cutouts,
)
from astro_morph.cutouts.storage import check_catalog
from astro_morph.evaluation import evaluate
from astro_morph.images import errors
from astro_morph.photometry import measures
from astro_morph.prediction.framing import fetch_framed
from astro_morph.simulation import SimulatedSurvey
from astro_morph.tests.helpers import make_blobs
from astro_morph.tests.models.test_hostile_onnx import write as write_onnx

PAGE = Path(__file__).parents[3] / 'docs' / 'messages.rst'

PLACES = Table({'ra': [10.0], 'dec': [20.0]})

# What goes wrong by name: the call, and what its message names, tells that it got, and advises.
CALLS = {
    'no position': (
        lambda given: read_positions(Table({'a': [1.0]})),
        ['no position', "['a']", 'name the columns to use'],
    ),
    'position in metres': (
        lambda given: read_positions(Table({'ra': [1.0] * u.m, 'dec': [2.0]})),
        ["'ra'", "'m'", 'set the unit'],
    ),
    'no such column of labels': (
        lambda given: read_labels(PLACES, 'type'),
        ['label_column', "'type'", 'name one of them'],
    ),
    'nowhere to take images from': (
        lambda given: as_cutouts(PLACES),
        ["source='auto'", "['ra', 'dec']", 'pass source='],
    ),
    'unknown source': (
        lambda given: as_cutouts(PLACES, source='nonsense'),
        ['source', "'nonsense'", "'legacy-dr10'"],
    ),
    'unknown survey': (
        lambda given: surveys.get('nonsense'),
        ['survey', "'nonsense'", "'legacy-dr10'"],
    ),
    'survey of an odd scale': (
        lambda given: surveys.read(given.survey(pixel_scale="'big'")),
        ['pixel_scale', "'big'", 'expected a number of arcsec'],
    ),
    'survey of no bands': (
        lambda given: surveys.read(given.survey(bands=None)),
        ['own.toml', "['bands']", 'add them'],
    ),
    'survey with a key too much': (
        lambda given: surveys.read(given.survey(scale='0.2')),
        ['own.toml', "['scale']", "'pixel_scale'", 'rename or remove'],
    ),
    'survey of no service': (
        lambda given: as_cutouts(PLACES, source=given.survey(service="'Archive'")),
        ['service', "'Archive'", "'Hips2Fits'", 'pass its source'],
    ),
    'no mosaic': (
        lambda given: Mosaics(given.folder / 'none-*.fits'),
        ['paths', 'none-*.fits', 'check folder and pattern'],
    ),
    'two images of one sky': (
        lambda given: Mosaics(given.folder / 'same-*.fits', bands='r'),
        ['paths', 'same-1.fits', 'same-2.fits', 'make the pattern match'],
    ),
    'two extensions of one sky': (
        lambda given: Mosaics(given.folder / 'pair.fits', bands='r'),
        ['pair.fits', "'r'", 'name another with hdu='],
    ),
    'two extensions of an image file': (
        lambda given: ImageFiles('path').fetch(Table({'path': [given.folder / 'pair.fits']})),
        ['0 PRIMARY', '1 MORE', 'name another after the path'],
    ),
    'no column of paths': (
        lambda given: ImageFiles('file').fetch(PLACES),
        ["'file'", "['ra', 'dec']", 'name the column of paths'],
    ),
    'size that is none': (
        lambda given: as_cutouts(PLACES, source='sdss-dr9', size='* 4'),
        ['size', "'* 4'", "as in '4 * petroR90_r'"],
    ),
    'size in pixels': (
        lambda given: read_sizes(Table({'a': [1.0] * u.pix}), 'a'),
        ['size', "'a'", "'pix'", 'multiply by a unit'],
    ),
    'units that do not fit': (
        lambda given: read_sizes(Table({'a': [1.0] * u.pix, 'b': [1.0] * u.deg}), 'a + b'),
        ['size', "'a + b'", 'set the units'],
    ),
    'no column of sizes': (
        lambda given: fetch_framed(
            Table({'ra': [10.0], 'dec': [20.0], 'mag': [17.0]}),
            source='sdss-dr9',
            size='3.28 * petroR90_r',
        ),
        ['X', "'petroR90_r'", "['ra', 'dec', 'mag']", 'name a column', "size='3.28 * my_r90'"],
    ),
    'radius in pixels': (
        lambda given: fetch_framed(
            Table({'ra': [10.0], 'dec': [20.0], 'FLUX_RADIUS': [3.0]}),
            source='sdss-dr9',
            size='3.28 * petroR90_r',
        ),
        ['X', "'FLUX_RADIUS'", 'multiply it by the pixel scale'],
    ),
    'pixels of several frames': (
        lambda given: Mosaics(
            {'r': [given.folder / f'{name}.fits' for name in ('noisy-image-r', 'same-1')]},
            planes=False,
        ).fetch(Table({'x': [1.0], 'y': [2.0]})),
        ['X', '2 images of r', 'add positions on the sky'],
    ),
    'pixels without a frame': (
        lambda given: read_positions(Table({'x': [1.0], 'y': [2.0]})),
        ['source', "['x', 'y']", 'pass the one frame'],
    ),
    'images of three axes': (
        lambda given: as_cutouts(np.zeros((5, 24, 24))),
        ['images', '(5, 24, 24)', 'need an axis of length 1'],
    ),
    'names of other bands': (
        lambda given: CutoutSet(np.zeros((2, 3, 8, 8)), bands='gr'),
        ['bands', '2 bands', 'the images have 3', 'name each once'],
    ),
    'statuses of other rows': (
        lambda given: CutoutSet(np.zeros((2, 3, 8, 8)), status=['ok']),
        ['status', '1 rows', '2 images', 'pass one for each image'],
    ),
    'one class only': (
        lambda given: given.new.fit(given.blobs, np.full(24, 'round')),
        ['labels', "['round']", 'label some galaxies of another'],
    ),
    'no image at all': (
        lambda given: given.new.fit(given.blobs.replace(status=np.full(24, 'not_found'))),
        ['X', 'not_found', 'check source='],
    ),
    'small images': (
        lambda given: given.new.fit(given.blobs.images[..., :9, :9], given.labels),
        ['images', '9 x 9', 'size='],
    ),
    'unknown encoder': (
        lambda given: given.new.set_params(encoder='nonsense').fit(given.blobs),
        ['encoder', "'nonsense'", "'auto'", 'the path of a saved encoder'],
    ),
    'unknown strategy': (
        lambda given: given.new.set_params(strategy='nonsense').fit(given.blobs),
        ["'strategy'", "'nonsense'", "'fine-tune'"],
    ),
    'not fitted': (
        lambda given: given.new.predict(given.blobs),
        ['MorphologyClassifier', 'not fitted', "Call 'fit'"],
    ),
    'columns are there': (
        lambda given: given.classifier.annotate(given.classifier.annotate(given.blobs[:2])),
        ["'morph_class'", 'overwrite=True'],
    ),
    'pictures in place of flux': (
        lambda given: given.classifier.predict(given.blobs.replace(kind='picture')),
        ['X', 'pictures', 'fetch images of that kind'],
    ),
    'other bands': (
        lambda given: given.classifier.predict(given.blobs.select_bands('r')),
        ['bands', "['g']", "['r']", 'choose among these, or fetch others with bands='],
    ),
    'other size': (
        lambda given: given.classifier.predict(given.blobs.images[..., :20, :20]),
        ['X', '(20, 20)', '(24, 24)', 'fetch or cut'],
    ),
    'nothing to adapt to': (
        lambda given: given.fine_tuned.adapt(given.blobs),
        ['X', 'distance', 'only brightness and noise', 'labels of their own'],
    ),
    'features in place of images': (
        lambda given: evaluate(given.classifier, np.zeros((3, 2)), ['round'] * 3),
        ['X', 'ndarray', 'shape (3, 2)', 'pass a table'],
    ),
    'weight below 0': (
        lambda given: given.new.fit(given.blobs, given.labels, -np.ones(24)),
        ['sample_weight', '24 of 24 rows', 'pass 0'],
    ),
    'numbers whose squares overflow': (
        lambda given: MorphologyRegressor(verbose=0).fit(given.blobs, np.full(24, 1e200)),
        ["'number'", '1e+200', 'change the unit, or mask'],
    ),
    'no example of a rare kind': (
        lambda given: given.rare.fit(given.blobs, np.full(24, 'other')),
        ['labels', "['other']", 'label five or more'],
    ),
    'no connection to a repository': (
        lambda given: MorphologyEncoder.from_pretrained('hf-hub:owner/name'),
        ["'owner/name'", "pass 'local-dir:' and a folder"],
    ),
    'coverage above 1': (
        lambda given: given.classifier.predict_set(given.blobs, coverage=90),
        ['coverage', '90', 'between 0 and 1'],
    ),
    'unknown criterion': (
        lambda given: given.classifier.query(given.blobs.images, criterion='nonsense'),
        ['criterion', "'nonsense'", "'diverse'"],
    ),
    'evaluation without labels': (
        lambda given: evaluate(given.classifier, given.blobs, np.full(24, '')),
        ["'morphology'", 'no row has a label', 'fill them in'],
    ),
    'evaluation without images': (
        lambda given: evaluate(given.classifier, given.blobs.replace(status=['truncated'] * 24)),
        ['24 rows', 'annotate X to see why'],
    ),
    'no model': (
        lambda given: MorphologyClassifier.load(given.text),
        ['text.txt', 'is not a model file', 'name one that save wrote'],
    ),
    'encoder in place of a model': (
        lambda given: MorphologyClassifier.load(given.encoder),
        ['encoder.pt', 'holds an encoder', 'encoder='],
    ),
    'no ONNX file': (
        lambda given: OnnxClassifier(given.text),
        ['text.txt', 'is not an ONNX file', 'name one that to_onnx wrote'],
    ),
    'no such file': (
        lambda given: OnnxClassifier(given.folder / 'none.onnx'),
        ['none.onnx', 'there is no file', 'check its name and folder'],
    ),
    'file is there': (
        lambda given: write_table(PLACES, given.there),
        ['there.fits', 'exists already', 'overwrite=True'],
    ),
    'unknown format': (
        lambda given: write_table(PLACES, given.folder / 'table.doc'),
        ['table.doc', '.ecsv'],
    ),
    'text that FITS does not take': (
        lambda given: write_table(Table({'a': ['é']}), given.folder / 'table.fits'),
        ["'a'", "'é'", 'write Parquet, or leave the column out'],
    ),
    'no cutouts in the file': (
        lambda given: CutoutSet.read(given.text, format='hdf5'),
        ['text.txt', 'it is no HDF5 file', 'write or copy it again'],
    ),
    'measures of pictures': (
        lambda given: measures.measure(given.blobs.replace(kind='picture')),
        ['cutouts', "'picture'", 'fetch bands'],
    ),
    'nothing to draw': (
        lambda given: plotting.cutouts(given.blobs[:0]),
        ['cutouts', 'empty', 'nothing to draw'],
    ),
    'another pixel scale': (
        lambda given: given.classifier.predict(given.blobs.replace(pixel_scale=0.8 * u.arcsec)),
        ['2 times the pixel scale', '0.4 arcsec', 'fetch them at the scale of the training'],
    ),
    'identifiers as labels': (
        lambda given: given.new.fit(given.blobs, np.arange(24)),
        ['labels', '24 classes', 'identifiers', 'name another column'],
    ),
    'labels of another spelling': (
        lambda given: given.classifier.score(given.blobs, np.char.upper(given.labels)),
        ["['EDGE_ON', 'ROUND']", "['edge_on', 'round']", "change 'EDGE_ON' to 'edge_on'"],
    ),
    'too few labels': (
        lambda given: given.new.fit(given.blobs[:2]),
        ['labels', 'not calibrated', 'label more galaxies'],
    ),
    'another unit': (
        lambda given: given.classifier.predict(given.blobs.images * 1000),
        ['X', '24 of 24 images', 'zero_point', 'other_brightness'],
    ),
    'mosaic that is none': (
        lambda given: Mosaics(
            [given.text, *SimulatedSurvey(n_galaxies=2).write(given.text.parent)]
        ),
        ['text.txt', 'is left out', 'repair or remove it'],
    ),
    'paths that are none': (
        lambda given: ImageFiles('path').fetch(Table({'path': ['lost.npy', 'b.npy']})),
        ['X', '2 not_found', "'lost.npy'", 'check source'],
    ),
    'columns of two shapes': (
        lambda given: ImageColumns('gr').fetch(
            Table({'g': np.ones((1, 8, 8)), 'r': np.ones((1, 9, 9))})
        ),
        ["['g', 'r']", '(9, 9)', 'name columns of one shape'],
    ),
    'catalogue that is none': (
        lambda given: read_table(given.folder / 'text.fits'),
        ['text.fits', 'cannot be read'],
    ),
    'answer of a service that is an error': (
        lambda given: read_table(given.folder / 'error.vot'),
        ['too many rows'],
    ),
    'two columns of one name': (
        lambda given: given.classifier.annotate(pd.DataFrame([[1, 2]], columns=['ra', 'ra'])),
        ["'ra'", 'rename them'],
    ),
    'other HDF5 file': (
        lambda given: CutoutSet.read(given.folder / 'other.h5'),
        ['other.h5', 'no file of cutouts', 'CutoutSet.write'],
    ),
    'other folder of Zarr': (
        lambda given: CutoutSet.read(given.folder, format='zarr'),
        ['no folder of cutouts', 'CutoutSet.write'],
    ),
    'other folder of HATS': (
        lambda given: CutoutSet.read(given.folder, format='hats'),
        ['no folder of cutouts', 'lsdb.open_catalog'],
    ),
    'damaged folder of Zarr': (
        lambda given: read_damaged_folder(given.blobs, given.folder / 'damaged.zarr'),
        ['damaged.zarr', 'table.parquet', 'write or copy it again'],
    ),
    'row without a place in HATS': (
        lambda given: check_catalog(Table({'ra': [np.nan], 'dec': [1.0]}), 'a.hats'),
        ['1 of 1 rows', 'leave these rows out', 'Zarr or HDF5'],
    ),
    'column of a name that is taken': (
        lambda given: check_catalog(Table({'image': [1], 'ra': [1.0], 'dec': [1.0]}), 'a.hats'),
        ["['image']", 'rename them'],
    ),
    'folder that holds other files': (
        lambda given: given.blobs.write(given.folder, format='zarr', overwrite=True),
        ['is no folder of cutouts', 'overwrite=True', 'choose another name'],
    ),
    'model without weights': (
        lambda given: MorphologyEncoder.load(given.folder / 'empty.pt'),
        ['empty.pt', 'it lacks weights', 'encoder.conv1.weight'],
    ),
    'ONNX file with a loop': (
        lambda given: OnnxClassifier(given.folder / 'odd.onnx'),
        ['odd.onnx', "['Det']", 'no network needs'],
    ),
    'damaged variance': (
        lambda given: Mosaics(given.folder / 'noisy-*.fits').fetch(PLACES, size=4),
        ['noisy-invvar-r.fits', 'truncated', 'no variance until it is replaced'],
    ),
    'variance of another shape': (
        lambda given: given.blobs.replace(variance=np.ones(24)),
        ['variance', '(24,)', '(24, 2, 24, 24)', 'one value for each pixel'],
    ),
    'errors without variance': (
        lambda given: measures.measure(given.blobs, n_draws=3),
        ['n_draws', '3', 'not known', 'set the variance'],
    ),
    'planes of pictures': (
        lambda given: Hips2Fits('sdss', planes=True),
        ['planes', 'Hips2Fits', 'leave it out'],
    ),
    'bands of another survey': (
        lambda given: LegacyCutouts(bands=['Y']),
        ['bands', "['Y']", "'g', 'r'", 'name some of these'],
    ),
    'column without images': (
        lambda given: ImageColumns(['ra']).fetch(PLACES),
        ["'ra'", 'float64', 'expected an image in each cell'],
    ),
}


@pytest.fixture(scope='module')
def given(classifier, encoder, blobs, tmp_path_factory):
    folder = tmp_path_factory.mktemp('messages')
    encoder.save(folder / 'encoder.pt')
    (folder / 'text.txt').write_text('nothing of the kind', encoding='utf-8')
    PLACES.write(folder / 'there.fits')
    write_images_of_one_sky(folder)
    write_damaged_files(folder)
    return SimpleNamespace(
        classifier=classifier,
        fine_tuned=MorphologyClassifier(
            encoder='random', strategy='fine-tune', epochs=1, random_state=0, verbose=0
        ).fit(make_blobs(60)),
        encoder=folder / 'encoder.pt',
        blobs=blobs,
        labels=blobs.table['morphology'],
        folder=folder,
        text=folder / 'text.txt',
        there=folder / 'there.fits',
        survey=partial(write_survey, folder / 'own.toml'),
    )


def write_survey(path, **changes):
    entries = {'service': "'SiaImages'", 'bands': "['g']", 'pixel_scale': '0.2'} | changes
    lines = [f'{key} = {value}' for key, value in entries.items() if value is not None]
    path.write_text('\n'.join(lines))
    return path


def write_images_of_one_sky(folder):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
    wcs.wcs.cdelt = -1e-4, 1e-4
    header = wcs.to_header()
    image = fits.PrimaryHDU(np.ones((8, 8)), header)
    image.writeto(folder / 'same-1.fits')
    image.writeto(folder / 'same-2.fits')
    more = fits.ImageHDU(image.data, header, name='MORE')
    fits.HDUList([image, more]).writeto(folder / 'pair.fits')
    header['CRVAL1'], header['CRVAL2'] = PLACES['ra'][0], PLACES['dec'][0]
    header['CRPIX1'] = header['CRPIX2'] = 4.5
    noisy = fits.PrimaryHDU(np.ones((8, 8), np.float32), header)
    noisy.writeto(folder / 'noisy-image-r.fits')
    noisy.writeto(folder / 'noisy-invvar-r.fits')
    whole = (folder / 'noisy-invvar-r.fits').read_bytes()
    (folder / 'noisy-invvar-r.fits').write_bytes(whole[:2900])


def read_damaged_folder(cutouts, folder):
    cutouts.write(folder, overwrite=True)
    (folder / 'table.parquet').unlink()
    return CutoutSet.read(folder)


def write_damaged_files(folder):
    (folder / 'text.fits').write_bytes(b'nothing of the kind')
    (folder / 'error.vot').write_text(
        '<VOTABLE version="1.3"><RESOURCE type="results">'
        '<INFO name="QUERY_STATUS" value="ERROR">too many rows</INFO></RESOURCE></VOTABLE>'
    )
    with h5py.File(folder / 'other.h5', 'w') as file:
        file['numbers'] = np.arange(3)
    state = torch.load(folder / 'encoder.pt', weights_only=True)
    del state['fingerprint']
    torch.save({**state, 'weights': {}}, folder / 'empty.pt')
    write_onnx(folder / 'odd.onnx', [helper.make_node('Det', ['images'], ['odd'])])


@pytest.fixture(scope='module')
def messages(given):
    """Do all that goes wrong, and keep what is said: the first warning, else the error."""
    messages = {}
    for name, (call, _) in CALLS.items():
        given.new = MorphologyClassifier(encoder='random', strategy='linear', verbose=0)
        given.rare = MorphologyClassifier(encoder='random', strategy='rare', verbose=0)
        with warnings.catch_warnings(record=True, action='always') as caught:
            try:
                call(given)
            except Exception as error:
                messages[name] = str(error)
        if caught:
            messages[name] = str(caught[0].message)
    return messages


@pytest.fixture(scope='module')
def listed():
    """Read the messages of the page, as patterns: three dots stand for anything."""
    if not PAGE.exists():
        pytest.skip('the sources are not a checkout')
    terms = re.findall(r'^``(.+)``\n    \S', PAGE.read_text(encoding='utf-8'), re.M)
    assert terms
    return {term: re.escape(term).replace(re.escape('...'), '.*') for term in terms}


@pytest.mark.parametrize('name', CALLS)
def test_message_names_the_argument_what_came_and_what_to_do(messages, name):
    for part in CALLS[name][1]:
        assert part in messages[name]


@pytest.mark.parametrize('name', CALLS)
def test_message_is_on_the_page(messages, listed, name):
    assert any(re.fullmatch(p, messages[name], re.S) for p in listed.values()), messages[name]


def test_page_lists_no_message_that_is_not_said(messages, listed):
    unsaid = [
        term
        for term, pattern in listed.items()
        if not any(re.fullmatch(pattern, said, re.S) for said in messages.values())
    ]
    assert unsaid == []


@pytest.mark.skipif(not PAGE.exists(), reason='the sources are not a checkout')
@pytest.mark.parametrize('flag', flags.FLAGS, ids=lambda flag: flag.name)
def test_page_lists_the_flag(flag):
    assert re.search(rf'^``{flag.name}`` ', PAGE.read_text(encoding='utf-8'), re.M)


@pytest.mark.skipif(not PAGE.exists(), reason='the sources are not a checkout')
@pytest.mark.parametrize('error', errors.ImageError.__subclasses__())
def test_page_lists_the_status_of_a_bad_image(error):
    assert re.search(rf'^``{error.status}`` ', PAGE.read_text(encoding='utf-8'), re.M)
