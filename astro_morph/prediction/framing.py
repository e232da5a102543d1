# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Fetch cutouts whose size follows from the catalogue, also where it lacks the column of the sizes.

A radius of another tool takes its place, such as those of photutils and SExtractor. Where there are
positions only, the radius is measured on the images, which are fetched twice.
"""

import dataclasses
import functools
import re

import astropy.units as u
import numpy as np
from astropy import log

from astro_morph.catalog import as_table
from astro_morph.catalog.cells import kind_of
from astro_morph.catalog.detections.names import PIXELS, R90
from astro_morph.catalog.detections.radii import find_radii, infer_scale, read_radius
from astro_morph.catalog.flags import BITS
from astro_morph.catalog.positions import find_position_columns, has_positions, read_positions
from astro_morph.catalog.tables import MissingColumnError
from astro_morph.cutouts import as_cutouts, as_source, stream_cutouts
from astro_morph.cutouts.outcome import Outcome
from astro_morph.cutouts.sizes import framing_of
from astro_morph.photometry.radii import measure_r90
from astro_morph.utils.messages import as_written, cut_list, for_caller

__all__ = ['MEASURED', 'fetch_framed', 'reframed', 'stream_framed']

#: Name of a column that no catalogue needs: the radius of 90 % of the flux, measured on the images.
MEASURED = 'measured_r90'

# The radius of 90 % of the Petrosian flux in the catalogue of SDSS, in any band.
_PETROSIAN = re.compile('petroR90_[ugriz]')

# Sides in pixels of the images that sizes are measured on: a galaxy too large for one is measured
# on the next.
SIDES = (128, 256, 512)

# Images of the largest side that are in memory together.
BATCH = 64


def reframed(model, size):
    """
    Return a model that asks for cutouts of another size on the sky.

    Parameters
    ----------
    model : object
        As in `~astro_morph.models.running.run_batches`.
    size : object
        An expression such as ``'3.28 * my_r90'`` or an angle, see `~astro_morph.cutouts.grid_of`;
        None or a number of pixels leaves the model as it is, as does a model whose cutouts have one
        pixel scale.

    Returns
    -------
    model : object
        The same network with another specification.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from astro_morph.models.spec import ModelSpec
    >>> from astro_morph.prediction.framing import reframed
    >>> model = SimpleNamespace(spec=ModelSpec(framing='3.28 * petroR90_r'))
    >>> reframed(model, '3.28*my_r90').spec.framing
    '3.28 * my_r90'
    """
    if model.spec.framing is None or size is None or isinstance(size, int | np.integer):
        return model
    framing = framing_of(size if isinstance(size, str | tuple) else (model.spec.size, size))
    # Not copied by the copy module, with which a model of ONNX would start again.
    other = type(model).__new__(type(model))
    vars(other).update(vars(model), spec=dataclasses.replace(model.spec, framing=framing))
    return other


def fetch_framed(X, *, source='auto', size=None, bands=None):
    """
    Return the cutouts of samples, whose catalogue may lack the column of the sizes.

    Parameters
    ----------
    X, source, size, bands
        As in `~astro_morph.cutouts.as_cutouts`.

    Returns
    -------
    cutouts : `~astro_morph.CutoutSet`
        One row a sample, in order; those whose size was measured have the flag ``size_measured``.

    Raises
    ------
    ValueError
        If the catalogue has no column of sizes, and columns of which some may be one; and as in
        `~astro_morph.cutouts.as_cutouts`.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_morph import decode_flags
    >>> from astro_morph.prediction.framing import fetch_framed
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=1, kinds=['round'], crowding=0)
    >>> place = SkyCoord(survey.catalogue['ra'], survey.catalogue['dec'])
    >>> cutouts = fetch_framed(place, source=survey, size='3.28 * petroR90_r')
    >>> decode_flags(cutouts.flags)
    [['size_measured']]
    """
    try:
        return as_cutouts(X, source=source, size=size, bands=bands)
    except MissingColumnError as error:
        missing = _missing_size(error, size)
    completion = _Completion(X, missing, source=source, size=size, bands=bands)
    table, is_measured = completion.complete(completion.table)
    cutouts = as_cutouts(table, source=completion.source, size=size, bands=bands)
    return _flag(cutouts, is_measured)


def stream_framed(X, *, source='auto', size=None, bands=None, batch_size=1024, outcome=None):
    """
    Return the cutouts of samples in batches, see `fetch_framed`.

    Parameters
    ----------
    X, source, size, bands, batch_size, outcome
        As in `~astro_morph.cutouts.stream_cutouts`.

    Yields
    ------
    cutouts : `~astro_morph.CutoutSet`
        The next rows.
    """
    options = {'size': size, 'bands': bands}
    try:
        yield from stream_cutouts(
            X, source=source, batch_size=batch_size, outcome=outcome, **options
        )
        return
    except MissingColumnError as error:
        # The first batch has it already.
        missing = _missing_size(error, size)
    completion = _Completion(X, missing, source=source, **options)
    own = Outcome()
    for start in range(0, len(completion.table), BATCH):
        table, is_measured = completion.complete(completion.table[start : start + BATCH])
        some = {'source': completion.source, 'outcome': outcome or own, **options}
        for cutouts in stream_cutouts(table, **some):
            yield _flag(cutouts, is_measured)
    own.warn()


def _missing_size(error, size):
    """Return the name of a missing column of sizes; raise the error of one of positions."""
    if error.name not in (framing_of(size) or ''):
        raise error
    return error.name


class _Completion:
    """Completes a catalogue by a column that the size of its cutouts names."""

    def __init__(self, X, missing, *, source, size, bands):
        table = as_table(X)
        self.source = as_source(source, table, bands=bands)
        self.table = self.source.locate(table)
        self._is_located = self.table is not table
        self._missing = missing
        self._radius = None
        if missing == MEASURED:
            return
        is_r90 = missing == R90 or _PETROSIAN.fullmatch(missing)
        if is_r90 and (radii := find_radii(table)):
            self._radius = self._choose(radii)
        elif not is_r90 or not self._has_only_positions():
            raise ValueError(_describe(table, missing, framing_of(size)))

    def complete(self, table):
        """Return some rows with the column, and which of them have a measured size."""
        if self._radius is None:
            sizes, is_measured = self._measure(table)
        else:
            sizes = read_radius(table, self._radius, pixel_scale=self._pixel_scale)
            is_measured = np.zeros(len(table), bool)
        table = table.copy(copy_data=False)
        table[self._missing] = sizes
        return table, is_measured

    def _choose(self, radii):
        """Return the best radius of another tool of which the angle is known."""
        for radius in radii:
            columns = ' * '.join(radius.columns)
            if read_radius(self.table, radius, pixel_scale=self._pixel_scale) is not None:
                log.debug(f'{self._missing} is {radius.factor:g} * {columns} of the catalogue')
                return radius
        example = as_written('size', f'3 * {columns} * 0.2 * arcsec / pix')
        msg = (
            f'{as_written("X")} has the radius {columns!r} in pixels, of which the angle is not '
            f'known; multiply it by the pixel scale, as in {example}'
        )
        raise ValueError(msg)

    @functools.cached_property
    def _pixel_scale(self):
        """Angle of the pixels of the catalogue, None if it is not known."""
        if self._is_located:
            return self.source.pixel_scale
        if not has_positions(self.table, coord_columns=self._coord_columns):
            return None
        coords, _ = read_positions(self.table, coord_columns=self._coord_columns)
        return infer_scale(self.table, coords)

    @property
    def _coord_columns(self):
        return getattr(self.source, 'coord_columns', None)

    def _has_only_positions(self):
        """Check that no other column of the catalogue could be one of sizes."""
        table, coord_columns = self.table, self._coord_columns
        if not has_positions(table, coord_columns=coord_columns):
            return False
        known = {name for *names, _ in PIXELS for name in names}
        known.update(find_position_columns(table, coord_columns=coord_columns))
        others = [table[name] for name in table.colnames if name not in known]
        return all(kind_of(column) != 'f' for column in others)

    def _measure(self, table):
        """Measure the radii on the images; return them, and which rows have one."""
        sizes = np.full(len(table), np.nan) * u.arcsec
        rows = np.arange(len(table))
        for side in SIDES:
            if not rows.size:
                break
            cutouts = self.source._fetch_quietly(table[rows], size=side)
            sizes[rows] = measure_r90(cutouts)
            rows = rows[np.isnan(sizes[rows]) & cutouts.is_ok]
        is_measured = np.isfinite(sizes)
        # Rows without an image get the status that says why, not that of a missing size.
        is_tried = np.isin(np.arange(len(table)), rows)
        sizes[~is_measured & ~is_tried] = 1 * u.arcsec
        return sizes, is_measured


def _flag(cutouts, is_measured):
    """Return cutouts with the flag of those whose size was measured."""
    is_flagged = is_measured & cutouts.is_ok
    return cutouts.replace(flags=cutouts.flags | is_flagged * BITS['size_measured'])


def _describe(table, missing, framing):
    """Describe the missing column of sizes, and say which others can be named instead."""
    what, ways = 'the sizes of the training', ''
    if _PETROSIAN.fullmatch(missing) or missing == R90:
        band = missing[-1] if missing != R90 else 'r'
        what = (
            f'the radius of 90 % of the Petrosian flux in {band} in arcsec, from the PhotoObj '
            'table of SDSS'
        )
        measured = as_written('size', framing.replace(missing, MEASURED))
        ways = f', or measure it on the images, as in {measured}'
    return (
        f'{as_written("X")} has no column {missing!r}, only {cut_list(table.colnames)}, but the '
        f'cutouts span {framing}, expected {what}; name a column or an expression of your own, as '
        f'in {as_written("size", framing.replace(missing, "my_r90"))}, or an angle, as in '
        f'{for_caller("size=20 * u.arcsec", "--size 20arcsec")}{ways}'
    )
