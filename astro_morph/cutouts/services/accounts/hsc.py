# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Fetch cutouts of the survey with the Hyper Suprime-Cam, from its own service."""

import io
import re
import tarfile

from astro_morph.cutouts.fetching.failures import FetchError
from astro_morph.cutouts.services.accounts.credentials import Credentials
from astro_morph.cutouts.services.accounts.lsst_files import read_lsst_image
from astro_morph.cutouts.services.fields import share_fields
from astro_morph.cutouts.services.remote import RemoteSource
from astro_morph.cutouts.services.reprojection import cut_for_request
from astro_morph.cutouts.services.sia import Place
from astro_morph.utils.messages import as_written

__all__ = ['HscCutouts']

# The number of the line in the list, in the name of a file.
_NAME = re.compile(r'.*/(\d+)-cutout-.*\.fits')

# Columns of the list that is uploaded; sw and sh are half the width and the height.
_COLUMNS = 'rerun type filter tract ra dec sw sh image mask variance'


class HscCutouts(RemoteSource):
    """
    Cutouts of the Hyper Suprime-Cam Subaru Strategic Program.

    The service of the survey cuts its coadded images. One request returns all bands of a field.
    Cutouts are north up, with a zero point of 27 AB magnitudes, and NaN where there is no image.

    The service asks for an account, which everybody gets at https://hsc-release.mtk.nao.ac.jp. Hand
    over its name and password, or set ``SSP_PDR_USR`` and ``SSP_PDR_PWD`` in the environment. They
    are sent to the service alone, those in the environment only to servers of mtk.nao.ac.jp. No
    file, cache, log, representation or pickle has them: processes to which a source is sent read
    their environment.

    Parameters
    ----------
    survey : str or `~astro_morph.surveys.Survey`, default='hsc-pdr3'
        The data release. Its ``ids['hsc']`` is a pair: the address of the service, and the rerun.
    account : (str, str) or `requests.Session`, default=None
        Name and password, or a session that has them; those in the environment if None.
    **options
        As in `RemoteSource`. Other bands than the survey's are filters, such as ``'NB0816'``. There
        are no colour pictures; with ``planes=True``, the variance and the mask come with the
        images.

    Raises
    ------
    ValueError
        If the survey is not in the service, or does not have one of the ``bands``.
    TypeError
        If ``account`` is neither a name and a password nor a session.

    Examples
    --------
    >>> from astro_morph.cutouts import HscCutouts
    >>> HscCutouts('hsc-pdr3', bands='gri', account=('observer', 'secret'))
    <HscCutouts: hsc-pdr3 in g, r, i>
    """

    _has_pictures = False
    _has_planes = True
    _ids_key = 'hsc'
    _secrets = ('account',)

    def __init__(self, survey='hsc-pdr3', *, account=None, **options):
        super().__init__(survey, **options)
        unknown = [band for band in self.bands if len(band) == 1 and band not in self.survey.bands]
        if unknown:
            msg = (
                f'{as_written("bands")}: {self.survey.name} has no {unknown}; name some of '
                f"{list(self.survey.bands)}, or filters such as 'NB0816'"
            )
            raise ValueError(msg)
        variables = ['SSP_PDR_USR', 'SSP_PDR_PWD']
        self._credentials = Credentials(account, 'account', variables, 'mtk.nao.ac.jp')

    @property
    def _address(self):
        return self._servers[0] if self._servers else self.survey.ids['hsc'][0]

    def _make_client(self):
        import requests

        session = requests.Session()
        self._credentials.authorise(session, self._address)
        return session

    def _session_of(self, client):
        return client

    def _origin(self, layer):
        return ' '.join([super()._origin(layer), *self.survey.ids['hsc']])

    def _requests(self, places, layers):
        return share_fields(places, [layers])

    def _answer(self, request, client):
        answer = client.post(self._address, files={'list': ('list.txt', self._list(request))})
        if answer.status_code == 404:  # it has none of them
            files = {}
        elif answer.ok:
            files = _read_archive(answer.content)
        else:
            raise FetchError(status=f'http_{answer.status_code}', message=answer.text[:200])
        cutouts = []
        # The first line of the list is its header.
        for line, _ in enumerate(request.band, start=2):
            found = [files[line]] if line in files else []
            images = [read_lsst_image(content, planes=self.planes) for content in found]
            cutouts += [*cut_for_request(images, request)]
        return cutouts

    def _list(self, request):
        """Return the list to upload, with a line for each band."""
        _, rerun = self.survey.ids['hsc']
        place = Place.around(request, self.survey)
        angles = ' '.join(f'{angle}deg' for angle in (*place[:2], *[place.size / 2] * 2))
        planes = 'true true' if self.planes else 'false false'
        lines = [
            f'{rerun} coadd {_filter(band)} any {angles} true {planes}' for band in request.band
        ]
        return '\n'.join([f'#? {_COLUMNS}', *lines])


def _filter(band):
    return f'HSC-{band.upper()}' if len(band) == 1 else band


def _read_archive(content):
    """Return the files in an archive by the number of their line in the list."""
    files, status = {}, 'not_an_image'
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode='r:') as archive:
            status = 'truncated'
            for info in archive:
                if name := _NAME.fullmatch(info.name):
                    files[int(name[1])] = archive.extractfile(info).read()
    except tarfile.ReadError as error:
        raise FetchError(status=status, message=f'{error}: {content[:100]!r}') from error
    return files
