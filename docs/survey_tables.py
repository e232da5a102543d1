# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tables of the surveys and of the services, written from the presets and the classes."""

import inspect

import astropy.units as u
import numpy as np
from docutils.parsers.rst import Directive

from astro_morph.cutouts.inputs import find_services
from astro_morph.surveys import SURVEYS

__all__ = ['Services', 'Surveys', 'service_rows', 'services_of', 'survey_rows']

# The service that needs each of the names that a survey has in ``ids``.
SERVICES = {
    'cloud': 'EuclidMosaics',
    'dja': 'DjaCutouts',
    'esa': 'EsaEuclid',
    'hsc': 'HscCutouts',
    'legacy': 'LegacyCutouts',
    'mast': 'MastCutouts',
    'panstarrs': 'PanStarrsCutouts',
    'rubin': 'RubinCutouts',
    'sia': 'SiaImages',
    'skyview': 'SkyView',
    'wfau': 'WfauImages',
}

SURVEY_HEADER = (
    'Survey',
    'Bands, depth',
    'Pixel, arcsec',
    'Seeing, arcsec',
    'Linear',
    'Services',
    'Asks for',
    'Tried live',
)

SERVICE_HEADER = ('Service', 'Pictures', 'Variance, mask', 'Surveys')


def services_of(survey):
    """Return the names of the services that have a survey, the default first."""
    names = [survey.service, *(SERVICES[key] for key in survey.ids)]
    if survey.hips:
        names.append('Hips2Fits')
    if survey.name == 'sdss-dr9':
        names.append('SdssFrames')
    if survey.service == 'EuclidMosaics':
        # The list of images has those of other telescopes too, on the same grid.
        names.remove('SiaImages')
    return list(dict.fromkeys(names))


def survey_rows():
    """Return the rows of the table of surveys."""
    return [
        (
            f'``{survey.name}`` {survey.title}',
            ', '.join(_with_depths(survey)),
            f'{survey.pixel_scale.to_value(u.arcsec):.4g}',
            _range(survey.psf_fwhm),
            _linear(survey),
            ', '.join(map(_link, services_of(survey))),
            survey.access or 'nothing',
            survey.tried or 'never',
        )
        for survey in SURVEYS.values()
    ]


def service_rows():
    """Return the rows of the table of services."""
    return [
        (
            f'{_link(name)}: {_first_sentence(service)}',
            'yes' if service._has_pictures else 'no',
            'yes' if service._has_planes else 'no',
            ', '.join(s.name for s in SURVEYS.values() if name in services_of(s)),
        )
        for name, service in find_services().items()
    ]


def _with_depths(survey):
    """Return each band, with its depth if it is known."""
    depths = [np.nan] * len(survey.bands) if survey.depth is None else survey.depth
    return [
        band if np.isnan(depth) else f'{band} {depth:.1f}'
        for band, depth in zip(survey.bands, depths, strict=True)
    ]


def _range(angles):
    """Return the smallest and the largest angle as text."""
    if angles is None:
        return ''
    ends = dict.fromkeys(f'{end.to_value(u.arcsec):.2g}' for end in (angles.min(), angles.max()))
    return ' to '.join(ends)


def _linear(survey):
    """Return in which services a survey is not linear in flux."""
    odd = survey.nonlinear
    if not odd:
        return 'yes'
    if all(set(bands) == set(survey.bands) for bands in odd.values()):
        return 'no'
    return '; '.join(f'not {", ".join(bands)} of {_link(name)}' for name, bands in odd.items())


def _link(name):
    return f'`~astro_morph.cutouts.{name}`'


def _first_sentence(service):
    """Return the first sentence of a docstring, as a part of another."""
    text = ' '.join(inspect.getdoc(service).partition('\n\n')[0].split()).removesuffix('.')
    return text[0].lower() + text[1:]


class _Table(Directive):
    """Insert a table of rows."""

    def run(self):
        lines = ['.. list-table::', '   :header-rows: 1', '']
        for row in [self.header, *self.find_rows()]:
            starts = ['   * - ', *['     - '] * (len(row) - 1)]
            lines += [start + text for start, text in zip(starts, row, strict=True)]
        self.state_machine.insert_input([*lines, ''], __file__)
        return []


class Surveys(_Table):
    """List the surveys of the package."""

    header = SURVEY_HEADER
    find_rows = staticmethod(survey_rows)


class Services(_Table):
    """List the services of the package."""

    header = SERVICE_HEADER
    find_rows = staticmethod(service_rows)
