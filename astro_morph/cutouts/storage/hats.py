# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write cutouts as HATS catalogues with images, partition by partition, and read them."""

import errno
import os
import re
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from astro_morph.catalog import nested, read_positions
from astro_morph.catalog.io.formats import fit_columns
from astro_morph.catalog.io.parquet import rows_from_table, table_from_rows
from astro_morph.cutouts.cutout_set import PLANES, CutoutSet
from astro_morph.cutouts.storage import hdf5
from astro_morph.cutouts.storage.rows import (
    BATCH,
    NAMES,
    PREFIX,
    attributes_of,
    check_names,
    in_batches,
    join_rows,
    rehearse,
    rows_of,
    split_rows,
)
from astro_morph.images.planes.cells import read_cell
from astro_morph.images.planes.lazy import LazyArray
from astro_morph.utils.files import atomic_folder
from astro_morph.utils.messages import naming_packages

__all__ = [
    'check_catalog',
    'holds_cutouts',
    'looks_like',
    'read_cutouts',
    'write_batches',
    'write_cutouts',
]

# The column of images, of structures as the Multimodal Universe has them.
IMAGE = 'image'

# Columns of positions, and of the number of the row in the set that was written.
RA, DEC, ROW = f'{PREFIX}ra', f'{PREFIX}dec', f'{PREFIX}row'

# A table without rows beside the catalogue: what HATS does not keep of its columns, and the rest.
HEADER = 'astro_morph.parquet'
ATTRIBUTES = 'cutouts'

# Bytes of the pixels of a partition, about.
PARTITION_BYTES = 2**26

# The order of the smallest partitions, of 3.4 arcmin. LSDB counts rows down to an order that it is
# given, which takes seconds at this one.
HIGHEST_ORDER = 10


def holds_cutouts(path):
    """Check whether a folder is a HATS catalogue that `write_cutouts` has written."""
    return os.path.isfile(os.path.join(path, HEADER))


def looks_like(path):
    """Check whether a folder has the format, whatever it holds."""
    names = ('hats.properties', 'properties', 'collection.properties')
    return any(os.path.isfile(os.path.join(path, name)) for name in names)


def check_catalog(table):
    """Raise a ValueError if HATS cannot hold a column or a row of a catalogue."""
    check_names(table, [*NAMES, RA, DEC, IMAGE])
    _read_positions(table)
    rehearse(table, '.parquet')


@naming_packages()
def read_cutouts(path):
    """
    Read cutouts from a HATS catalogue.

    The pixels of rows are read when they are used.

    Parameters
    ----------
    path : path-like
        The folder.

    Returns
    -------
    cutouts : `~astro_morph.CutoutSet`
        The cutouts, in the order of the catalogue, with their table, whose column ``cutout_row``
        has the rows in the set that was written.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If the folder is damaged, or `write_cutouts` has not written it.
    """
    from pyarrow import parquet

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if not holds_cutouts(path):
        msg = (
            f'{str(path)!r} is no folder of cutouts that CutoutSet.write wrote; open another HATS '
            'catalogue with lsdb.open_catalog, and pass it to astro_morph.prediction.lsdb.annotate'
        )
        raise ValueError(msg)
    header = parquet.read_schema(path / HEADER)
    partitions = _Partitions(path)
    table = table_from_rows(partitions.read_columns(header))
    attributes = table.meta.pop(ATTRIBUTES)
    shape, dtype, planes = (attributes.pop(name) for name in ('shape', 'dtype', 'planes'))
    partitions.bands, partitions.shape = tuple(attributes['bands']), tuple(shape)
    partitions.dtype = np.dtype(dtype)
    row = table[ROW]
    table.remove_columns([RA, DEC, ROW])
    table, options = split_rows(table, attributes)
    if table is not None:
        table[ROW] = row
    pixels = {
        name: LazyArray(partial(partitions.read, name), (len(row), *shape), kind)
        for name, kind in {
            'images': dtype,
            **{plane: PLANES[plane].dtype for plane in planes},
        }.items()
    }
    return CutoutSet(**pixels, **options, table=table)


def write_cutouts(cutouts, path, *, overwrite=False):
    """
    Write cutouts as a HATS catalogue, atomically.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        The cutouts, with a table of their positions.
    path : path-like
        The folder.
    overwrite : bool, default=False
        Whether to replace an existing folder of cutouts.

    Raises
    ------
    FileExistsError
        If it exists and ``overwrite`` is false.
    ValueError
        If a row has no position.
    """
    batches, n_rows = in_batches(cutouts), len(cutouts)
    write_batches(batches, path, table=cutouts.table, n_rows=n_rows, overwrite=overwrite)


