# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Settings of the gallery: how its scripts run, and how their figures get into its pages."""

import warnings

from sphinx_gallery.scrapers import figure_rst

__all__ = ['be_strict', 'scrape']


def scrape(block, block_vars, gallery_conf):
    """Save the ``figure`` of a block: the package uses no pyplot, which would list it."""
    figure = block_vars['example_globals'].pop('figure', None)
    if figure is None:
        return ''
    path = next(block_vars['image_path_iterator'])
    figure.savefig(path, dpi=110)
    return figure_rst([path], gallery_conf['src_dir'])


def be_strict(gallery_conf, fname, when):
    """Turn warnings into errors while an example runs, and reset the filters afterwards."""
    # A service may warn of anything.
    if when == 'before' and not str(fname).endswith('_online.py'):
        warnings.filterwarnings('error')
    else:
        warnings.resetwarnings()
