# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The progress bar of all that takes long."""

import os
import sys

__all__ = ['progress_bar']


def progress_bar(total, description, *, unit='images', done=0, verbose=True):
    """
    Make a progress bar, shown when the work takes longer than two seconds.

    Parameters
    ----------
    total : int
        How many are to be done.
    description : str
        What is being done.
    unit : str, optional
        What is counted.
    done : int, optional
        How many an earlier run has done.
    verbose : bool, optional
        False for none; of several processes, only the first one shows it.

    Returns
    -------
    bar : `tqdm.tqdm`
        Call its ``update`` with the number done.
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
        # A log file is not to be filled with bars.
        mininterval=0.5 if sys.stderr.isatty() else 10,
        disable=not (verbose and is_first),
    )
