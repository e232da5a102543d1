# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Annotate a catalogue from file to file, whatever its number of rows, with resume.

The catalogue is read in windows. The rows of a window are sorted by the position of their images on
disk and split into parts. The predictions of each part are kept in a file, so that a run that was
killed continues after the last part. When all parts are complete, their predictions are written
beside the columns of the catalogue, in its order.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from functools import partial
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path

import numpy as np

from astro_morph.catalog.io.chunks import TableChunks, find_representatives, write_chunks
from astro_morph.catalog.io.tables import find_format
from astro_morph.cutouts import CutoutSet, as_source, stream_cutouts
from astro_morph.cutouts.storage import ENDINGS, holds_cutouts
from astro_morph.prediction.annotate import add_columns, provenance, table_of
from astro_morph.prediction.brightness import Brightness
from astro_morph.prediction.predict import Predictions, predict, prepare, request
from astro_morph.utils.files import atomic_file, check_new
from astro_morph.utils.messages import as_written
from astro_morph.utils.progress import progress_bar
from astro_morph.utils.threads import draw_ahead

__all__ = ['annotate_file']

# Rows that are read and sorted together: the more there are, the more of them share an image. With
# a thousand numbers a row they take 65 MB.
WINDOW = 8192

# Rows whose predictions are kept together: a killed run loses some seconds of work.
PART = 2048

# Format of a folder of parts.
FORMAT = 'astro_morph annotation 1'


