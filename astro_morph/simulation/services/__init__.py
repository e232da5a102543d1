# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Local servers that imitate image archives and show a simulated sky."""

from astro_morph.simulation.services import euclid, hips2fits, mast, sdss, sia, skyview, wfau
from astro_morph.simulation.services.accounts import hsc, rubin
from astro_morph.simulation.services.direct import dja, legacy, panstarrs
from astro_morph.simulation.services.server import Answer, Request, Server, ServerProcess

__all__ = ['HANDLERS', 'Answer', 'Request', 'Server', 'ServerProcess', 'serve']

#: The function that answers each path. To add a service, add a line here; see `.server`.
HANDLERS = {
    **hips2fits.HANDLERS,
    **skyview.HANDLERS,
    **mast.HANDLERS,
    **sia.HANDLERS,
    **sdss.HANDLERS,
    **wfau.HANDLERS,
    **euclid.HANDLERS,
    **legacy.HANDLERS,
    **dja.HANDLERS,
    **panstarrs.HANDLERS,
    **rubin.HANDLERS,
    **hsc.HANDLERS,
}


def serve(sky, *, delay=0, faults=None, process=False):
    """
    Serve a simulated sky over HTTP, in place of hips2fits and other image services.

    Parameters
    ----------
    sky : `~astro_morph.simulation.SimulatedSurvey`
        The sky.
    delay : float, default=0
        Minimum time of each answer in seconds.
    faults : callable or sequence, default=None
        Faults of `astro_morph.simulation.services.faults`: one or None for each request in order,
        or a function of the request that returns one.
    process : bool, default=False
        Whether the server runs in a process of its own, so that it does not slow down its clients.

    Returns
    -------
    server : context manager
        The server, which runs inside ``with``. It listens on 127.0.0.1 at ``server.url``, and logs
        its requests in ``server.requests``.

    Notes
    -----
    Each source takes the address of its service, which is ``server.url`` and a path, as its
    ``server``:

    ================================================================ ===============================
    Source                                                           Path
    ================================================================ ===============================
    `~astro_morph.cutouts.LegacyCutouts`,                            none
    `~astro_morph.cutouts.PanStarrsCutouts`,
    `~astro_morph.cutouts.DjaCutouts`,
    `~astro_morph.cutouts.EsaEuclid`,
    `~astro_morph.cutouts.MastCutouts`,
    `~astro_morph.cutouts.SdssFrames`
    `~astro_morph.cutouts.Hips2Fits`                                 /hips-image-services/hips2fits
    `~astro_morph.cutouts.EuclidMosaics`                             /euclid/SIA
    `~astro_morph.cutouts.RubinCutouts`                              /api/sia/dp1/query
    `~astro_morph.cutouts.HscCutouts`                                /das_cutout/pdr3/cgi-bin/cutout
    `~astro_morph.cutouts.SiaImages`                                 /SIA, or /sia1 of version 1
    `~astro_morph.cutouts.SkyView`                                   /current/cgi/basicform.pl
    `~astro_morph.cutouts.WfauImages`                                /wsa or /vdfs
    ================================================================ ===============================

    The simulated services of Rubin and HSC refuse every token and account but
    ``astro_morph.simulation.services.accounts.rubin.TOKEN`` and
    ``astro_morph.simulation.services.accounts.hsc.ACCOUNT``, with the status ``http_401``.

    Examples
    --------
    >>> from astropy.coordinates import Angle
    >>> from astroquery.hips2fits import hips2fitsClass
    >>> from astro_morph.simulation import SimulatedSurvey, serve
    >>> sky = SimulatedSurvey(n_galaxies=4)
    >>> client, galaxy = hips2fitsClass(), sky.catalogue[0]
    >>> with serve(sky) as server:
    ...     client.server = f'{server.url}/hips-image-services/hips2fits'
    ...     hdus = client.query(
    ...         'CDS/P/SDSS9/r', 32, 32, 'TAN', galaxy['ra'], galaxy['dec'], Angle('12.8 arcsec')
    ...     )
    >>> hdus[0].data.shape
    (32, 32)
    """
    server_class = ServerProcess if process else Server
    return server_class(sky, HANDLERS, delay=delay, faults=faults)
