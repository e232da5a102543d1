# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What several requests need, fetched once."""

import threading
from collections import OrderedDict
from concurrent.futures import Future

from astro_morph.cutouts.fetching.failures import FetchError
from astro_morph.images.reading import decode_fits_file, find_image_hdu, read_pixels

__all__ = ['RecentDownloads', 'fetch_image']


class RecentDownloads:
    """
    Fetches things for all threads, and keeps those used last.

    What failed is not kept. A pickle holds nothing of what came.

    Parameters
    ----------
    n_kept : int
        How many things to keep.

    Examples
    --------
    >>> from astro_morph.cutouts.fetching.downloads import RecentDownloads
    >>> recent = RecentDownloads(10)
    >>> recent.get('a', fetch=lambda: print('fetching') or 5)
    fetching
    5
    >>> recent.get('a', fetch=lambda: print('fetching') or 5)
    5
    """

    def __init__(self, n_kept):
        self._n_kept = n_kept
        self._lock = threading.Lock()
        self._results = OrderedDict()

    def __reduce__(self):
        return RecentDownloads, (self._n_kept,)

    def get(self, key, fetch):
        """
        Return what ``fetch()`` gave for a key.

        A thread that wants what another fetches waits for it, and fails if that one does.

        Parameters
        ----------
        key : object
            What tells one download from another; hashable.
        fetch : callable
            Called without arguments where the download is not among the recent ones.

        Returns
        -------
        result : object
            What ``fetch()`` gave, now or before.
        """
        with self._lock:
            is_new = key not in self._results
            result = self._results.setdefault(key, Future())
            self._results.move_to_end(key)
            if len(self._results) > self._n_kept:
                self._results.popitem(last=False)
        if is_new:
            try:
                result.set_result(fetch())
            except BaseException as error:
                with self._lock:
                    self._results.pop(key, None)
                result.set_exception(error)
        return result.result()


def fetch_image(url, session):
    """
    Fetch a FITS image as a whole.

    Parameters
    ----------
    url : str
        Its address.
    session : `requests.Session`
        What to fetch it with.

    Returns
    -------
    image : `~astropy.io.fits.PrimaryHDU`, `~astropy.io.fits.ImageHDU`...
        The first image in the file, its pixels read.

    Raises
    ------
    FetchError
        If there is no such file.
    ImageError
        If the file holds no image, or ends too early.
    """
    response = session.get(url)
    if not response.ok:
        raise FetchError(status=f'http_{response.status_code}', message=f'{url} is refused')
    image = find_image_hdu(decode_fits_file(response.content))
    read_pixels(image)
    return image
