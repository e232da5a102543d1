# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read files of the pipelines of Rubin and HSC: an image, with its variance and mask."""

from astro_morph.cutouts.fetching.failures import FetchError
from astro_morph.images.reading import decode_fits_file, read_masked_image

__all__ = ['read_lsst_image']


def read_lsst_image(content, *, planes):
    """
    Read the image of a downloaded file.

    Parameters
    ----------
    content : bytes
        The file.
    planes : bool
        Whether it must have variance and mask.

    Returns
    -------
    image : `~astro_morph.images.planes.masked_image.MaskedImage`
        The HDU of the image, and arrays of its planes.

    Raises
    ------
    FetchError
        If it lacks variance or mask.
    ImageError
        If it holds no image, or is truncated.
    """
    image = read_masked_image(decode_fits_file(content))
    if planes and (image.variance is None or image.mask is None):
        raise FetchError(status='truncated', message='the file lacks its variance or its mask')
    return image
