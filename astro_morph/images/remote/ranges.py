# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Choose which ranges of a file to read for many small boxes of its image, and read those."""

import numpy as np

__all__ = ['RangePixels', 'merge_ranges']

# Pixels that may be read for each pixel asked for, so that there are fewer requests. With headers,
# and the corners of boxes that are turned, these are twice the bytes.
MOST_READ = 1.9

# Bytes of a range at most, so that several are under way at any time.
LONGEST = 2**22


def merge_ranges(starts, ends, most, *, longest=LONGEST):
    """
    Return the fewest ranges that contain some pieces of a file.

    Pieces that overlap are read once; those with the smallest gaps between them are read together.

    Parameters
    ----------
    starts, ends : `~numpy.ndarray` of int, shape (n,)
        The start of each piece, and its end, which it does not contain; in any order.
    most : int
        Length of all ranges at most, unless the pieces themselves are longer.
    longest : int, default=LONGEST
        Length of a range at most.

    Returns
    -------
    starts, ends : `~numpy.ndarray` of int
        The ranges, in order, without overlap.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.images.remote.ranges import merge_ranges
    >>> starts, ends = merge_ranges(np.array([0, 12, 90]), np.array([10, 20, 100]), most=40)
    >>> print(starts, ends)
    [ 0 90] [ 20 100]
    """
    order = np.argsort(starts, kind='stable')
    starts, ends = starts[order], np.maximum.accumulate(ends[order])
    gaps = starts[1:] - ends[:-1]
    spare = most - (ends[-1] - starts[0] - gaps[gaps > 0].sum())
    shortest_first = np.argsort(gaps, kind='stable')
    is_apart = np.ones(len(gaps), bool)
    is_apart[shortest_first] = np.cumsum(np.maximum(gaps[shortest_first], 0)) > max(spare, 0)
    starts = starts[np.concatenate([[True], is_apart])]
    ends = ends[np.concatenate([is_apart, [True]])]
    n_parts = -(-(ends - starts) // longest)
    number = np.arange(n_parts.sum()) - np.repeat(np.cumsum(n_parts) - n_parts, n_parts)
    starts = np.repeat(starts, n_parts) + number * longest
    return starts, np.minimum(starts + longest, np.repeat(ends, n_parts))


class RangePixels:
    """
    The pixels of an uncompressed image in a file that is elsewhere, read only where needed.

    Parameters
    ----------
    read : callable
        ``read(starts, ends)`` returns the bytes of each range of the file, a list.
    layout : `~astro_morph.images.tiles.Layout`
        Where the pixels lie in the file.
    shape : tuple
        (plane, y, x).
    plane : int, default=None
        The plane, chosen by an index; None for all.
    """

    #: Pixels are kept only while a batch of cutouts is made.
    nbytes = 0

    def __init__(self, read, layout, shape, plane=None):
        self._read = read
        self._layout = layout
        self._whole = shape
        self._plane = plane
        self.shape = shape if plane is None else shape[1:]

    def __getitem__(self, index):
        if self._plane is None:
            # Whoever iterates over the planes is told where they end.
            plane = range(self._whole[0])[index]
            return RangePixels(self._read, self._layout, self._whole, plane)
        rows, columns = (
            range(*part.indices(length)) for part, length in zip(index, self.shape, strict=True)
        )
        box = np.array([[columns.start, rows.start]]), np.array([[columns.stop, rows.stop]])
        return self._read_boxes(*box, len(rows) * len(columns))[index]

    def read_boxes(self, corners, size, *, margin=0):
        """
        Read the pixels of square boxes, all at once.

        At most twice the pixels asked for are read, unless the margins alone are more.

        Parameters
        ----------
        corners : `~numpy.ndarray` of int, shape (n, 2)
            The first pixel (x, y) of each box, which may lie outside the image.
        size : int
            Side of the boxes in pixels.
        margin : int, default=0
            Pixels on each side of a box that nobody asked for, as they only help to resample it.

        Returns
        -------
        pixels : array_like, shape (y, x)
            The image, from which these boxes can be sliced.

        Raises
        ------
        ImageError
            If a range can't be read.
        """
        last = np.array(self.shape[::-1])
        first, end = np.clip(corners, 0, last), np.clip(corners + size, 0, last)
        return self._read_boxes(first, end, len(corners) * (size - 2 * margin) ** 2)

    def _read_boxes(self, first, end, n_asked):
        ny, nx = self.shape
        heights = np.where(end[:, 0] > first[:, 0], np.maximum(end - first, 0)[:, 1], 0)
        box = np.repeat(np.arange(len(first)), heights)
        if not len(box):
            return _Pieces(self.shape, np.zeros(1, int), np.zeros(1, int), self._layout, b'')
        row = np.arange(len(box)) - np.repeat(np.cumsum(heights) - heights, heights)
        rows = ((self._plane or 0) * ny + first[box, 1] + row) * nx
        starts, ends = merge_ranges(
            rows + first[box, 0],
            rows + end[box, 0],
            MOST_READ * n_asked,
            longest=LONGEST // self._layout.dtype.itemsize,
        )
        in_file = self._layout.offset + self._layout.dtype.itemsize * np.stack([starts, ends])
        content = b''.join(self._read(*in_file.tolist()))
        return _Pieces(
            self.shape,
            starts - (self._plane or 0) * ny * nx,
            np.cumsum(ends - starts) - (ends - starts),
            self._layout,
            content,
        )


class _Pieces:
    """The pixels of an image that were read: ``places`` in ``content`` by the first pixels."""

    def __init__(self, shape, starts, places, layout, content):
        self.shape = shape
        self._starts, self._places = starts, places
        self._layout = layout
        self._raw = np.frombuffer(content, layout.dtype)

    def __getitem__(self, index):
        y, x = (
            np.arange(*part.indices(length)) for part, length in zip(index, self.shape, strict=True)
        )
        if not len(x) or not len(y):
            return np.empty((len(y), len(x)), np.float32)
        first = y * self.shape[1] + x[0]
        piece = np.searchsorted(self._starts, first, side='right') - 1
        places = self._places[piece] + first - self._starts[piece]
        return self._layout.to_values(self._raw[places[:, np.newaxis] + np.arange(len(x))])
