# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Annotate a catalogue from file to file, whatever its number of rows, with resume.

The catalogue is read in windows. The rows of a window are sorted by the position of their images on
disk and split into parts. The predictions of each part are kept in a file, so that a run that was
killed continues after the last part. When all parts are complete, their predictions are written
beside the columns of the catalogue, in its order.
"""

import dataclasses
import json
import os
import tempfile
from collections import Counter
from functools import partial
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path

import numpy as np

from astro_morph.catalog.io.chunks import TableChunks, find_representatives, write_chunks
from astro_morph.catalog.io.tables import find_format
from astro_morph.cutouts import CutoutSet, as_source
from astro_morph.cutouts.outcome import Outcome
from astro_morph.cutouts.storage import ENDINGS, holds_cutouts
from astro_morph.prediction.annotate import add_columns, provenance, table_of
from astro_morph.prediction.brightness import Brightness
from astro_morph.prediction.embedding import check_embedding
from astro_morph.prediction.framing import stream_framed
from astro_morph.prediction.parts import FORMAT, Part, Parts
from astro_morph.prediction.predict import Predictions, predict, prepare, request
from astro_morph.utils.files import locked
from astro_morph.utils.identity import describe, fingerprint
from astro_morph.utils.progress import progress_bar
from astro_morph.utils.threads import draw_ahead

__all__ = ['annotate_file', 'divide', 'find_source', 'open_catalog', 'plan', 'predict_parts']

# Rows that are read and sorted together, and the bytes that they may take, which fewer rows take
# if the catalogue has images in its columns. The more rows, the more of them share an image.
WINDOW = 8192
WINDOW_BYTES = 2**26

# Rows whose predictions are kept together: a killed run loses some seconds of work.
PART = 2048


def annotate_file(
    model,
    input,  # noqa: A002 - what a user calls it
    output,
    *,
    source='auto',
    columns=None,
    embedding=None,
    prefix='morph_',
    overwrite=False,
    resume=False,
    verbose=True,
    check=None,
):
    """
    Add a model's columns to a catalogue in a file, in memory that does not grow with its rows.

    FITS, Parquet, HDF5 and CSV files are read and written in chunks of rows. ECSV and VOTable
    files are read and written whole, and must fit into memory.

    Parameters
    ----------
    model : object
        As in `~astro_morph.models.running.run_batches`.
    input : path-like
        The catalogue, in a format that `~astro_morph.catalog.io.tables.read_table` knows; or the
        cutouts that ``astro-morph fetch`` has written.
    output : path-like
        The file of the annotated catalogue, in any of these formats, written atomically. Until it
        is complete, the folder of the same name with ``.parts`` holds the predictions so far.
    source : `~astro_morph.cutouts.CutoutSource` or str, default='auto'
        Where the cutouts come from, see `~astro_morph.cutouts.as_source`. Relative image paths in
        the catalogue start from its folder.
    columns : sequence of str, default=None
        The columns of a model of votes, see `~astro_morph.prediction.votes.vote_columns`.
    embedding : int, default=None
        Number of principal components of the features in the column ``morph_embedding``, see
        `~astro_morph.prediction.embedding.Embedding`; no column if None.
    prefix : str, default='morph_'
        Prefix of the new columns' names.
    overwrite : bool, default=False
        Whether a file, and columns of these names, may be replaced.
    resume : bool, default=False
        Whether to continue a run that was stopped; if there is none, a new one starts. The
        catalogue, the model, the source with its settings, ``embedding`` and ``prefix`` must be
        the same.
    verbose : bool, default=True
        Whether to show the progress.
    check : callable, default=None
        Called before the output gets its name, with ``counts`` and a text that is empty unless no
        row has an image; if it raises, nothing is kept.

    Returns
    -------
    counts : `~collections.Counter`
        Number of rows of each status: ``'ok'``, or the reason why there is no prediction.

    Raises
    ------
    FileNotFoundError
        If there is no catalogue.
    FileExistsError
        If the file exists and ``overwrite`` is false, or parts of it exist and ``resume`` is
        false.
    BlockingIOError
        If another run is writing the file.
    ValueError
        If the catalogue can't be read or has no images, if columns of these names exist and
        ``overwrite`` is false, if the format of the output does not take the catalogue, or if the
        existing parts are those of another run.
    """
    # A link stays a link, to the new file.
    path, output = Path(input), Path(output).resolve()
    find_format(output)
    with locked(output):
        parts = Parts(output)
        parts.check(overwrite=overwrite, resume=resume)
        added = {'columns': columns, 'prefix': prefix, 'overwrite': overwrite}
        counts, outcome = _annotate(
            model, path, parts, added, source=source, embedding=embedding, verbose=verbose
        )
        if check is not None:
            try:
                check(counts, outcome.text)
            except Exception:
                parts.discard()
                raise
        outcome.warn()
        parts.finish()
        return counts


def _annotate(model, path, parts, added, *, source, embedding, verbose):
    """Annotate a catalogue that no other run annotates, and write the table beside its parts."""
    check_embedding(model.spec, embedding)
    windows, n_rows, window = open_catalog(path)
    images = find_source(source, windows[0], model.spec, folder=path.parent)
    add = partial(add_columns, model.spec, **added)

    # Columns that may not be replaced, and text that a format can't hold, are refused before
    # the work.
    representatives = find_representatives(map(table_of, windows))
    nothing = _no_predictions(model.spec, len(representatives), embedding or 0)
    representatives = add(representatives, nothing, provenance=provenance(model.spec))
    _check_format_takes(representatives, parts.complete.name)

    rows = n_rows, window, PART
    identify = partial(_identify, model, path, images, added | {'embedding': embedding}, rows)
    made_by = parts.start(identify(), provenance(model.spec), overwrite=added['overwrite'])
    missing = parts.missing(plan(n_rows, window))
    n_done = n_rows - sum(part.n_rows for part in missing)
    with progress_bar(n_rows, 'annotating', unit='rows', done=n_done, verbose=verbose) as bar:
        brightness, outcome = predict_parts(
            model, images, windows, missing, parts.write, bar=bar, embedding=embedding
        )
    brightness.warn()
    # The catalogue is read again, and may have been replaced meanwhile.
    parts.refuse_other(identify())

    parts.begin()  # of a catalogue without rows, no part is written
    counts = Counter()
    predictions = _count(
        parts.read_all(plan(n_rows, window), model.spec, n_features=embedding or 0), counts
    )
    tables = (
        add(table_of(window), its_predictions, provenance=made_by)
        for window, its_predictions in zip(windows, predictions, strict=True)
    )
    write_chunks(
        tables, parts.complete, n_rows=n_rows, representatives=representatives, overwrite=True
    )
    return counts, outcome


def _identify(model, path, source, added, rows):
    """Return what decides the predictions of each part, as JSON has it."""
    about = path.stat()
    settings = {
        'format': FORMAT,
        'catalogue': [os.path.abspath(path), about.st_size, about.st_mtime_ns],
        'model': fingerprint(model.spec.to_json()),
        'source': describe(source),
        'prefix': added['prefix'],
        'embedding': added['embedding'],
        'rows': rows,
    }
    return json.loads(json.dumps(settings))


def predict_parts(model, source, windows, parts, write, *, bar, **options):
    """
    Predict and write parts of a catalogue.

    Each step runs in its own thread, a batch ahead of the next: the catalogue is read, images are
    cut and cleaned, the network runs, and the predictions are written.

    Parameters
    ----------
    model : object
        As in `~astro_morph.models.running.run_batches`.
    source : `~astro_morph.cutouts.CutoutSource`
        Where the cutouts come from, as `find_source` returns it.
    windows : sequence of `~astro_morph.CutoutSet` or `~astropy.table.Table`
        The windows of the catalogue.
    parts : list of `~astro_morph.prediction.parts.Part`
        The parts, in order.
    write : callable
        Called with each part, which knows its rows, and its predictions.
    bar : progress bar
        Its ``update`` is called with the number of rows done.
    **options
        ``with_features`` and ``embedding`` of `~astro_morph.prediction.predict.predict`.

    Returns
    -------
    brightness : `~astro_morph.prediction.brightness.Brightness`
        The brightness of the images, of which the caller warns.
    outcome : `~astro_morph.cutouts.outcome.Outcome`
        Their statuses, likewise.
    """
    brightness, outcome = Brightness(model.spec), Outcome()
    rows = draw_ahead(_read_rows(windows, parts, source))
    cutouts = draw_ahead(_cut(rows, model.spec, source, brightness, outcome))
    for part, predictions in draw_ahead(_run(cutouts, model, bar, options)):
        write(part, predictions)
    return brightness, outcome


def _read_rows(windows, missing, source):
    """Yield each part and its rows of the catalogue."""
    for number, its_parts in groupby(missing, key=attrgetter('window')):
        window = windows[number]
        # A file of cutouts is already in the order of its rows.
        order = None if isinstance(window, CutoutSet) else source.order(window)
        for part in its_parts:
            span = slice(part.start, part.stop)
            rows = np.arange(part.start, part.stop) if order is None else order[span]
            # A copy: the list of missing parts is kept to the end, without row numbers.
            part = dataclasses.replace(part, rows=rows)
            yield part, window[span if order is None else rows]


def _cut(rows, spec, source, brightness, outcome):
    """Yield each part with its cutouts, ready for the network, batch after batch."""
    for part, X in rows:
        for cutouts in stream_framed(X, **request(spec, source), outcome=outcome):
            yield part, prepare(spec, cutouts, brightness=brightness)


def _run(cutouts, model, bar, options):
    """Yield each part with its predictions."""
    for part, batches in groupby(cutouts, key=itemgetter(0)):
        predictions = []
        for _, batch in batches:
            predictions.append(predict(model, batch, is_clean=True, **options))
            bar.update(len(batch))
        yield part, Predictions.join(predictions, model.spec)


def _count(predictions, counts):
    """Yield the predictions of each window, and count the statuses of its rows."""
    for of_window in predictions:
        counts.update(of_window.status.tolist())
        yield of_window


def plan(n_rows, window):
    """
    Divide the windows of a catalogue into parts.

    Parameters
    ----------
    n_rows, window : int
        Numbers of rows of the catalogue and of a window.

    Yields
    ------
    parts : list of `~astro_morph.prediction.parts.Part`
        The parts of the next window.
    """
    # A catalogue without rows is one empty window.
    for number in range(max(1, -(-n_rows // window))):
        n_in_window = min(window, n_rows - number * window)
        yield [
            Part(number, start, min(start + PART, n_in_window))
            for start in range(0, n_in_window, PART)
        ]


def open_catalog(path):
    """
    Open a file of a catalogue or of cutouts, to be read in windows.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.

    Returns
    -------
    windows : sequence of `~astro_morph.CutoutSet` or `~astropy.table.Table`
        Its windows.
    n_rows, window : int
        Numbers of rows of the catalogue and of a window.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    is_of_cutouts = path.suffix in ENDINGS and path.exists() and holds_cutouts(path)
    if not path.is_file() and not is_of_cutouts:
        msg = f'there is no file {str(path)!r}; check its name and folder'
        raise FileNotFoundError(msg)
    if is_of_cutouts:
        cutouts = CutoutSet.read(path)
        return divide(cutouts.replace(table=table_of(cutouts)))
    windows = TableChunks(path, WINDOW, most_bytes=WINDOW_BYTES)
    return windows, windows.n_rows, windows.size


