# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Annotate HATS catalogues of any size through LSDB, on a Dask cluster or one machine."""

import functools
import os
import threading

import numpy as np
from astropy.utils.masked import get_data_and_mask

from astro_morph.catalog import as_table
from astro_morph.catalog.io.arrow import to_arrow
from astro_morph.catalog.nested import count_axes
from astro_morph.cutouts import as_source
from astro_morph.images.planes.cells import PIXELS
from astro_morph.models.onnx_model import OnnxModel
from astro_morph.prediction import annotate as annotation
from astro_morph.prediction.framing import fetch_framed, reframed
from astro_morph.prediction.predict import request
from astro_morph.surveys.reading import ENDING
from astro_morph.utils.messages import cut_list

__all__ = ['annotate']

__doctest_requires__ = {'annotate': ['lsdb']}

# Threads of a worker that start at the same time would each open the model.
_OPENING = threading.Lock()


def annotate(
    catalog,
    model,
    *,
    source='auto',
    measures=False,
    columns=None,
    embedding=None,
    size=None,
    prefix='morph_',
    overwrite=False,
):
    """
    Add a model's columns to an LSDB catalogue.

    Nothing is computed until LSDB computes or writes the result. The columns are those of
    `OnnxClassifier.annotate <astro_morph.OnnxClassifier.annotate>`; a masked value is null. Each
    worker process of Dask reads the model once, and runs it in the one thread of a partition.

    Parameters
    ----------
    catalog : ``lsdb.catalog.Catalog``
        The catalogue. Its margin, if it has one, is annotated too.
    model : path-like
        A file that ``to_onnx`` or ``save`` wrote, on a disk that all workers can read.
    source : `~astro_morph.cutouts.CutoutSource` or str, default='auto'
        Where the cutouts come from, see `~astro_morph.cutouts.as_source`. A catalogue that has its
        images in columns, as tensors, lists or the structures of the Multimodal Universe, needs
        none, see `~astro_morph.cutouts.ImageColumns`. Pass many mosaics as a pattern: each worker
        finds them once, while a `~astro_morph.cutouts.Mosaics` is sent with every partition.
    measures : bool, default=False
        Whether to add the columns of `astro_morph.photometry.measure` too.
    columns : sequence of str, default=None
        The columns of a model of votes, see `~astro_morph.prediction.votes.vote_columns`.
    embedding : int, default=None
        Number of principal components of the features in the column ``morph_embedding``, lists of
        fixed length in half precision; no column if None.
    size : str or `~astropy.units.Quantity`, default=None
        What the cutouts span, for a model whose cutouts follow a column of sizes: a column or an
        expression in its place, see `~astro_morph.cutouts.grid_of`, or an angle.
    prefix : str, default='morph_'
        Prefix of the new columns' names.
    overwrite : bool, default=False
        Whether columns of these names may be replaced.

    Returns
    -------
    annotated : ``lsdb.catalog.Catalog``
        The catalogue with the new columns, to be computed.

    Raises
    ------
    FileNotFoundError
        If there is no such model.
    TypeError
        If ``catalog`` is no LSDB catalogue.
    ValueError
        If the file is no model of images, if the source is none or the catalogue has no
        positions, or if it has columns of the new names and ``overwrite`` is false.

    Examples
    --------
    >>> import lsdb
    >>> from astro_morph import MorphologyClassifier
    >>> from astro_morph.prediction.lsdb import annotate
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> folder = getfixture('tmp_path')
    >>> survey = SimulatedSurvey(n_galaxies=20)
    >>> classifier = MorphologyClassifier(survey, size=32, strategy='linear', verbose=0)
    >>> cost = classifier.fit(survey.catalogue).to_onnx(folder / 'morphology.onnx')
    >>> catalog = lsdb.from_astropy(survey.catalogue['ra', 'dec'])
    >>> annotated = annotate(catalog, folder / 'morphology.onnx', source=survey)
    >>> annotated.columns[:3].tolist()
    ['ra', 'dec', 'morph_class']
    >>> annotated.write_catalog(folder / 'annotated', progress_bar=False)
    """
    _check(catalog)
    # Workers may run in another folder.
    path = os.path.abspath(model)
    opened = reframed(_read_model(path), size)
    source = _source_for_workers(source, catalog, opened.spec)
    options = {
        'measures': measures,
        'columns': columns,
        'embedding': embedding,
        'prefix': prefix,
    }
    catalog = _drop_columns(catalog, _new_columns(opened, options), overwrite)
    arguments = path, opened.spec.identifier, source, size, options
    meta = _annotate_partition(catalog.meta, *arguments)
    return catalog.map_partitions(_annotate_partition, *arguments, meta=meta)


