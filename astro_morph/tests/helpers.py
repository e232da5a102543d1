# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Galaxies for the tests: round and edge-on Gaussians, small and quick to learn."""

import errno

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table

from astro_morph import CutoutSet, conf
from astro_morph.models.spec import ModelSpec

__all__ = [
    'BrightnessModel',
    'at_corners',
    'cut_from_sky',
    'fill_disk',
    'gaussian',
    'keep_out_of_the_users_cache',
    'make_blobs',
    'moments',
]


@pytest.fixture(autouse=True, scope='session')
def keep_out_of_the_users_cache(tmp_path_factory):
    """Keep the images that tests fetch in a folder of their own."""
    path = tmp_path_factory.mktemp('cache') / 'cutouts.sqlite'
    with conf.set_temp('cache_file', str(path)):
        yield


def fill_disk(monkeypatch, owner, name):
    """Let a function fail after it has written, as if the disk were full."""
    write = getattr(owner, name)

    def fail(*args, **options):
        write(*args, **options)
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(owner, name, fail)


def gaussian(size, *, sigma=2.0, axis_ratio=1.0, angle=0.0, x=0.0, y=0.0):
    """Draw an elliptical Gaussian; offsets from the centre, angle from the x axis to the y axis."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    along = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
    across = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
    return np.exp(-(along**2 + (across / axis_ratio) ** 2) / 2 / sigma**2)


def moments(image):
    """Measure a blob: its centroid (x, y), from the centre, and its covariance, shape (2, 2)."""
    y, x = np.indices(image.shape).reshape(2, -1) - (np.transpose([image.shape]) - 1) / 2
    weight = np.asarray(image, float).ravel()
    centroid = np.average([x, y], axis=1, weights=weight)
    return centroid, np.cov([x, y], aweights=weight, ddof=0)


def make_blobs(n, *, size=24, bands='gr', random_state=0):
    """Make noisy cutouts in flux, with the labels in the column morphology."""
    random = np.random.default_rng(random_state)
    labels = np.resize(['round', 'edge_on'], n)
    images = random.normal(scale=0.05, size=(n, len(bands), size, size))
    for image, label in zip(images, labels, strict=True):
        axis_ratio = 1.0 if label == 'round' else 0.25
        angle, flux = random.uniform(0, np.pi), random.uniform(2, 5)
        image += flux * gaussian(size, sigma=3, axis_ratio=axis_ratio, angle=angle)
    table = Table({'id': np.arange(n), 'morphology': labels})
    return CutoutSet(images, bands=bands, pixel_scale=0.4 * u.arcsec, table=table)


def at_corners(sky, *pixels):
    """
    Return the positions of the lower left corners of pixels (x, y) of a simulated sky.

    There, cutouts of an even side have whole pixels of the sky.
    """
    return sky.wcs.pixel_to_world(*(np.array(pixels).T - 0.5))


def cut_from_sky(sky, x, y, side):
    """Return the pixels of all bands around the lower left corner of the pixel (x, y)."""
    half = side // 2
    return sky.flux[:, y - half : y + half, x - half : x + half]


class BrightnessModel:
    """A model of no network: what is bright in the images is a bright galaxy."""

    spec = ModelSpec(classes=('bright', 'faint'), bands=('g', 'r'), size=8, identifier='brightness')
    n_features = 1

    def run(self, samples):
        """Give logits, features and novelty of images."""
        mean = np.nanmean(samples, axis=(1, 2, 3))
        return np.stack([mean, -mean], axis=1), mean[:, np.newaxis], 1 / (1 + np.exp(mean))
