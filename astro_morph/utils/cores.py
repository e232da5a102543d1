# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Count the cores that this process may use."""

import os

__all__ = ['n_cores']


def n_cores():
    """
    Return the number of cores that this process may use, such as those of a job on a cluster.

    Returns
    -------
    n : int
        The number, at least 1.
    """
    if hasattr(os, 'process_cpu_count'):  # from Python 3.13 on
        return os.process_cpu_count() or 1
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
