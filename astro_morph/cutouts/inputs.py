# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Turn anything that users pass as X or source into cutouts: tables, positions, arrays, names."""

import os
from inspect import isabstract, isclass

import numpy as np
from astropy import log
from astropy.coordinates import SkyCoord
from astropy.table import Table

from astro_morph import surveys
from astro_morph.catalog import as_table, find_image_column
from astro_morph.catalog.detections.tables import are_detections
from astro_morph.catalog.frames import is_frame
from astro_morph.catalog.positions import has_positions
from astro_morph.cutouts.cutout_set import PICTURE_BANDS, CutoutSet
from astro_morph.cutouts.image_columns import ImageColumns, find_image_columns
from astro_morph.cutouts.image_files import ImageFiles
from astro_morph.cutouts.mosaics import Mosaics
from astro_morph.cutouts.outcome import Outcome
from astro_morph.cutouts.sdss_pictures import as_pictures
from astro_morph.cutouts.source import CutoutSource
from astro_morph.images.remote.urls import find_files
from astro_morph.utils.messages import as_written, cut_list, for_caller

__all__ = [
    'as_cutouts',
    'as_samples',
    'as_source',
    'catalog_of',
    'find_services',
    'holds_images',
    'stream_cutouts',
]


def holds_images(X):
    """
    Check whether samples are images, or a catalogue of images, rather than 2-D features.

    Parameters
    ----------
    X : object
        Any input of an estimator of this package.

    Returns
    -------
    holds_images : bool
        False for a 2-D array, or a data frame with neither positions nor image paths nor images.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.cutouts import holds_images
    >>> holds_images(np.zeros((5, 3, 32, 32))), holds_images(np.zeros((5, 100)))
    (True, False)
    """
    if isinstance(X, (CutoutSet, Table, SkyCoord)) or are_detections(X):
        return True
    if isinstance(X, np.ndarray):
        return X.ndim > 2
    if is_frame(X):
        table = as_table(X)
        has_images = find_image_column(table) is not None or find_image_columns(table)
        return bool(has_images) or has_positions(table)
    return False


def as_samples(X):
    """
    Return samples of which rows can be selected, as in ``X[rows]``.

    Parameters
    ----------
    X : object
        Samples as in `as_cutouts`, or plain features.

    Returns
    -------
    samples : object
        Positions, detections, and a data frame with a catalogue, as a table; all else unchanged.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_morph.cutouts import as_samples
    >>> len(as_samples(SkyCoord(10, 20, unit='deg')))
    1
    """
    is_positions = isinstance(X, SkyCoord) or are_detections(X)
    return as_table(X) if is_positions or (is_frame(X) and holds_images(X)) else X


def catalog_of(X):
    """
    Return the table of some samples.

    Parameters
    ----------
    X : object
        Samples as in `as_cutouts`.

    Returns
    -------
    table : `~astropy.table.Table` or None
        None for images without a table.

    Examples
    --------
    >>> from astro_morph.cutouts import catalog_of
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=4)
    >>> len(catalog_of(survey.fetch(survey.catalogue)))
    4
    """
    if isinstance(X, CutoutSet):
        return X.table
    return None if _is_array(X) else as_table(X)


