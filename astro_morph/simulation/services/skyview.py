# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Imitate SkyView of NASA: a form, a page of results, and the FITS images that it links to.

Like SkyView, it also links to images where the survey has none, and then answers that there is no
such file (https://github.com/astropy/astroquery/issues/572).
"""

import html
from urllib.parse import urlencode

import numpy as np
from astropy.wcs import WCS

from astro_morph.simulation.services.rendering import fits_image, render
from astro_morph.simulation.services.server import Answer

__all__ = ['HANDLERS']

# The part of the real form that clients read: its target, the surveys, and the defaults.
_FORM = """<html><head><title>SkyView Query Form</title></head><body>
<form name="query" action="runquery.pl" method="GET" target="skyview_out">
<input name="Position" size=30 id="object">
<select name="survey" id="{group}" multiple size=7>{surveys}</select>
<select name="coordinates"><option selected>J2000</option></select>
<select name="projection"><option selected value="Tan">Gnomonic (Tan)</option></select>
<input type="text" name="pixels" value="300">
<input type="text" name="size">
<select name="Sampler"><option value="_skip_" selected>Default</option></select>
<input type="checkbox" name="float" checked>
<input type="submit" value="Submit">
</form></body></html>"""

_RESULTS = '<html><head><title>SkyView images</title></head><body>{links}</body></html>'


def _show_form(sky, request):
    surveys = ''.join(f'<option>{html.escape(name)}</option>' for name in _bands_by_survey(sky))
    return Answer(_FORM.format(group=sky.survey.name, surveys=surveys))


def _show_results(sky, request):
    links = []
    for number, survey in enumerate(request.lists['survey'], start=1):
        query = urlencode(request.params | {'survey': survey})
        path = f'../../tempspace/fits/skv_{number}.fits?{query}'
        links.append(f'<a href="{html.escape(path)}">FITS</a>')
    return Answer(_RESULTS.format(links=' '.join(links)))


def _send_image(sky, request):
    params = request.params
    wcs, shape = _read_grid(params)
    image = render(sky, wcs, shape, _bands_by_survey(sky)[params['survey']])
    if np.isnan(image).all():
        return Answer('<html><body>Not Found</body></html>', status=404)
    return Answer(fits_image(image, wcs, SURVEY=params['survey']), 'image/fits')


HANDLERS = {
    '/current/cgi/basicform.pl': _show_form,
    '/current/cgi/runquery.pl': _show_results,
    '/tempspace/fits/': _send_image,
}


def _bands_by_survey(sky):
    names = sky.survey.ids.get('skyview', {})
    return {names[band]: band for band in sky.bands if band in names}


def _read_grid(params):
    """Return the world coordinates and the shape (y, x) of the requested grid."""
    nx, ny = map(int, _pair(params['pixels']))
    width, height = map(float, _pair(params['size']))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = 'RA---TAN', 'DEC--TAN'
    wcs.wcs.radesys, wcs.wcs.equinox = 'FK5', 2000.0
    wcs.wcs.crval = list(map(float, params['Position'].replace(',', ' ').split()))
    wcs.wcs.crpix = (nx + 1) / 2, (ny + 1) / 2
    wcs.wcs.cdelt = -width / nx, height / ny
    return wcs, (ny, nx)


def _pair(text):
    """Split values for x and y; a single value applies to both."""
    values = text.split(',')
    return values if len(values) == 2 else values * 2
