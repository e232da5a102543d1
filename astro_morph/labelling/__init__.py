# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Labelling by eye: the session and its web page."""

from astro_morph.labelling.session import (
    LabellingSession,
    Progress,
    cross_validate,
    label,
    open_table,
    start,
)

__all__ = ['LabellingSession', 'Progress', 'cross_validate', 'label', 'open_table', 'start']
