# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Compare radii of detections with that of 90 % of the Petrosian flux, on simulated galaxies.

The latter is measured on the image, with its seeing, as ``petroR90_r`` of SDSS is. Prints its
median ratio to each radius, which is the factor of ``RADII`` in
``astro_morph/catalog/detections/names.py``, and the scatter: half the range from the 16th to the
84th percentile, relative to the median. The radii are those of photutils; SExtractor defines its
own in the same way, from the same moments.

    python benchmarks/radii.py --galaxies 400
"""

import argparse

import numpy as np
from astropy.convolution import convolve_fft
from photutils.segmentation import SourceCatalog, SourceFinder, make_2dgaussian_kernel

from astro_morph.catalog.detections.tables import from_detections
from astro_morph.photometry.radii import measure_r90
from astro_morph.photometry.structure import petrosian_radius
from astro_morph.simulation import SimulatedSurvey

# Smallest number of connected pixels, and threshold in units of the noise of a pixel.
N_PIXELS, THRESHOLD = 10, 1.5

# The apertures of SExtractor: PETRO_RADIUS is twice the Petrosian radius, KRON_RADIUS 2.5 times the
# first moment.
PETRO, KRON = 2, 2.5

KINDS = ('round', 'in_between', 'edge_on', 'spiral')


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--galaxies', type=int, default=300)
    parser.add_argument('--seed', type=int, default=0)
    arguments = parser.parse_args()
    survey = SimulatedSurvey(
        n_galaxies=arguments.galaxies, kinds=KINDS, random_state=arguments.seed
    )
    truth, detections, image = detect(survey)
    radii = radii_of(detections, image, survey)
    radii['true radius before seeing'] = survey.catalogue['petroR90_r'][truth].to_value('arcsec')
    expected = measure_r90(survey.fetch(survey.catalogue, size=128))[truth].value
    print(f'{len(truth)} of {arguments.galaxies} galaxies are detected; ratio of measured_r90')
    print('radius                           median   scatter   none')
    for name, radius in radii.items():
        ratio = expected / radius
        low, median, high = np.nanpercentile(ratio, [16, 50, 84])
        none = np.mean(~np.isfinite(ratio))
        print(f'{name:32} {median:6.2f} {(high - low) / 2 / median:9.2f} {none:6.2f}')


def detect(survey):
    """Return the rows of the galaxies that are detected, and their detections, in r."""
    image = survey.flux[survey.bands.index('r')].astype(float)
    noise = 1.4826 * np.median(np.abs(image - np.median(image)))
    image -= np.median(image)
    smooth = _convolve(image)
    finder = SourceFinder(n_pixels=N_PIXELS, progress_bar=False)
    catalog = SourceCatalog(
        image, finder(smooth, THRESHOLD * noise), convolved_data=smooth, wcs=survey.wcs
    )
    x, y = survey.wcs.world_to_pixel_values(survey.catalogue['ra'], survey.catalogue['dec'])
    distance = np.hypot(
        catalog.x_centroid - x[:, np.newaxis], catalog.y_centroid - y[:, np.newaxis]
    )
    rows = np.flatnonzero(distance.min(axis=1) < 3)
    return rows, catalog[distance.argmin(axis=1)[rows]], image


def _convolve(image):
    return convolve_fft(image, make_2dgaussian_kernel(3, size=5))


def radii_of(catalog, image, survey):
    """Return the radii that catalogues of detections have, in arcsec."""
    scale = survey.pixel_scale.to_value('arcsec')
    major = catalog.semimajor_axis.value * scale
    kron = catalog.kron_radius.value * major
    petrosian = [
        petrosian_radius(
            image[max(y - 80, 0) : y + 81, max(x - 80, 0) : x + 81],
            (min(x, 80), min(y, 80)),
            elongation=source.elongation.value,
            orientation=source.orientation.to_value('rad'),
        )
        for source in catalog
        for x, y in [(round(float(source.x_centroid)), round(float(source.y_centroid)))]
    ]
    return {
        'r90': from_detections(catalog)['r90'].to_value('arcsec'),
        'kron_radius * semimajor_axis': kron,
        'KRON_RADIUS * A_WORLD': KRON * kron,
        'PETRO_RADIUS * A_WORLD': PETRO * scale * np.array(petrosian),
        'FLUX_RADIUS': catalog.flux_radius(0.5).value * scale,
        'A_WORLD, semimajor_axis, a': major,
    }


if __name__ == '__main__':
    main()
