# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fetch cutouts from the hips2fits service of CDS, through `astroquery.hips2fits`."""

import astropy.units as u
import numpy as np

from astro_morph.cutouts.fetching.failures import FetchError
from astro_morph.cutouts.services.remote import RemoteSource
from astro_morph.images.errors import NotAnImageError, image_errors
from astro_morph.images.picture_files import decode_picture
from astro_morph.images.reading import decode_fits
from astro_morph.utils.messages import as_written

__all__ = ['Hips2Fits']

SERVERS = (
    'https://alasky.cds.unistra.fr/hips-image-services/hips2fits',
    'https://alaskybis.cds.unistra.fr/hips-image-services/hips2fits',
)


class Hips2Fits(RemoteSource):
    """
    Cutouts of any survey that CDS has as a HiPS, a progressive map of the sky.

    All bands of a cutout are on one grid, north up and east left, centred on the source; colour
    pictures to half a pixel where sources share a field. The service interpolates the survey's
    pixels, so that their noise is correlated, and cutouts from a shared field are interpolated once
    more; their fluxes are multiplied by the ratio of the pixel areas.

    Publications acknowledge the service beside the survey: "This research has made use of the
    hips2fits, a tool developed at CDS, Strasbourg, France".

    Parameters
    ----------
    survey, bands, pixel_scale, coord_columns, cache
        As in `RemoteSource`.
    server : str or sequence of str, default=None
        Address of the service, or of several mirrors; the two servers at CDS if None, of which
        the second is used if the first does not answer.

    Raises
    ------
    ValueError
        If the survey has no HiPS of a band, or none of colour pictures.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_morph.cutouts import Hips2Fits
    >>> source = Hips2Fits('sdss-dr9', bands='gri', cache=False)
    >>> print(source.plan(SkyCoord([150.1, 210.2], [2.2, 5.5], unit='deg')))
    2 rows, 0 of them without a request; 6 requests, about 0.0983 MB and 0.02 minutes
    """

    def __init__(self, survey, **options):
        super().__init__(survey, **options)
        if self.kind == 'picture':
            self._hips = {'rgb': self.survey.hips_color}
        else:
            self._hips = {band: self.survey.hips.get(band) for band in self.bands}
        missing = [layer for layer, hips in self._hips.items() if not hips]
        if missing:
            served = [*self.survey.hips, *(['rgb'] if self.survey.hips_color else [])]
            advice = (
                f'only of {served}; name these'
                if served
                else 'nor of other bands; set its hips, or choose another service'
            )
            msg = (
                f'{as_written("bands")}: the survey {self.survey.name} has no HiPS of {missing}, '
                + advice
            )
            raise ValueError(msg)

    @property
    def _servers(self):
        return super()._servers or SERVERS

    def _origin(self, layer):
        server = '' if self.server is None else f' {self._servers[0]}'
        return f'hips2fits {self._hips[layer]}{server}'

    def _make_client(self):
        from astroquery.hips2fits import hips2fitsClass

        client = hips2fitsClass()
        client.server = self._servers[0]
        return client

    def _answer(self, request, client):
        # The service is off by one in its pixel numbers: the centre of an image is that of its
        # pixels without the last row and column.
        ny, nx = (n + 1 for n in request.shape)
        is_picture = request.band == 'rgb'
        response = client.query_async(
            hips=self._hips[request.band],
            width=nx,
            height=ny,
            projection='TAN',
            ra=request.ra * u.deg,
            dec=request.dec * u.deg,
            fov=_field_of_view(max(ny, nx), request.scale),
            coordsys='icrs',
            rotation_angle=0 * u.deg,
            format='jpg' if is_picture else 'fits',
            # These keep the range of a picture's colours.
            min_cut=0,
            max_cut=100,
            stretch='linear',
            cmap='Greys_r',
        )
        if response.status_code != 200:
            raise FetchError(status=f'http_{response.status_code}', message=response.text)
        read = _read_picture if is_picture else _read_flux
        planes, centre, unit = read(response.content)
        if planes.shape[1:] != (ny, nx):
            msg = f'asked for {ny} x {nx} pixels, got an image of shape {planes.shape}'
            raise FetchError(status='wrong_size', message=msg)
        images = np.stack([request.cut(plane, centre) for plane in planes], axis=1)
        # The sky has noise; all zeros mean that the service has no tile.
        images[(images == 0).all(axis=(1, 2, 3))] = np.nan
        return images if is_picture else self._per_new_pixel(images[:, 0], request, unit)


def _field_of_view(n_pixels, scale):
    """Return the angle for which pixels at the centre have a scale, in arcsec."""
    half = n_pixels / 2 * scale * u.arcsec.to(u.rad)
    return 2 * np.degrees(np.arctan(half)) * u.deg


def _read_flux(content):
    """Return an image of shape (1, y, x), the pixel (x, y) at its centre, and its unit."""
    with image_errors():
        # Astropy warns of other content, and its errors are unclear.
        if not content.startswith(b'SIMPLE'):
            msg = f'the answer begins with {content[:40]!r}'
            raise NotAnImageError(msg)
        hdu = decode_fits(content)
        centre = hdu.header['CRPIX1'] - 1, hdu.header['CRPIX2'] - 1
        if not all(0 <= at < n for at, n in zip(centre, hdu.shape[::-1], strict=True)):
            msg = f'the centre lies outside the image, at the pixel {centre}'
            raise NotAnImageError(msg)
        return hdu.data[np.newaxis], centre, hdu.header.get('BUNIT', '')


def _read_picture(content):
    """Return a picture of shape (3, y, x), its centre, and no unit."""
    with image_errors():
        picture = decode_picture(content)
    ny, nx = picture.shape[:2]
    return np.moveaxis(picture, -1, 0), (nx / 2 - 1, ny / 2 - 1), ''
