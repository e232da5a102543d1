# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Works on many items in several threads."""

import threading
from contextlib import closing
from queue import Empty, SimpleQueue

__all__ = ['draw_ahead', 'work_in_threads']


def work_in_threads(start, items, n_threads, *, is_over):
    """
    Work on items in threads, and give out the results as they come, in any order.

    Once the generator is closed, no item is begun any more; nobody waits for those under way.

    Parameters
    ----------
    start : callable
        Called once in each thread, without arguments; returns what turns an item into its result.
    items : iterable
        What to work on; drawn from as threads become free.
    n_threads : int
        How many threads.
    is_over : `threading.Event`
        Set when the generator ends or is closed.

    Yields
    ------
    results : list
        All results that have come since the last list.

    Raises
    ------
    Exception
        The first that the work on an item raised.
    """
    items, lock, arrivals = iter(items), threading.Lock(), SimpleQueue()
    # Threads that are ahead wait, so that few results are held.
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
        except BaseException as error:  # for the thread that waits for the results
            arrivals.put(error)

    # Daemons: a program that is interrupted ends without waiting for a slow server.
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
    Draw from an iterable in a thread of its own, an item or two ahead of whoever takes them.

    Parameters
    ----------
    items : iterable
        What to draw; once the generator is closed, no more is drawn.

    Yields
    ------
    item : object
        The items, in order.

    Raises
    ------
    Exception
        What drawing raised.

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
    """Wait for something to arrive, and take all that has."""
    taken = [arrivals.get()]
    try:
        while True:
            taken.append(arrivals.get_nowait())
    except Empty:
        return taken