def _check(catalog):
    from lsdb.catalog.dataset.healpix_dataset import HealpixDataset

    if not isinstance(catalog, HealpixDataset):
        msg = (
            f'catalog must be an LSDB catalogue, as lsdb.open_catalog returns it, got '
            f'{type(catalog).__name__}; use the annotate of a classifier for a table'
        )
        raise TypeError(msg)


def _source_for_workers(source, catalog, spec):
    """Check that the source fits the catalogue, and return it in a form that workers can use."""
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
    if isinstance(source, str) and source.lower().endswith(ENDING):
        # Workers may run in another folder.
        source = os.path.abspath(os.path.expanduser(source))
    table = _to_table(catalog.meta)
    if source == 'auto':
        # The configuration of this process is not that of the workers.
        source = as_source(source, table, bands=spec.bands)
    fetch_framed(table, **request(spec, source))
    return source


def _new_columns(model, options):
    """Return the names of the columns that a model adds, in order."""
    # Without a table, the first column is that of row numbers.
    return annotation.annotate(model, annotation.no_cutouts(model.spec), **options).colnames[1:]


def _drop_columns(catalog, names, overwrite):
    """Drop the columns of an earlier prediction, or refuse to."""
    there = [name for name in catalog.columns if name in names]
    if there and not overwrite:
        msg = (
            f'the catalogue has the columns {cut_list(there)} already; use overwrite=True to '
            'replace them, or another prefix'
        )
        raise ValueError(msg)
    return catalog.drop(columns=there) if there else catalog


def _annotate_partition(frame, path, identifier, source, size, options):
    """Add the new columns to one partition, which is a data frame."""
    with _OPENING:
        model = reframed(_open_model(path, identifier), size)
        source = _open_source(source, model.spec.bands) if isinstance(source, str) else source
    table = _to_table(frame)
    annotated = annotation.annotate(model, table, source=source, **options)
    new = annotated.colnames[len(table.colnames) :]
    return frame.assign(**{name: _to_series(annotated[name], frame.index) for name in new})


@functools.lru_cache(maxsize=1)
def _open_model(path, identifier):
    """Read a model, and check that it is the same for all partitions."""
    model = _read_model(path)
    if model.spec.identifier != identifier:
        msg = f'the file {path!r} holds another model than when annotate was called; call it again'
        raise ValueError(msg)
    return model


def _read_model(path):
    """Read a model of images that runs in one thread."""
    if path.endswith('.onnx'):
        model = OnnxModel(path, threads=1)
    else:
        from astro_morph.models.torch_model import TorchModel

        # PyTorch uses one thread here, since Dask sets the environment of its workers so.
        model = TorchModel.load(path)
    if not (model.spec.bands and model.spec.classes):
        msg = f'{path!r} holds {model.spec}; it must predict classes, votes or numbers, from images'
        raise ValueError(msg)
    return model


@functools.lru_cache(maxsize=1)
def _open_source(source, bands):
    """Find a source by its name or pattern, for which no table is needed."""
    return as_source(source, None, bands=bands)


def _to_table(frame):
    """Convert the columns that lead to images: numbers, text, and those that may be images."""
    return as_table(frame[[name for name in frame.columns if _may_lead_to_images(frame[name])]])


def _may_lead_to_images(series):
    from pandas.api.types import is_numeric_dtype, is_string_dtype

    if hasattr(series.dtype, 'pyarrow_dtype') and count_axes(series.dtype.pyarrow_dtype, PIXELS):
        return True
    return is_numeric_dtype(series) or is_string_dtype(series)


def _to_series(column, index):
    """Convert a column to a series of Arrow's types, which keep the mask."""
    import pandas as pd
    import pyarrow as pa

    if column.ndim > 1:
        return pd.Series(pd.arrays.ArrowExtensionArray(to_arrow(column)), index=index)
    values, mask = get_data_and_mask(column)
    array = pa.array(np.asarray(values), mask=mask)
    return pd.Series(pd.arrays.ArrowExtensionArray(array), index=index)
