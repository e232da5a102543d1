# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A figure that notebooks display without a command before."""

import io

import matplotlib.figure

__all__ = ['Figure']


class Figure(matplotlib.figure.Figure):
    """
    A Matplotlib figure that a notebook displays at the end of a cell.

    Without ``%matplotlib inline``, a notebook displays a figure of Matplotlib as a line of text.
    The arguments are those of `matplotlib.figure.Figure`.

    Examples
    --------
    >>> from astro_morph.plotting.figures import Figure
    >>> Figure(figsize=(2, 2))._repr_png_()[1:4]
    b'PNG'
    """

    def _repr_png_(self):
        file = io.BytesIO()
        self.savefig(file, format='png')
        return file.getvalue()