@naming_packages()
def write_batches(batches, path, *, table, n_rows, overwrite=False):
    """
    Write batches of cutouts as a HATS catalogue, atomically; only one need fit into memory.

    LSDB computes and writes the partitions, from a temporary HDF5 file beside the folder.

    Parameters
    ----------
    batches, path, table, n_rows, overwrite
        As in `astro_morph.cutouts.storage.write_batches`.
    """
    import lsdb  # noqa: F401 - one that is missing is missing before images are fetched

    if table is None:
        msg = 'the cutouts have no table of positions, by which HATS sorts them; write Zarr or HDF5'
        raise ValueError(msg)
    check_catalog(table)
    holds = partial(holds_cutouts, path)
    with atomic_folder(path, overwrite=overwrite, may_replace=holds) as aside:
        folder = Path(path).resolve().parent
        with tempfile.TemporaryDirectory(dir=folder, prefix=f'.{Path(path).name}-') as temporary:
            file = Path(temporary) / 'cutouts.h5'
            hdf5.write_batches(batches, file, table=None, n_rows=n_rows)
            _write_catalog(file, table, aside)


def _write_catalog(file, table, folder):
    """Write the cutouts in a file and their table as a HATS catalogue."""
    import lsdb
    import pandas as pd
    from pyarrow import parquet

    cutouts = hdf5.read_cutouts(file)
    rows = join_rows(table, rows_of(cutouts))
    rows[ROW] = np.arange(len(cutouts))
    coords = _read_positions(table)
    rows[RA], rows[DEC] = coords.ra.deg, coords.dec.deg
    kind = _type_of(cutouts)
    about = {
        'shape': list(cutouts.shape[1:]),
        'dtype': 'uint8' if cutouts.kind == 'picture' else 'float32',
        'planes': [
            name
            for name, field in {'variance': 'ivar', 'mask': 'mask'}.items()
            if kind.get_field_index(field) >= 0
        ],
    }
    rows.meta = {**rows.meta, ATTRIBUTES: attributes_of(cutouts, table) | about}
    rows = rows_from_table(fit_columns(rows, 'parquet'), has_nulls=True)
    bytes_of_row = int(np.prod(cutouts.shape[1:])) * 4 * kind.num_fields
    partition_rows = max(1, PARTITION_BYTES // max(1, bytes_of_row))
    catalog = lsdb.from_dataframe(
        rows.to_pandas(types_mapper=pd.ArrowDtype),
        ra_column=RA,
        dec_column=DEC,
        partition_rows=partition_rows,
        highest_order=_find_order(coords, partition_rows),
        margin_threshold=None,
        catalog_name='cutouts',
    )
    meta = _add_images(catalog.meta, os.fspath(file))
    catalog.map_partitions(_add_images, os.fspath(file), meta=meta).write_catalog(
        folder,
        as_collection=False,
        overwrite=True,
        progress_bar=False,
        row_group_kwargs={'num_rows': BATCH},
    )
    parquet.write_table(rows.slice(0, 0), folder / HEADER)


def _read_positions(table):
    """Return the positions of all rows, or raise a ValueError."""
    coords, status = read_positions(table)
    n_missing = int(np.sum(status != 'ok'))
    if n_missing:
        msg = (
            f'{n_missing} of {len(table)} rows have no position, by which HATS sorts them; leave '
            'these rows out, or write Zarr or HDF5'
        )
        raise ValueError(msg)
    return coords


def _find_order(coords, partition_rows):
    """Return the lowest order at which no pixel has more rows than a partition, if there is one."""
    from hats.pixel_math import compute_spatial_index
    from hats.pixel_math.spatial_index import SPATIAL_INDEX_ORDER

    index = compute_spatial_index(coords.ra.deg, coords.dec.deg)
    for order in range(HIGHEST_ORDER):
        _, counts = np.unique(index >> 2 * (SPATIAL_INDEX_ORDER - order), return_counts=True)
        if counts.max(initial=0) <= partition_rows:
            return order
    return HIGHEST_ORDER


def _add_images(frame, file):
    """Add the column of images to a partition."""
    import pandas as pd

    cutouts = hdf5.read_cutouts(file)
    kind = _type_of(cutouts)
    rows = frame[ROW].to_numpy(int)
    array = nested.write_objects(_as_structures(cutouts[rows], kind), kind)
    series = pd.Series(pd.arrays.ArrowExtensionArray(array), index=frame.index)
    return frame.assign(**{IMAGE: series})


def _type_of(cutouts):
    """Return the type of the structures of cutouts in Arrow."""
    import pyarrow as pa

    def planes(kind):
        return pa.list_(pa.list_(pa.list_(kind)))

    is_picture = cutouts.kind == 'picture'
    fields = {
        'band': pa.list_(pa.string()),
        'flux': planes(pa.uint8() if is_picture else pa.float32()),
        'scale': pa.list_(pa.float32()),
    }
    if vars(cutouts)['variance'] is not None:
        fields['ivar'] = planes(pa.float32())
    # The missing pixels of pictures are masked, for want of a number that tells them.
    if is_picture or vars(cutouts)['mask'] is not None:
        fields['mask'] = planes(pa.bool_())
    return pa.struct(fields)


def _as_structures(cutouts, kind):
    """Return the structure of each cutout, None where there is no image."""
    images, bands = cutouts.images, list(map(str, cutouts.bands))
    is_good = np.isfinite(images) if cutouts.kind == 'picture' else np.ones(images.shape, bool)
    if cutouts.mask is not None:
        is_good &= ~cutouts.mask
    if cutouts.kind == 'picture':
        images = np.where(is_good, images, 0).round().clip(0, 255).astype(np.uint8)
    columns = {'flux': images, 'mask': is_good}
    if cutouts.variance is not None:
        # A variance of 0 has an infinite inverse, which is read as 0 again.
        with np.errstate(divide='ignore'):
            columns['ivar'] = np.float32(1) / cutouts.variance
    scale = np.nan if cutouts.pixel_scale is None else cutouts.pixel_scale.value
    columns['scale'] = np.repeat(
        np.broadcast_to(np.float32(scale), len(cutouts))[:, np.newaxis], len(bands), axis=1
    )
    columns = {name: values for name, values in columns.items() if kind.get_field_index(name) >= 0}
    return [
        {'band': bands, **{name: values[row] for name, values in columns.items()}}
        if is_ok
        else None
        for row, is_ok in enumerate(cutouts.is_ok)
    ]


class _Partitions:
    """The files of a HATS catalogue, in the order of their places on the sky."""

    def __init__(self, folder):
        from pyarrow import parquet

        self._files = sorted((folder / 'dataset').rglob('Npix=*.parquet'), key=_start_of)
        abouts = [parquet.read_metadata(file) for file in self._files]
        # The file and number of each group of rows, and where it begins.
        self._groups = [
            (file, number)
            for file, about in zip(self._files, abouts, strict=True)
            for number in range(about.num_row_groups)
        ]
        sizes = [
            about.row_group(number).num_rows
            for about in abouts
            for number in range(about.num_row_groups)
        ]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        self._last = None

    def read_columns(self, header):
        """Read the columns of a schema, with its metadata."""
        import pyarrow as pa
        from pyarrow import parquet

        names = header.names
        tables = [parquet.read_table(file, columns=names) for file in self._files]
        rows = pa.concat_tables(tables, promote_options='permissive').select(names)
        return rows.replace_schema_metadata(header.metadata)

    def read(self, name, rows):
        """Read the images of some rows, or one of their planes."""
        # The planes of a batch are read together, since they stand in one column.
        last = self._last
        if last is None or not np.array_equal(last[0], rows):
            last = self._last = rows, self._read_planes(rows)
        return last[1][name]

    def _read_planes(self, rows):
        shape = (len(rows), *self.shape)
        planes = {name: np.full(shape, blank) for name, blank in PLANES.items()}
        blank = np.nan if self.dtype.kind == 'f' else 0
        planes['images'] = np.full(shape, blank, self.dtype)
        number = np.searchsorted(self._starts, rows, side='right') - 1
        for group in np.unique(number):
            mine = np.flatnonzero(number == group)
            cells = self._read_cells(*self._groups[group])
            for row in mine:
                cell = read_cell(cells[rows[row] - self._starts[group]])
                if cell is None:
                    continue
                cut = cell.select(self.bands)
                planes['images'][row] = cut.image
                for name in PLANES:
                    if getattr(cut, name) is not None:
                        planes[name][row] = getattr(cut, name)
        return planes

    @staticmethod
    def _read_cells(file, group):
        from pyarrow import parquet

        with parquet.ParquetFile(file) as opened:
            return nested.read_objects(opened.read_row_group(group, columns=[IMAGE])[IMAGE])


def _start_of(path):
    """Return the first number in the order of the sky of a partition's file."""
    order = int(re.search(r'Norder=(\d+)', str(path))[1])
    pixel = int(re.search(r'Npix=(\d+)', path.name)[1])
    return pixel << 2 * (29 - order)
