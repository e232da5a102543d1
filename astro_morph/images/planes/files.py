# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Find the files that hold variance and mask beside the file of an image."""

import itertools
import os

from astro_morph.images.companions import split_name
from astro_morph.images.planes.finding import choose_planes

__all__ = ['CompanionFiles', 'Siblings']


class CompanionFiles:
    """
    Files whose names differ from that of their image by words such as ``invvar`` or ``mask``.

    Parameters
    ----------
    paths : sequence of str
        The files, among others.

    Examples
    --------
    >>> from astro_morph.images.planes.files import CompanionFiles
    >>> files = CompanionFiles(['a-invvar-r.fits', 'a-invvar-g.fits', 'a-maskbits.fits'])
    >>> files.find('a-image-r.fits', band='r')
    {'inverse': 'a-invvar-r.fits', 'mask': 'a-maskbits.fits'}
    """

    def __init__(self, paths):
        # Also of URLs, which are no paths.
        folders = {tuple(os.path.split(path)[0].split('/')) for path in paths}
        self._start = '/'.join(_common_start(folders))
        self._by_stem = {}
        for path in paths:
            form, stem = self._split(path)
            if form is not None:
                self._by_stem.setdefault(stem, {}).setdefault(form, path)

    def find(self, path, band=None):
        """
        Return the files beside an image.

        Parameters
        ----------
        path : str
            The file of the image, among ``paths`` or in their folder.
        band : str, default=None
            Its band, which files that belong to all bands do not name.

        Returns
        -------
        files : dict of str to str
            The forms that `~astro_morph.images.planes.finding.choose_planes` chooses, and the
            files.
        """
        form, stem = self._split(path)
        if form is not None:
            return {}
        without_band = tuple(word for word in stem if word != str(band).lower())
        found = self._by_stem.get(without_band, {}) | self._by_stem.get(stem, {})
        return {form: found[form] for form in choose_planes(found).values()}

    def _split(self, path):
        # The names of folders that all share tell nothing.
        return split_name(path.removeprefix(self._start))


def _common_start(folders):
    """Return the names with which all sequences of names begin."""
    aligned = zip(*folders, strict=False)
    return [names[0] for names in itertools.takewhile(lambda names: len(set(names)) == 1, aligned)]


class Siblings:
    """The companion files in the folder of each image, which is listed once."""

    def __init__(self):
        self._folders = {}

    def find(self, path, band=None):
        """Return the files beside an image, as `CompanionFiles.find`; none at a URL."""
        if '://' in path:
            return {}
        folder = os.path.dirname(path)
        if folder not in self._folders:
            with os.scandir(folder or None) as entries:
                self._folders[folder] = CompanionFiles([entry.path for entry in entries])
        return self._folders[folder].find(path, band)
