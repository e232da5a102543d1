# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""EuclidSource, the base class of the services that have Euclid's mosaics: units and pictures."""

from abc import abstractmethod
from dataclasses import replace

import astropy.units as u
import numpy as np
from astropy.io import fits

from astro_morph.cutouts.services.remote import RemoteSource
from astro_morph.images.euclid_pictures import EUCLID_FACTORS, draw_euclid
from astro_morph.images.reading import read_pixels

__all__ = ['EuclidSource']


class EuclidSource(RemoteSource):
    """
    Base class of the services that have the mosaics of Euclid.

    Fluxes are scaled to the zero points of the survey, from those in the headers of the mosaics.
    Pictures are drawn from VIS and Y. A service implements `_cut`.

    Parameters
    ----------
    survey : str or `~astro_morph.surveys.Survey`, default='euclid-q1'
        The survey.
    **options
        As in `~astro_morph.cutouts.RemoteSource`.

    Raises
    ------
    ValueError
        If the survey does not have one of the ``bands``.
    """

    _is_calibrated = True
    _has_other_bands = False

    def __init__(self, survey='euclid-q1', **options):
        super().__init__(survey, **options)

    def _origin(self, layer):
        # Fluxes in the cache have these zero points.
        return f'{super()._origin(layer)} {np.ravel(self.survey.zero_point).tolist()}'

    @abstractmethod
    def _cut(self, request, client):
        """Return the cutouts of a request for one band, as `_answer` does."""

    def _answer(self, request, client):
        if request.band != 'rgb':
            return self._cut(request, client)
        flux = [self._cut(replace(request, band=band), client) for band in EUCLID_FACTORS]
        # Pictures show surface brightness.
        per_pixel = (self.survey.pixel_scale.to_value(u.arcsec) / np.asarray(request.scale)) ** 2
        return draw_euclid(*(image * per_pixel.reshape(-1, 1, 1) for image in flux))

    def _factor(self, header, band):
        """Return the factor to the zero point of the survey from that in a mosaic's header."""
        if self.survey.zero_point is None or 'MAGZERO' not in header:
            return np.float32(1)
        zero_points = np.broadcast_to(self.survey.zero_point, len(self.survey.bands))
        difference = header['MAGZERO'] - zero_points[self.survey.bands.index(band)]
        return np.float32(10 ** (-0.4 * difference))

    def _calibrate(self, image, band):
        """Return an image HDU with the zero point of the survey."""
        return fits.ImageHDU(read_pixels(image) * self._factor(image.header, band), image.header)
