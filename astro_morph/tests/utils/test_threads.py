# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tests of items processed in threads."""

import threading
import time

import pytest

from astro_morph.utils.threads import draw_ahead


def wait_until(is_true):
    """Wait for another thread; a test that waits in vain fails after ten seconds."""
    deadline = time.monotonic() + 10
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert is_true()


def test_items_come_in_order_and_few_ahead():
    drawn = []
    items = draw_ahead(drawn.append(i) or i for i in range(20))
    for expected in range(20):
        assert next(items) == expected
        # One that is taken, and two that are ready or under way.
        assert len(drawn) <= expected + 3
    assert next(items, None) is None


def test_next_item_is_drawn_meanwhile():
    is_drawn = threading.Event()

    def items():
        yield 1
        is_drawn.set()
        yield 2

    ahead = draw_ahead(items())
    assert next(ahead) == 1
    assert is_drawn.wait(10)
    assert next(ahead) == 2


def test_error_reaches_who_takes():
    def items():
        yield 1
        msg = 'broken'
        raise ValueError(msg)

    with pytest.raises(ValueError, match='broken'):
        list(draw_ahead(items()))


def test_closing_ends_a_chain_of_threads():
    n_before = threading.active_count()
    chain = draw_ahead(draw_ahead(draw_ahead(iter(range(10**9)))))
    next(chain)
    assert threading.active_count() == n_before + 3
    chain.close()
    wait_until(lambda: threading.active_count() == n_before)