def as_source(source, table, *, bands=None, coord_columns=None, folder=None, planes=False):
    """
    Return the source of a table's images.

    Parameters
    ----------
    source : `CutoutSource`, `~astro_morph.surveys.Survey` or str
        A source; or a survey, its name or its TOML file, see `astro_morph.surveys`, for the
        service that has its images; or the path or pattern of FITS mosaics, see `Mosaics`; or
        ``'auto'``: the image-path column if the table has one, else the columns whose cells are
        images, else the survey or pattern in ``astro_morph.conf.survey``.
    table : `~astropy.table.Table`
        The catalogue.
    bands : sequence of str or 'rgb', default=None
        The bands to request from the service of a survey; all of them if None. ``'rgb'`` requests
        colour pictures.
    coord_columns : str or (str, str), default=None
        The columns of the position, see `astro_morph.catalog.read_positions`. Not used if
        ``source`` is a `CutoutSource`.
    folder : path-like, default=None
        Folder from which relative image paths in the table start; the working folder if None.
    planes : bool, default=False
        Whether to request variance and mask from the service of a survey, or from another that
        has them. Not used if ``source`` is a `CutoutSource`; files have their planes with them.

    Returns
    -------
    source : `CutoutSource`
        The source.

    Raises
    ------
    ValueError
        If no images are found.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_morph.cutouts import as_source
    >>> table = Table({'ra': [150.1], 'dec': [2.2]})
    >>> as_source('legacy-dr10', table, bands='gr')
    <Hips2Fits: legacy-dr10 in g, r>
    >>> table['image_path'] = ['galaxy.fits']
    >>> type(as_source('auto', table)).__name__
    'ImageFiles'
    """
    if isinstance(source, ImageFiles) and source.column is None:
        # For all batches of the table.
        column = source.find_column(table)
        options = {name: getattr(source, name) for name in ('folder', 'bands', 'planes')}
        return ImageFiles(column, **options)
    if isinstance(source, ImageColumns):
        return source.for_bands(bands)
    if isinstance(source, CutoutSource):
        return source
    if source == 'auto':
        column = find_image_column(table, folder=folder, report=log.info)
        if column is not None:
            return ImageFiles(column, folder=folder)
        columns = find_image_columns(table)
        if columns:
            return ImageColumns(columns).for_bands(bands)
        source = _configured(table)
    if surveys.is_known(source):
        survey = surveys.get(source)
        return _service_of(survey, bands, coord_columns=coord_columns, planes=planes)
    if find_files(os.fspath(source).replace('{band}', '*')):
        return Mosaics(source, coord_columns=coord_columns)
    msg = (
        f'{as_written("source")} must be {for_caller("a CutoutSource, ", "")}the name of a survey '
        f'or its TOML file, or the path or pattern of FITS mosaics, got {str(source)!r}, which '
        f'matches no file and none of the surveys {cut_list(surveys.SURVEYS)}'
    )
    raise ValueError(msg)


def as_cutouts(X, *, source='auto', size=None, bands=None):
    """
    Return the cutouts of samples.

    Parameters
    ----------
    X : `CutoutSet`, ndarray, Table, SkyCoord, DataFrame or SourceCatalog
        Cutouts, which are returned as they are; images of shape (n, band, y, x), of pictures
        (uint8) or linear in flux; or a catalogue or positions, whose cutouts are fetched, see
        `~astro_morph.catalog.as_table`.
    source : `CutoutSource` or str, default='auto'
        The source of a catalogue's cutouts, see `as_source`.
    size : int, `~astropy.units.Quantity`, str or tuple, default=None
        Side of the cutouts to fetch, or a column and a factor, see `~astro_morph.cutouts.grid_of`.
    bands : sequence of str or 'rgb', default=None
        The bands to keep, in order; all if None. For an array, the names of its bands. ``'rgb'``
        is the colour picture of a survey, or one drawn from flux, see `as_pictures`.

    Returns
    -------
    cutouts : `CutoutSet`
        One row a sample, in order.

    Raises
    ------
    ValueError
        If an array does not have four axes, or a band is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.cutouts import as_cutouts
    >>> as_cutouts(np.ones((5, 2, 32, 32)), bands='gr')
    <CutoutSet: 5 cutouts of 2 bands (g, r), 32 x 32 pixels, flux, 0 without image>
    """
    bands = _band_names(bands)
    if _is_array(X):
        return _name_images(X, bands)
    if not isinstance(X, CutoutSet):
        table = as_table(X)
        source, outcome = as_source(source, table, bands=bands), Outcome()
        X = source._fetch_quietly(table, size=size)
        outcome.add(X, source)
        outcome.warn()
    return _keep_bands(X, bands)


def stream_cutouts(X, *, source='auto', size=None, bands=None, batch_size=1024, outcome=None):
    """
    Return the cutouts of samples in batches, see `as_cutouts`.

    Parameters
    ----------
    X, source, size, bands
        As in `as_cutouts`.
    batch_size : int, default=1024
        Number of rows in a batch.
    outcome : `~astro_morph.cutouts.outcome.Outcome`, default=None
        Counts the statuses of several calls, of which the caller warns. If None, this call warns if
        no row has an image.

    Yields
    ------
    cutouts : `CutoutSet`
        The next rows.

    Examples
    --------
    >>> from astro_morph.cutouts import stream_cutouts
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=5)
    >>> [len(batch) for batch in stream_cutouts(survey.catalogue, source=survey, batch_size=2)]
    [2, 2, 1]
    """
    if _is_array(X) or isinstance(X, CutoutSet):
        for start in range(0, len(X), batch_size):
            yield as_cutouts(X[start : start + batch_size], bands=bands)
        return
    bands = _band_names(bands)
    table = as_table(X)
    source = as_source(source, table, bands=bands)
    own = Outcome()
    for cutouts in source.stream(table, size=size, batch_size=batch_size):
        (outcome or own).add(cutouts, source)
        yield _keep_bands(cutouts, bands)
    own.warn()


