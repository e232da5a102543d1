# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Imitate the cutout service of the Hyper Suprime-Cam: a list of cutouts in, a tar archive out.

It follows the survey's own client, downloadCutout.py
(https://hsc-gitlab.mtk.nao.ac.jp/ssp-software/data-access-tools).
"""

import base64
import io
import re
import tarfile
from copy import deepcopy
from email import message_from_bytes

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D, NoOverlapError

from astro_morph.simulation.services.accounts.lsst_files import masked_image_hdus
from astro_morph.simulation.services.rendering import fits_bytes
from astro_morph.simulation.services.server import Answer

__all__ = ['ACCOUNT', 'HANDLERS', 'ZERO_POINT']

#: The name and the password that are let in.
ACCOUNT = ('observer', 'simulated password')

#: AB magnitude of a count.
ZERO_POINT = 27.0

_MOST_CUTOUTS = 1000


def send_cutouts(sky, request):
    """Send the cutouts of an uploaded list that lie in the sky, one file each."""
    secret = base64.b64encode(':'.join(ACCOUNT).encode()).decode()
    if request.headers.get('authorization') != f'Basic {secret}':
        return Answer('Unauthorized', status=401, headers={'WWW-Authenticate': 'Basic'})
    header, *lines = _read_upload(request).splitlines()
    if len(lines) > _MOST_CUTOUTS:
        return Answer('too many lines in the list', 'text/plain', 400)
    names = header.removeprefix('#?').split()
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode='w') as archive:
        # The first line is the header.
        for number, line in enumerate(lines, start=2):
            asked = dict(zip(names, line.split(), strict=True))
            content = _cut(sky, asked)
            if content is not None:
                name = f'{number}-cutout-{asked["filter"]}-9813-{asked["rerun"]}.fits'
                info = tarfile.TarInfo(f'arch-261129-020000/{name}')
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return Answer(body.getvalue(), 'application/x-tar')


def _read_upload(request):
    """Return the text of the file in a form."""
    head = f'Content-Type: {request.headers["content-type"]}\r\n\r\n'.encode()
    return message_from_bytes(head + request.body).get_payload(0).get_payload(decode=True).decode()


def _cut(sky, asked):
    """Return a cutout as a FITS file, None if the sky has no such place or filter."""
    band = asked['filter'].removeprefix('HSC-').lower()
    ra, dec, width, height = (_read_angle(asked[name]) for name in ('ra', 'dec', 'sw', 'sh'))
    # A copy, because wcslib modifies its structures during computations.
    wcs = deepcopy(sky.wcs)
    position = SkyCoord(ra, dec, unit='deg')
    scale = wcs.proj_plane_pixel_scales()[0].to_value('deg')
    shape = [int(np.ceil(2 * side / scale)) for side in (height, width)]
    if band not in sky.bands or not np.isfinite(wcs.world_to_pixel(position)).all():
        return None
    try:
        part = Cutout2D(sky.flux[0], position, shape, wcs)
    except NoOverlapError:
        return None
    hdus = masked_image_hdus(
        sky,
        part.wcs,
        part.shape,
        band,
        factor=10 ** (0.4 * (ZERO_POINT - 22.5)),
        image_class=fits.ImageHDU,
    )
    wanted = ('image', 'mask', 'variance')
    sent = [hdu for hdu, name in zip(hdus, wanted, strict=True) if asked[name] == 'true']
    primary = fits.PrimaryHDU()
    primary.header['FLUXMAG0'] = 10 ** (0.4 * ZERO_POINT)
    return fits_bytes([primary, *sent])


def _read_angle(text):
    return float(re.fullmatch(r'(.+)deg', text)[1])


HANDLERS = {'/das_cutout/pdr3/cgi-bin/cutout': send_cutouts}
