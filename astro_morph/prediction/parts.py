# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Keep the predictions of a run in parts, so that it can be continued, and by no other run."""

import dataclasses
import json
import os
import re
import zipfile
from contextlib import suppress

import numpy as np

from astro_morph.prediction.predict import Predictions
from astro_morph.utils.files import atomic_file, check_new
from astro_morph.utils.messages import as_written

__all__ = ['Part', 'Parts']

# Format of a folder of parts.
FORMAT = 'astro_morph annotation 2'

# Names of the files in a folder of parts, with those of files that were not complete.
OURS = re.compile(r'run\.json|[0-9]{6,}-[0-9]{6,}\.npz|\.[0-9a-f]{8}-.*')


@dataclasses.dataclass(eq=False)
class Part:
    """
    A slice of the rows of a window, in the order in which they are fetched.

    Parameters
    ----------
    window : int
        Number of the window.
    start, stop : int
        The slice.
    rows : ndarray of int, default=None
        Numbers of the rows in the window.
    """

    window: int
    start: int
    stop: int
    rows: np.ndarray | None = None

    @property
    def n_rows(self):
        return self.stop - self.start

    @property
    def name(self):
        return f'{self.window:06d}-{self.start:06d}.npz'


class Parts:
    """
    The folder that holds the predictions of a run until its output is complete.

    It is created with the first part, and so is its file ``run.json``, which identifies the run.
    This file is the first to be removed, and parts without it belong to no run.

    Parameters
    ----------
    output : `~pathlib.Path`
        The file that the run is to write; the folder has its name, with ``.parts``.

    Attributes
    ----------
    complete : `~pathlib.Path`
        Where the output is written before it gets its name.
    """

    def __init__(self, output):
        self._output = output
        self._folder = output.with_name(f'{output.name}.parts')
        self._run_file = self._folder / 'run.json'
        self._run = None
        self.complete = self._folder / output.name

    def check(self, *, overwrite, resume):
        """
        Refuse to replace a file, or to start where there is a stopped run.

        Parameters
        ----------
        overwrite : bool
            Whether the output may be replaced.
        resume : bool
            Whether a stopped run is to be continued.

        Raises
        ------
        FileExistsError
            If the output exists and may not be replaced, or there is a stopped run.
        ValueError
            If the folder is that of another version, or is damaged.
        """
        self._run = self._read_run()
        if self._run is None or (self._is_finished() and not resume):
            self.discard()
        elif not resume:
            msg = (
                f'{self._folder} holds a run that was stopped; use '
                f'{as_written("resume", True)} to continue it, or delete the folder'
            )
            raise FileExistsError(msg)
        self._check_new(overwrite=overwrite)

    def start(self, settings, made_by, *, overwrite):
        """
        Start a run, or continue the one that was started with the same settings.

        Parameters
        ----------
        settings : dict
            What decides the predictions, as JSON has it.
        made_by : dict
            Provenance of a run that starts now.
        overwrite : bool
            Whether the output may be replaced; a run that is continued keeps this right.

        Returns
        -------
        made_by : dict
            The provenance of the run, with the date of its start.

        Raises
        ------
        ValueError
            If the parts are those of another run.
        """
        if self._run and self._run['settings'] != settings and self._is_finished():
            # Only the removal of its parts was left to do.
            self.discard()
            self._check_new(overwrite=overwrite)
        if self._run is None:
            self._run = {'settings': settings, 'provenance': made_by, 'overwrite': overwrite}
        self._run['overwrite'] |= overwrite
        self.refuse_other(settings)
        return self._run['provenance']

    def refuse_other(self, settings):
        """
        Refuse to go on with other settings than those of the run.

        Parameters
        ----------
        settings : dict
            As for `start`.
        """
        for name, expected in settings.items():
            came = self._run['settings'].get(name)
            if came != expected:
                msg = (
                    f'{self._folder} holds parts of another run, whose {name} is {came}, not '
                    f'{expected}; resume with the settings of that run, or delete the folder'
                )
                raise ValueError(msg)

    def begin(self):
        """Create the folder, unless it exists."""
        if not self._run_file.exists():
            self._folder.mkdir(exist_ok=True)
            self._write_run()

    def missing(self, plan):
        """
        List the parts that are still missing.

        Parameters
        ----------
        plan : iterable of list of `Part`
            The parts of each window.

        Returns
        -------
        missing : list of `Part`
            Those that are not in the folder.
        """
        there = self._names()
        return [part for parts in plan for part in parts if part.name not in there]

    def write(self, part, predictions):
        """
        Write the predictions of a part.

        Parameters
        ----------
        part : `Part`
            The part, with its rows.
        predictions : `~astro_morph.prediction.predict.Predictions`
            Their predictions.
        """
        self.begin()
        arrays = {'rows': part.rows, **predictions._asdict()}
        with atomic_file(self._folder / part.name, overwrite=True) as aside:
            np.savez(aside, **arrays)

    def read_all(self, plan, spec, *, n_features=0):
        """
        Yield the predictions of each window, in the order of its rows.

        Parameters
        ----------
        plan : iterable of list of `Part`
            The parts of each window.
        spec : `~astro_morph.models.spec.ModelSpec`
            The specification of the model.
        n_features : int, default=0
            Number of features that the predictions have.

        Yields
        ------
        predictions : `~astro_morph.prediction.predict.Predictions`
            Those of the next window.

        Raises
        ------
        ValueError
            If the file of a part is damaged.
        """
        for parts in plan:
            rows, predictions = [np.zeros(0, int)], []
            for part in parts:
                its_rows, its_predictions = self._read(part)
                rows.append(its_rows)
                predictions.append(its_predictions)
            order = np.argsort(np.concatenate(rows))
            predictions = Predictions.join(predictions, spec, n_features=n_features)
            yield Predictions(*(values[order] for values in predictions))

    def finish(self):
        """Move the complete file to its name, and remove the parts."""
        self._check_new(overwrite=self._run['overwrite'])
        # If the process is killed before the parts are removed, the file is known by its date.
        self._write_run(finished=_date(self.complete))
        self.complete.replace(self._output)
        self.discard()

    def _read(self, part):
        """Read the rows of a part in their window, and their predictions."""
        path = self._folder / part.name
        try:
            with path.open('rb') as file, np.load(file, allow_pickle=False) as arrays:
                return arrays['rows'], Predictions(*(arrays[name] for name in Predictions._fields))
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            msg = (
                f'{path} is damaged ({error}); delete it, and use {as_written("resume", True)} to '
                'compute it again'
            )
            raise ValueError(msg) from error

    def _read_run(self):
        """Return what ``run.json`` says, None if there is no run of which a part is complete."""
        if not any(name.endswith('.npz') and name[0] != '.' for name in self._names()):
            return None
        try:
            run = json.loads(self._run_file.read_text())
            version = run['settings']['format']
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            msg = f'{self._run_file} is damaged; delete the folder to start anew'
            raise ValueError(msg) from error
        if version != FORMAT:
            msg = (
                f'{self._folder} holds parts of the format {version!r}, expected {FORMAT!r}; '
                'continue with the version of astro_morph that wrote them, or delete the folder'
            )
            raise ValueError(msg)
        return run

    def _write_run(self, **changes):
        self._run |= changes
        with atomic_file(self._run_file, overwrite=True) as aside:
            aside.write_text(json.dumps(self._run))

    def _check_new(self, *, overwrite):
        """Refuse to replace a file that is not of this run, unless the run may."""
        may_replace = self._run is not None and (self._run['overwrite'] or self._is_finished())
        check_new(self._output, overwrite=overwrite or may_replace)

    def _is_finished(self):
        """Return whether the output is that of the run, of which some files are left."""
        finished = self._run and self._run.get('finished')
        return bool(finished) and self._output.exists() and _date(self._output) == finished

    def _names(self):
        """Return the names of the files that a run has written."""
        names = os.listdir(self._folder) if self._folder.is_dir() else []
        return {name for name in names if name == self.complete.name or OURS.fullmatch(name)}

    def discard(self):
        """Remove the files of a run, first of all that which identifies it, but no others."""
        self._run = None
        names = self._names()
        for name in sorted(names, key=self._run_file.name.__ne__):
            (self._folder / name).unlink()
        with suppress(OSError):
            self._folder.rmdir()


def _date(path):
    """Return size and time of a file, which stay when it is renamed."""
    about = path.stat()
    return [about.st_size, about.st_mtime_ns]
