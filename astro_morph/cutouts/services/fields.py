# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Group sources into requests: those that lie close together share an image."""

from dataclasses import dataclass, replace

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from astro_morph.cutouts.services.reprojection import MARGIN, cut_for_request
from astro_morph.images.planes.masked_image import MaskedImage
from astro_morph.images.resampling import cut_stamps

__all__ = ['Places', 'Request', 'share_fields']

# Cost of a request in addition to its pixels, in pixels: what hips2fits draws between two of five
# requests a second (500,000 pixels a second, T. Boch, IVOA Interoperability Meeting, 2019).
_COST_OF_REQUEST = 100_000

# Nearer to a pole, north turns by more than a third of a degree within the largest field.
_HIGHEST_DECLINATION = 80  # degrees

# A source that shares a field lies among its nearest neighbours, or among theirs.
_N_NEIGHBOURS = 8

_ARCSEC = u.arcsec.to(u.rad)


@dataclass(frozen=True)
class Places:
    """Positions and scales of cutouts, one element a cutout."""

    rows: np.ndarray  # of the catalogue
    ra: np.ndarray  # degrees, ICRS
    dec: np.ndarray
    scale: np.ndarray  # arcsec a pixel
    side: int  # pixels, of all cutouts

    def __len__(self):
        return len(self.rows)

    @property
    def coords(self):
        """The positions as a `~astropy.coordinates.SkyCoord`."""
        return SkyCoord(self.ra, self.dec, unit='deg')

    def select(self, index):
        """Return some of the places."""
        arrays = (array[index] for array in (self.rows, self.ra, self.dec, self.scale))
        return Places(*arrays, self.side)


@dataclass(frozen=True, eq=False)
class Request:
    """An image to request, north up and east to the left, and the cutouts to take from it."""

    band: str  # 'rgb' for the colour picture
    ra: float  # degrees, ICRS: the centre
    dec: float
    scale: float  # arcsec a pixel
    shape: tuple  # (y, x) in pixels
    side: int  # of the cutouts, in pixels
    rows: np.ndarray  # (k,), of the catalogue
    offsets: np.ndarray  # (k, 2), pixels (x, y) from the centre of the image to the sources

    @property
    def centre(self):
        """The centre of the image as a `~astropy.coordinates.SkyCoord`."""
        return SkyCoord(self.ra, self.dec, unit='deg')

    def select(self, index):
        """Return the request for some of the cutouts, on the same field."""
        return replace(self, rows=self.rows[index], offsets=self.offsets[index])

    def cut(self, image, centre=None):
        """
        Take the cutouts from the image.

        The grid of a cutout depends on its source alone: bands that come from different fields, or
        partly from the cache, are on one grid. Flux is resampled for that where sources share a
        field. Pictures are cut at the nearest pixel, because their bright pixels are clipped, which
        an interpolation would surround with rings.

        Parameters
        ----------
        image : `~numpy.ndarray` or MaskedImage, shape (y, x)
            An image of the grid of the request, or a larger one; also with its planes, see
            `~astro_morph.images.planes.masked_image.MaskedImage`.
        centre : (float, float), default=None
            The pixel (x, y) at ``ra`` and ``dec``; the middle of the image if None.

        Returns
        -------
        cutouts : `~numpy.ndarray` of float32 or MaskedImage, shape (k, side, side)
            One a row, centred on its source; with planes if the image has them.
        """
        middle = (np.array(image.shape[::-1]) - 1) / 2 if centre is None else np.asarray(centre)
        if self.band != 'rgb' and self.offsets.any():
            return cut_for_request([self._locate(image, middle)], self)
        corners = np.rint(middle + self.offsets - (self.side - 1) / 2).astype(int)
        # A service may count its pixels from another corner; the image holds all cutouts.
        room = np.array(image.shape[::-1]) - self.side
        corners = np.clip(corners, 0, room)
        if isinstance(image, MaskedImage):
            return image.cut(corners, self.side)
        return cut_stamps(image, corners, self.side)

    def _locate(self, image, middle):
        """Return an image whose pixels are an HDU with the WCS of the request."""
        header = fits.Header({'CTYPE1': 'RA---TAN', 'CTYPE2': 'DEC--TAN'})
        header['CRVAL1'], header['CRVAL2'] = self.ra, self.dec
        header['CRPIX1'], header['CRPIX2'] = middle + 1
        header['CDELT1'], header['CDELT2'] = np.array([-1, 1]) * self.scale / 3600
        image = MaskedImage.of(image)
        return replace(image, image=fits.ImageHDU(image.image, header))


