# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Download FITS files, and keep recent ones that several requests need."""

import threading
from collections import OrderedDict
from concurrent.futures import Future

from astro_morph.cutouts.fetching.failures import FetchError
from astro_morph.images.reading import decode_fits_file, find_image_hdu, read_pixels

__all__ = ['RecentDownloads', 'fetch_bytes', 'fetch_fits', 'fetch_image']


class RecentDownloads:
    """
    Downloads shared by all threads, of which those used last are kept.

    Failures are not kept. A pickle holds no downloads.

    Parameters
    ----------
    n_kept : int
        Number of downloads to keep.

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
        Return the result of ``fetch()`` for a key.

        If another thread is fetching the same key, wait for it, and fail if it fails.

        Parameters
        ----------
        key : object
            Identifies the download; hashable.
        fetch : callable
            Called without arguments if the download is not among the recent ones.

        Returns
        -------
        result : object
            The result of ``fetch()``, from this call or an earlier one.
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
                self._drop(key, result)
                result.set_exception(error)
        return result.result()

    def forget(self, key, value):
        """
        Drop the result for a key, if it still is a given one.

        Parameters
        ----------
        key : object
            Identifies the download.
        value : object
            The result that is of no more use; another thread may have fetched a new one.
        """
        with self._lock:
            result = self._results.get(key)
        if result is not None and result.done() and result.result() is value:
            self._drop(key, result)

    def _drop(self, key, result):
        with self._lock:
            if self._results.get(key) is result:
                del self._results[key]


def fetch_bytes(url, session):
    """
    Download anything.

    Parameters
    ----------
    url : str
        Its address.
    session : `requests.Session`
        The session that sends the request.

    Returns
    -------
    content : bytes
        The content of the answer.

    Raises
    ------
    FetchError
        If the server answers with an error.
    """
    response = session.get(url)
    if not response.ok:
        code = response.status_code
        raise FetchError(status=f'http_{code}', message=f'{url} answers {code}')
    return response.content


def fetch_fits(url, session):
    """
    Download a FITS file.

    Parameters
    ----------
    url, session
        As in `fetch_bytes`.

    Returns
    -------
    hdus : `~astropy.io.fits.HDUList`
        The content of the file.

    Raises
    ------
    FetchError
        If the server answers with an error.
    ImageError
        If the answer is no FITS file.
    """
    return decode_fits_file(fetch_bytes(url, session))


def fetch_image(url, session):
    """
    Download the first image of a FITS file.

    Parameters
    ----------
    url, session
        As in `fetch_fits`.

    Returns
    -------
    image : `~astropy.io.fits.PrimaryHDU`, `~astropy.io.fits.ImageHDU`...
        The image, with its pixels read.

    Raises
    ------
    FetchError
        If the server answers with an error.
    ImageError
        If the file holds no image, or is truncated.
    """
    image = find_image_hdu(fetch_fits(url, session))
    read_pixels(image)
    return image
