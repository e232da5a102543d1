# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""How the scripts of the gallery are run, and how their figures come into its pages."""

import warnings

from sphinx_gallery.scrapers import figure_rst

__all__ = ['be_strict', 'scrape']


def scrape(block, block_vars, gallery_conf):
    """Show the ``figure`` of a block: the package draws without pyplot, which keeps a list."""
    figure = block_vars['example_globals'].pop('figure', None)
    if figure is None:
        return ''
    path = next(block_vars['image_path_iterator'])
    figure.savefig(path, dpi=110)
    return figure_rst([path], gallery_conf['src_dir'])


def be_strict(gallery_conf, fname, when):
    """Make the warnings of an example errors, and those of Sphinx warnings again."""
    if when == 'before':
        warnings.filterwarnings('error')
    else:
        warnings.resetwarnings()