def divide(X):
    """
    Divide samples in memory into windows.

    Parameters
    ----------
    X : `~astro_morph.CutoutSet`, `~astropy.table.Table` or ndarray
        The samples.

    Returns
    -------
    windows, n_rows, window
        As from `open_catalog`.
    """
    starts = range(0, max(1, len(X)), WINDOW)
    return [X[start : start + WINDOW] for start in starts], len(X), WINDOW


def find_source(source, X, spec, *, folder=None):
    """
    Return the source of the images of a catalogue; cutouts need none.

    Parameters
    ----------
    source : `~astro_morph.cutouts.CutoutSource` or str
        As in `annotate_file`.
    X : `~astro_morph.CutoutSet` or `~astropy.table.Table`
        The first window of the catalogue.
    spec : `~astro_morph.models.spec.ModelSpec`
        The specification of the model.
    folder : path-like, default=None
        Folder from which relative image paths start; the working folder if None.

    Returns
    -------
    source : `~astro_morph.cutouts.CutoutSource` or str
        The source.
    """
    if isinstance(X, CutoutSet):
        return source
    return as_source(source, X, bands=spec.bands or None, folder=folder)


def _no_predictions(spec, n, n_features):
    """Return the masked predictions of rows without images."""
    return Predictions(
        logits=np.full((n, spec.n_outputs), np.nan, np.float32),
        novelty=np.full(n, np.nan, np.float32),
        features=np.full((n, n_features), np.nan, np.float32),
        status=np.full(n, 'no_coverage', 'U20'),
        flags=np.zeros(n, np.int32),
    )


def _check_format_takes(table, name):
    """Write a few rows to a temporary file of that name, to check that its format takes them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_chunks([table], path, n_rows=len(table), representatives=table[:0], overwrite=True)
