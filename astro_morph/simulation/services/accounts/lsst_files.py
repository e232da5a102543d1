# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write images as the pipelines of Rubin and HSC do: image, mask and variance in one FITS file."""

import numpy as np

from astro_morph.simulation.services.rendering import render, render_planes

__all__ = ['BITS', 'masked_image_hdus']

#: Bit of each mask plane. A pixel of a galaxy is detected, and a column of the sky is saturated.
BITS = {'BAD': 0, 'SAT': 1, 'INTRP': 2, 'DETECTED': 5, 'NO_DATA': 8}


def masked_image_hdus(sky, wcs, shape, band, *, factor, image_class, **cards):
    """
    Return image, mask and variance on a pixel grid.

    Parameters
    ----------
    sky, wcs, shape, band
        As in `~astro_morph.simulation.services.rendering.render`.
    factor : float
        Value of a nanomaggy.
    image_class : type
        The class of the HDUs: `~astropy.io.fits.ImageHDU`, or that of compressed images.
    **cards
        Header cards of the image.

    Returns
    -------
    hdus : list of HDU
        The three extensions, named by ``EXTTYPE`` alone; the variance in the squared unit of the
        image, the mask with the bits of `BITS` and their cards ``MP_``.
    """
    flux = render(sky, wcs, shape, band)
    variance, is_bad = render_planes(sky, wcs, shape, band)
    is_missing = np.isnan(flux)
    is_source = np.nan_to_num(flux) > 3 * np.nan_to_num(np.sqrt(variance))
    bits = sum(
        plane.astype(np.int32) << BITS[name]
        for name, plane in {'SAT': is_bad, 'DETECTED': is_source, 'NO_DATA': is_missing}.items()
    )
    planes = {'IMAGE': flux * factor, 'MASK': bits, 'VARIANCE': variance * factor**2}
    hdus = []
    for name, plane in planes.items():
        hdu = image_class(plane.astype(np.int32 if name == 'MASK' else np.float32), wcs.to_header())
        hdu.header['EXTTYPE'] = name
        hdus.append(hdu)
    hdus[0].header.update(cards)
    for name, bit in BITS.items():
        hdus[1].header[f'HIERARCH MP_{name}'] = bit
    return hdus
