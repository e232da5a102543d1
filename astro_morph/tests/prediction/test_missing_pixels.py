# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests that missing pixels are flagged, in flux and in pictures, whatever way they came in."""

import io
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from astropy.table import Table
from PIL import Image

from astro_morph import MorphologyClassifier, conf, decode_flags
from astro_morph.cutouts import Hips2Fits, ImageFiles, Mosaics, as_pictures
from astro_morph.photometry import Preprocessor
from astro_morph.photometry.defects import find_missing_in_pictures
from astro_morph.simulation import SimulatedSurvey, serve

SIDE = 48


@pytest.fixture(scope='module')
def survey():
    return SimulatedSurvey(n_galaxies=16, kinds=['spiral', 'edge_on'], bands='gri')


@pytest.fixture(scope='module')
def cutouts(survey):
    flux = survey.fetch(survey.catalogue, size=SIDE)
    return {'flux': flux, 'picture': as_pictures(flux)}


@pytest.fixture(scope='module')
def models(cutouts):
    fit = partial(MorphologyClassifier, strategy='linear', verbose=0, random_state=0)
    models = {kind: fit().fit(images) for kind, images in cutouts.items()}
    return models | {'uncleaned': fit(preprocessing=None).fit(cutouts['flux'])}


def damage(images, how):
    """Take pixels away in the first image: those beyond an edge, of all bands or of one."""
    images = images.astype(np.float32)
    part, value = {
        'nan': (np.s_[:, 20:23, 20:23], np.nan),
        'zeros at an edge': (np.s_[:, :, :12], 0),
        'zeros in one band': (np.s_[1, -14:], 0),
        'a corner': (np.s_[:, 30:, 30:], 0),
        'a frame': (np.s_[:, [*range(6), *range(42, 48)]], 0),
    }[how]
    images[0][part] = value
    return images


HOW = ['nan', 'zeros at an edge', 'zeros in one band', 'a corner', 'a frame']


def names(model, X):
    flags = model.annotate(X)['morph_flags']
    return [set(decode_flags(flag)) & {'missing_pixels', 'missing_band'} for flag in flags]


@pytest.mark.parametrize('how', HOW)
@pytest.mark.parametrize('kind', ['flux', 'picture', 'uncleaned'])
def test_arrays_and_cutout_sets(models, cutouts, kind, how):
    its_cutouts = cutouts['flux' if kind == 'uncleaned' else kind]
    images = damage(its_cutouts.images, how)
    first, *others = names(models[kind], its_cutouts.replace(images=images))
    assert first == {'missing_pixels'}
    assert not any(others)


def test_arrays_of_bytes(models, cutouts):
    images = damage(cutouts['picture'].images, 'zeros at an edge').astype(np.uint8)
    first, *others = names(models['picture'], images)
    assert first == {'missing_pixels'}
    assert not any(others)


@pytest.mark.parametrize('kind', ['flux', 'picture', 'uncleaned'])
def test_a_band_of_zeros_is_missing_and_an_image_of_zeros_is_none(models, cutouts, kind):
    its_cutouts = cutouts['flux' if kind == 'uncleaned' else kind]
    images = its_cutouts.images.astype(np.float32)
    images[0, 2] = 0
    images[1] = 0
    annotated = models[kind].annotate(its_cutouts.replace(images=images))
    assert 'missing_band' in decode_flags(annotated['morph_flags'][0])
    assert annotated['morph_status'][:3].tolist() == ['ok', 'all_nan', 'ok']


@pytest.mark.parametrize('how', HOW)
def test_the_preprocessor_flags_pictures_as_flux(cutouts, how):
    for its_cutouts in cutouts.values():
        images = damage(its_cutouts.images, how)
        clean = Preprocessor().transform(its_cutouts.replace(images=images))
        assert 'missing_pixels' in decode_flags(clean.flags[0])


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_picture_files(models, cutouts, tmp_path, suffix):
    images = damage(cutouts['picture'].images, 'zeros at an edge')
    for number, image in enumerate(images.astype(np.uint8)):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / f'{number}.{suffix}', quality=90)
    table = Table({'path': [f'{number}.{suffix}' for number in range(len(images))]})
    models['picture'].source = ImageFiles(folder=tmp_path)
    first, *others = names(models['picture'], table)
    assert first == {'missing_pixels'}
    assert not any(others)


@pytest.mark.parametrize('kind', ['flux', 'picture'])
@pytest.mark.parametrize('factor', [1, 1.3])
def test_mosaics_with_zeros_also_resampled(models, survey, tmp_path, kind, factor):
    paths = survey.write(tmp_path)
    from astropy.io import fits

    x, _ = survey.wcs.world_to_pixel_values(survey.catalogue['ra'][0], survey.catalogue['dec'][0])
    for path in paths:
        with fits.open(path, mode='update') as hdus:
            hdus[0].data[:, int(x) + 10 : int(x) + 14] = 0
    source = Mosaics(tmp_path / 'sdss-{band}.fits', pixel_scale=factor * survey.pixel_scale)
    flux = source.fetch(survey.catalogue, size=SIDE)
    images = flux if kind == 'flux' else as_pictures(flux)
    first = names(models[kind], images.replace(pixel_scale=survey.pixel_scale))[0]
    assert first == {'missing_pixels'}


@pytest.mark.parametrize('kind', ['flux', 'picture'])
def test_services_that_send_zeros(models, survey, kind):
    def blank(answer):
        """Paint the north of an image black."""
        if kind == 'picture':
            pixels = np.array(Image.open(io.BytesIO(answer.content)))
            pixels[: len(pixels) // 3] = 0
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, 'JPEG', quality=90)
            return replace(answer, body=file.getvalue())
        from astropy.io import fits

        with fits.open(io.BytesIO(answer.content)) as hdus:
            hdus[0].data[-(len(hdus[0].data) // 3) :] = 0
            file = io.BytesIO()
            hdus.writeto(file)
        return replace(answer, body=file.getvalue())

    bands = 'rgb' if kind == 'picture' else 'gri'
    with conf.set_temp('requests_per_second', 1000.0), serve(survey) as server:
        server.faults = lambda request: blank
        address = f'{server.url}/hips-image-services/hips2fits'
        models[kind].source = Hips2Fits('sdss', bands=bands, server=address, cache=False)
        (first,) = names(models[kind], survey.catalogue[:1])
    assert first == {'missing_pixels'}


class TestPictures:
    """Pictures whose sky is black have no missing pixels."""

    @pytest.fixture
    def galaxy(self):
        y, x = np.mgrid[:64, :64] - 31.5
        return (250 * np.exp(-np.hypot(x, y) / 3)).astype(np.uint8)

    def test_a_black_sky(self, galaxy):
        assert not find_missing_in_pictures(np.array([[galaxy] * 3])).any()

    def test_a_sky_whose_noise_is_clipped(self, galaxy):
        noise = np.random.default_rng(0).normal(0, 4, (20, 3, 64, 64))
        pictures = (galaxy + noise).clip(0).astype(np.uint8)
        assert not find_missing_in_pictures(pictures).any()

    def test_a_diagonal_border(self, galaxy):
        noise = np.random.default_rng(0).normal(12, 4, (1, 3, 64, 64))
        picture = (galaxy + noise).clip(0, 255).astype(np.uint8)
        y, x = np.mgrid[:64, :64]
        is_outside = x + 0.5 * y > 75
        picture[:, :, is_outside] = 0
        is_missing = find_missing_in_pictures(picture)
        assert np.mean(is_missing == is_outside) > 0.97
