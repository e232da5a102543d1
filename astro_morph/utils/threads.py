# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Process many items in several threads."""

import threading
from contextlib import closing
from queue import Empty, SimpleQueue

__all__ = ['draw_ahead', 'work_in_threads']


def work_in_threads(start, items, n_threads, *, is_over):
    """
    Process items in threads, and yield the results as they arrive, in any order.

    After the generator is closed, no more items are started, and running ones are not waited for.

    Parameters
    ----------
    start : callable
        Called once in each thread, without arguments; returns the function that is called with
        each item and returns its result.
    items : iterable
        The items, drawn as threads become free.
    n_threads : int
        Number of threads.
    is_over : `threading.Event`
        Set when the generator ends or is closed.

    Yields
    ------
    results : list
        All results since the last list.

    Raises
    ------
    Exception
        The first exception of the work.
    """
    items, lock, arrivals = iter(items), threading.Lock(), SimpleQueue()
    # Threads that are ahead wait, so that few results are in memory.
    tickets = threading.Semaphore(2 * n_threads)

    def draw():
        with lock:
            return next(items, None)

    def work_until_over():
        try:
            work = start()
            while tickets.acquire() and not is_over.is_set() and (item := draw()) is not None:
                arrivals.put(work(item))
            arrivals.put(None)
        except BaseException as error:  # raised in the thread that waits for the results
            arrivals.put(error)

    # Daemons, so that an interrupted program does not wait for a slow server.
    for _ in range(n_threads):
        threading.Thread(target=work_until_over, daemon=True).start()
    n_working = n_threads
    try:
        while n_working:
            results = []
            for arrival in _take_all(arrivals):
                if isinstance(arrival, BaseException):
                    raise arrival
                if arrival is None:
                    n_working -= 1
                else:
                    results.append(arrival)
            if results:
                yield results
                tickets.release(len(results))
    finally:
        is_over.set()
        tickets.release(n_threads)


def draw_ahead(items):
    """
    Draw from an iterable in a separate thread, an item or two ahead of the consumer.

    Parameters
    ----------
    items : iterable
        The items; after the generator is closed, no more are drawn.

    Yields
    ------
    item : object
        The items, in order.

    Raises
    ------
    Exception
        The exception of the iterable.

    Examples
    --------
    >>> from astro_morph.utils.threads import draw_ahead
    >>> list(draw_ahead(range(5)))
    [0, 1, 2, 3, 4]
    """
    drawn = work_in_threads(lambda: lambda item: item, items, 1, is_over=threading.Event())
    with closing(drawn):
        for arrived in drawn:
            yield from arrived


def _take_all(arrivals):
    """Wait for an arrival, and return all that have arrived."""
    taken = [arrivals.get()]
    try:
        while True:
            taken.append(arrivals.get_nowait())
    except Empty:
        return taken
