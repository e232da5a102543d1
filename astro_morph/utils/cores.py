# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""How many cores there are to use."""

import os

__all__ = ['n_cores']


def n_cores():
    """
    Count the cores that this process may use: a job on a cluster has a part of its machine.

    Returns
    -------
    n : int
        Their number, at least 1.
    """
    if hasattr(os, 'process_cpu_count'):  # from Python 3.13 on
        return os.process_cpu_count() or 1
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