def share_fields(places, bands, *, max_side=1024):
    """
    Choose the images to request, at the least cost of requests and pixels.

    `Request.cut` centres each cutout on its source.

    Parameters
    ----------
    places : `Places`
        Positions of the cutouts.
    bands : sequence
        The bands; a tuple of bands is requested at once.
    max_side : int, default=1024
        Largest side of an image that several cutouts share, in pixels.

    Returns
    -------
    requests : list of `Request`
        One for each field and band.
    """
    fields = [_field_around(places, group) for group in _group(places, max_side)]
    return [replace(field, band=band) for field in fields for band in bands]


def _field_around(places, group):
    """Return the field of some places; of a single one, its cutout."""
    scale = places.scale[group[0]]
    if len(group) == 1:
        ra, dec, offsets = places.ra[group[0]], places.dec[group[0]], np.zeros((1, 2))
        nx = ny = places.side
    else:
        directions = _directions(places.ra[group], places.dec[group])
        axes = _axes(directions)
        projected = (directions @ axes.T)[:, :2]
        east, north = (projected.min(axis=0) + projected.max(axis=0)) / 2
        centre = np.array([east, north, np.sqrt(1 - east**2 - north**2)]) @ axes
        ra, dec = np.degrees([np.arctan2(centre[1], centre[0]), np.arcsin(centre[2])])
        # Tangential offsets, counted in pixels to the right and up.
        along = directions @ _axes(centre[np.newaxis]).T
        offsets = along[:, :2] / along[:, 2:] * [-1, 1] / (scale * _ARCSEC)
        nx, ny = np.ceil(2 * np.abs(offsets).max(axis=0)).astype(int) + places.side + 2 * MARGIN
    return Request(
        band='',
        ra=float(ra % 360),
        dec=float(dec),
        scale=float(scale),
        shape=(int(ny), int(nx)),
        side=places.side,
        rows=places.rows[group],
        offsets=offsets,
    )


def _group(places, max_side):
    """Yield the places of each field."""
    for chain in _find_chains(places, max_side):
        remaining = [chain]
        while remaining:
            group = remaining.pop()
            parts = _split(places, group, max_side) if len(group) > 1 else None
            if parts is None:
                yield group
            else:
                remaining.extend(parts)


def _find_chains(places, max_side):
    """Return groups of places of one scale, each place with a neighbour near enough to share."""
    directions = _directions(places.ra, places.dec)
    reach = (max_side - places.side) * places.scale * _ARCSEC
    reach[np.abs(places.dec) > _HIGHEST_DECLINATION] = 0
    # Places of different scales are far apart along a fourth axis.
    apart = np.column_stack([directions, 10 * np.unique(places.scale, return_inverse=True)[1]])
    distances, neighbours = cKDTree(apart).query(apart, k=_N_NEIGHBOURS + 1)
    first, k = np.nonzero(distances < np.minimum(reach[:, np.newaxis], 1))
    links = coo_matrix((np.ones(len(first)), (first, neighbours[first, k])), [len(places)] * 2)
    n_chains, chain = connected_components(links, directed=False)
    order = np.argsort(chain, kind='stable')
    return np.split(order, np.searchsorted(chain[order], np.arange(1, n_chains)))


def _split(places, group, max_side):
    """Split a group in two at its widest gap, or return None if it should share a field."""
    directions = _directions(places.ra[group], places.dec[group])
    along = directions @ _axes(directions).T / (places.scale[group[0]] * _ARCSEC)
    is_too_wide = (np.ptp(along, axis=0) + places.side + 2 * MARGIN).max() > max_side
    axis = np.argmax(np.ptp(along, axis=0))
    order = np.argsort(along[:, axis])
    gaps = np.diff(along[order, axis])
    # A wide group is cut near its middle, so that there are few cuts.
    first = len(group) // 4 if is_too_wide else 0
    at = first + np.argmax(gaps[first : len(gaps) - first]) + 1
    halves = order[:at], order[at:]
    if not is_too_wide:
        costs = [_cost(along[part, :2], places.side) for part in (order, *halves)]
        if costs[0] <= costs[1] + costs[2]:
            return None
    return [group[half] for half in halves]


def _cost(xy, side):
    return _COST_OF_REQUEST + np.prod(np.ptp(xy, axis=0) + side)


def _directions(ra, dec):
    """Return positions as unit vectors of shape (n, 3)."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _axes(directions):
    """Return east, north and outward at the mean of some directions, as rows."""
    outward = directions.mean(axis=0)
    outward = outward / np.linalg.norm(outward)
    east = np.array([-outward[1], outward[0], 0]) / np.hypot(*outward[:2])
    return np.stack([east, np.cross(outward, east), outward])