def annotate_file(
    model,
    input,  # noqa: A002 - what a user calls it
    output,
    *,
    source='auto',
    prefix='morph_',
    overwrite=False,
    resume=False,
    verbose=True,
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
    prefix : str, default='morph_'
        Prefix of the new columns' names.
    overwrite : bool, default=False
        Whether a file, and columns of these names, may be replaced.
    resume : bool, default=False
        Whether to continue a run that was interrupted; if there is none, a new one starts.
    verbose : bool, default=True
        Whether to show the progress.

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
    ValueError
        If the catalogue can't be read or has no images, if columns of these names exist and
        ``overwrite`` is false, if the format of the output does not take the catalogue, or if the
        existing parts are those of another run.
    """
    # A link stays a link, to the new file.
    path, output = Path(input), Path(output).resolve()
    parts = _Parts(output)
    parts.check(overwrite=overwrite, resume=resume)
    windows, n_rows = _open_catalogue(path)
    images = _find_source(source, windows[0], path.parent, model.spec)
    add = partial(add_columns, model.spec, prefix=prefix, overwrite=overwrite)

    # Columns that may not be replaced, and text that a format can't hold, are refused before
    # the work.
    representatives = find_representatives(map(table_of, windows))
    nothing = _no_predictions(model.spec, len(representatives))
    representatives = add(representatives, nothing, provenance=provenance(model.spec))
    _check_format_takes(representatives, output)

    settings = {
        'catalogue': [path.name, path.stat().st_size, path.stat().st_mtime_ns],
        'model': hashlib.sha256(model.spec.to_json().encode()).hexdigest()[:12],
        'source': source if isinstance(source, str) else type(source).__name__,
        'prefix': prefix,
        'rows': [n_rows, WINDOW, PART],
    }
    made_by = parts.start(settings, provenance(model.spec))
    missing = parts.missing(n_rows)
    n_done = n_rows - sum(part.n_rows for part in missing)
    with progress_bar(n_rows, 'annotating', unit='rows', done=n_done, verbose=verbose) as bar:
        brightness = _predict(model, images, windows, missing, parts, bar)
    brightness.warn()

    counts = Counter()
    predictions = _count(parts.read_all(n_rows, model.spec), counts)
    tables = (
        add(table_of(window), its_predictions, provenance=made_by)
        for window, its_predictions in zip(windows, predictions, strict=True)
    )
    write_chunks(
        tables, parts.complete, n_rows=n_rows, representatives=representatives, overwrite=True
    )
    parts.finish()
    return counts


def _predict(model, source, windows, missing, parts, bar):
    """
    Predict and write the missing parts.

    Each step runs in its own thread, a batch ahead of the next: the catalogue is read, images are
    cut and cleaned, the network runs, and the predictions are written. Return the brightness of the
    images.
    """
    brightness = Brightness(model.spec)
    rows = draw_ahead(_read_rows(windows, missing, source))
    cutouts = draw_ahead(_cut(rows, model.spec, source, brightness))
    for part, predictions in draw_ahead(_run(cutouts, model, bar)):
        parts.write(part, predictions)
    return brightness


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


def _cut(rows, spec, source, brightness):
    """Yield each part with its cutouts, ready for the network, batch after batch."""
    for part, X in rows:
        for cutouts in stream_cutouts(X, **request(spec, source)):
            yield part, prepare(spec, cutouts, brightness=brightness)


def _run(cutouts, model, bar):
    """Yield each part with its predictions."""
    for part, batches in groupby(cutouts, key=itemgetter(0)):
        predictions = []
        for _, batch in batches:
            predictions.append(predict(model, batch, is_clean=True))
            bar.update(len(batch))
        yield part, Predictions.join(predictions, model.spec)


def _count(predictions, counts):
    """Yield the predictions of each window, and count the statuses of its rows."""
    for of_window in predictions:
        counts.update(of_window.status.tolist())
        yield of_window


@dataclasses.dataclass(eq=False)
class _Part:
    """A slice of the rows of a window, in the order in which they are fetched."""

    window: int
    start: int
    stop: int
    rows: np.ndarray | None = None  # their numbers in the window

    @property
    def n_rows(self):
        return self.stop - self.start

    @property
    def name(self):
        return f'{self.window:06d}-{self.start:06d}.npz'


class _Parts:
    """The folder that holds the predictions of a run until its output is complete."""

    def __init__(self, output):
        self._output = output
        self._folder = output.with_name(f'{output.name}.parts')
        self._settings_file = self._folder / 'run.json'
        self.complete = self._folder / output.name

    def check(self, *, overwrite, resume):
        """Refuse to replace a file, or to start where there is an unfinished run."""
        find_format(self._output)
        if self._settings_file.exists():
            if not resume:
                msg = (
                    f'{self._folder} holds a run that was stopped; use '
                    f'{as_written("resume", True)} to continue it, or delete the folder'
                )
                raise FileExistsError(msg)
        else:
            check_new(self._output, overwrite=overwrite)

    def start(self, settings, made_by):
        """
        Start a run, or continue the one that was started with the same settings.

        Return the provenance of the run, which has the date of its start.
        """
        # As they would be read from the file.
        settings = json.loads(json.dumps({'format': FORMAT, **settings}))
        if not self._settings_file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps({'settings': settings, 'provenance': made_by})
            with atomic_file(self._settings_file) as aside:
                aside.write_text(text)
            return made_by
        run = json.loads(self._settings_file.read_text())
        for name, expected in settings.items():
            came = run['settings'].get(name)
            if came != expected:
                msg = (
                    f'{self._folder} holds parts of another run, whose {name} is {came}, not '
                    f'{expected}; resume with the settings of that run, or delete the folder'
                )
                raise ValueError(msg)
        return run['provenance']

    def missing(self, n_rows):
        """List the parts that are still missing."""
        there = set(os.listdir(self._folder))
        parts = (part for window in range(_n_windows(n_rows)) for part in _parts_of(window, n_rows))
        return [part for part in parts if part.name not in there]

    def write(self, part, predictions):
        """Write the predictions of a part."""
        arrays = {'rows': part.rows, **predictions._asdict()}
        with atomic_file(self._folder / part.name, overwrite=True) as aside:
            np.savez(aside, **arrays)

    def read_all(self, n_rows, spec):
        """Yield the predictions of each window, in the order of its rows."""
        for window in range(_n_windows(n_rows)):
            rows, predictions = [np.zeros(0, int)], []
            for part in _parts_of(window, n_rows):
                with np.load(self._folder / part.name, allow_pickle=False) as arrays:
                    rows.append(arrays['rows'])
                    predictions.append(Predictions(*map(arrays.get, Predictions._fields)))
            order = np.argsort(np.concatenate(rows))
            yield Predictions(*(values[order] for values in Predictions.join(predictions, spec)))

    def finish(self):
        """Move the complete file to its name, and remove the parts."""
        self.complete.replace(self._output)
        shutil.rmtree(self._folder)


def _n_windows(n_rows):
    # A catalogue without rows is one empty window.
    return max(1, -(-n_rows // WINDOW))


def _parts_of(window, n_rows):
    n_in_window = min(WINDOW, n_rows - window * WINDOW)
    return [
        _Part(window, start, min(start + PART, n_in_window))
        for start in range(0, n_in_window, PART)
    ]


def _open_catalogue(path):
    """Return the windows of a catalogue or of cutouts, and its number of rows."""
    if not path.is_file():
        msg = f'there is no file {str(path)!r}; check its name and folder'
        raise FileNotFoundError(msg)
    if path.suffix in ENDINGS and holds_cutouts(path):
        cutouts = CutoutSet.read(path)
        cutouts = cutouts.replace(table=table_of(cutouts))
        starts = range(0, max(1, len(cutouts)), WINDOW)
        return [cutouts[start : start + WINDOW] for start in starts], len(cutouts)
    windows = TableChunks(path, WINDOW)
    return windows, windows.n_rows


def _find_source(source, X, folder, spec):
    """Return the source of the images; cutouts need none."""
    if isinstance(X, CutoutSet):
        return source
    return as_source(source, X, bands=spec.bands or None, folder=folder)


def _no_predictions(spec, n):
    """Return the masked predictions of rows without images."""
    return Predictions(
        logits=np.full((n, len(spec.classes)), np.nan, np.float32),
        novelty=np.full(n, np.nan, np.float32),
        features=np.zeros((n, 0), np.float32),
        status=np.full(n, 'no_coverage', 'U20'),
        flags=np.zeros(n, np.int32),
    )


def _check_format_takes(table, output):
    """Write a few rows to a temporary file, to check that the format of the output takes them."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / output.name
        write_chunks([table], path, n_rows=len(table), representatives=table[:0])
