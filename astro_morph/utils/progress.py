# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Show the progress bar of long work."""

import os
import sys

__all__ = ['progress_bar']


def progress_bar(total, description, *, unit='images', done=0, verbose=True):
    """
    Return a progress bar, shown if the work takes longer than two seconds.

    Parameters
    ----------
    total : int
        Number of items.
    description : str
        Name of the work.
    unit : str, default='images'
        Name of the items.
    done : int, default=0
        Number of items done in an earlier run.
    verbose : bool, default=True
        Whether to show the bar; of several processes, only the first shows it.

    Returns
    -------
    bar : `tqdm.tqdm`
        Call its ``update`` with the number of items done.
    """
    from tqdm.auto import tqdm

    # torchrun numbers the processes that it starts.
    is_first = os.environ.get('RANK', '0') == '0'
    return tqdm(
        total=total,
        desc=description,
        unit=f' {unit}',
        unit_scale=True,
        initial=done,
        delay=2,
        # Fewer lines in a log file.
        mininterval=0.5 if sys.stderr.isatty() else 10,
        disable=not (verbose and is_first),
    )