def _is_array(X):
    """Check whether samples are an array of images or features, not one of detections."""
    return isinstance(X, np.ndarray) and not are_detections(X)


def _band_names(bands):
    """Return the names of bands, None for all of them."""
    if bands is None:
        return None
    return PICTURE_BANDS if bands == 'rgb' else tuple(bands)


def _keep_bands(cutouts, bands):
    if bands is None:
        return cutouts
    if not cutouts.is_ok.any():
        # A source that found no image does not know the bands.
        n, _, ny, nx = cutouts.shape
        return cutouts.replace(
            images=np.full((n, len(bands), ny, nx), np.nan),
            bands=bands,
            kind='picture' if bands == PICTURE_BANDS else cutouts.kind,
            zero_point=None,
            variance=None,
            mask=None,
        )
    if bands == PICTURE_BANDS:
        cutouts = as_pictures(cutouts)
    return cutouts.select_bands(bands)


def find_services():
    """
    Return the services on the network.

    Returns
    -------
    services : dict of str to type
        The classes, by their names in `astro_morph.cutouts`.

    Examples
    --------
    >>> from astro_morph.cutouts.inputs import find_services
    >>> find_services()['SkyView'].__name__
    'SkyView'
    """
    from astro_morph import cutouts

    public = {name: getattr(cutouts, name) for name in cutouts.__all__}
    return {
        name: value
        for name, value in public.items()
        if isclass(value) and issubclass(value, cutouts.RemoteSource) and not isabstract(value)
    }


def _service_of(survey, bands, *, planes, **options):
    """Return the default source of a survey; if it lacks what is asked for, one that has it."""
    services = find_services()
    if survey.service not in services:
        msg = (
            f'service of the survey {survey.name!r} is {survey.service!r}, expected one of '
            f'{list(services)}; for a class of your own, pass its source'
        )
        raise ValueError(msg)
    service = services[survey.service]
    is_picture = _band_names(bands) == PICTURE_BANDS
    # Many archives send flux only. CDS has pictures of their surveys.
    if is_picture and not service._has_pictures and survey.hips_color:
        service = services['Hips2Fits']
    elif planes and not (is_picture or service._has_planes):
        # A name for a service without planes, such as that of image access, tells of none.
        plain = {other._ids_key for other in services.values() if not other._has_planes}
        keys = survey.ids.keys() - plain
        able = (other for other in services.values() if other._ids_key in keys)
        service = next(able, service)
    return service(survey, bands='rgb' if is_picture else bands, planes=planes, **options)


def _configured(table):
    """Return the source that the configuration names."""
    from astro_morph import conf

    if not conf.survey:
        msg = (
            f'{as_written("source", "auto")} found neither image paths nor images among the '
            f'columns {cut_list(table.colnames)}, and astro_morph.conf.survey is empty; pass '
            f'{for_caller("source= a source of cutouts,", as_written("source"))} the name of a '
            "survey such as 'legacy-dr10', or the pattern of your FITS mosaics such as "
            "'tiles/*.fits'"
        )
        raise ValueError(msg)
    return conf.survey


def _name_images(images, bands):
    cutouts = CutoutSet(images, kind='picture' if images.dtype == np.uint8 else 'flux')
    images = cutouts.images
    if bands is not None and len(bands) != images.shape[1]:
        msg = (
            f'X has {images.shape[1]} bands, expected {len(bands)}: {list(bands)}; pass images of '
            f'these, or others as {as_written("bands")}='
        )
        raise ValueError(msg)
    # Few images are read whole: they may not fit into memory.
    is_missing = np.isnan(images[:, 0, 0, 0])
    is_missing[is_missing] = np.isnan(images[is_missing]).all(axis=(1, 2, 3))
    return cutouts.replace(
        bands=cutouts.bands if bands is None else bands,
        status=np.where(is_missing, 'all_nan', 'ok'),
    )
