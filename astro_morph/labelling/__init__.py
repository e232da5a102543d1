# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Label galaxies by eye: the session, and the web page that is its front end."""

from astro_morph.labelling.progress import Progress, cross_validate
from astro_morph.labelling.session import LabellingSession
from astro_morph.labelling.starting import label, start

__all__ = ['LabellingSession', 'Progress', 'cross_validate', 'label', 'start']
