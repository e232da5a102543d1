# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pictures of cutouts and what was predicted for them."""

import math

import numpy as np
from astropy.stats import mad_std
from astropy.visualization import make_lupton_rgb

__all__ = ['cutouts', 'rgb']

# Side of one cutout in the figure, in inches.
PANEL = 1.45

# Noise levels of the sky at which the asinh stretch turns from linear to logarithmic, and the
# range it is to show, chosen to look like the colour pictures of SDSS.
SOFTENING = 8
STRETCH = 11


def rgb(images):
    """
    Make colour pictures of cutouts in flux.

    The first and last bands and the middle one are shown as in Lupton et al. (2004, PASP 116,
    133), so that colours are those of the flux.

    Parameters
    ----------
    images : array_like, shape (n, band, y, x)
        Cutouts in flux, bands from blue to red.

    Returns
    -------
    pictures : ndarray of uint8, shape (n, y, x, 3)
        Red, green and blue; missing pixels are black.
    """
    n_bands = images.shape[1]
    chosen = images[:, [n_bands - 1, n_bands // 2, 0]]
    known = chosen[np.isfinite(chosen)]
    noise = mad_std(known) if known.size else 0
    signal = np.nan_to_num(chosen / (noise or 1))
    # astropy divides by the brightness of each pixel, and then minds where it is zero.
    with np.errstate(invalid='ignore'):
        return np.array([make_lupton_rgb(*bands, Q=SOFTENING, stretch=STRETCH) for bands in signal])


def cutouts(cutouts, *, titles=None, is_right=None, n_columns=8):
    """
    Draw a sheet of cutouts.

    Parameters
    ----------
    cutouts : `~astro_morph.CutoutSet`
        The cutouts, of pictures or of flux with the bands from blue to red.
    titles : sequence of str, optional
        What stands above each; the status by default, where it is not ok.
    is_right : sequence of bool, optional
        Titles are drawn in red where it is false.
    n_columns : int, optional
        Cutouts in a row of the sheet.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The sheet.

    Raises
    ------
    ValueError
        If there is no cutout.

    Examples
    --------
    >>> from astro_morph import plotting
    >>> from astro_morph.simulation import SimulatedSurvey
    >>> survey = SimulatedSurvey(n_galaxies=4)
    >>> cutouts = survey.fetch(survey.catalogue)
    >>> figure = plotting.cutouts(cutouts, titles=survey.catalogue['morphology'])
    >>> len(figure.axes)
    4
    """
    from matplotlib.figure import Figure

    if len(cutouts) == 0:
        msg = 'cutouts is empty: there is nothing to draw'
        raise ValueError(msg)
    n_columns = min(n_columns, len(cutouts))
    n_rows = math.ceil(len(cutouts) / n_columns)
    figure = Figure(figsize=(PANEL * n_columns, 1.2 * PANEL * n_rows), layout='constrained')
    if titles is None:
        titles = np.where(cutouts.is_ok, '', cutouts.status)
    colours = ['black'] * len(cutouts) if is_right is None else np.where(is_right, 'black', 'red')
    for number, picture in enumerate(_pictures(cutouts)):
        axes = figure.add_subplot(n_rows, n_columns, number + 1)
        axes.imshow(picture, origin='upper' if cutouts.kind == 'picture' else 'lower')
        axes.set_title(titles[number], fontsize=7, color=colours[number], pad=3)
        axes.set_axis_off()
    return figure


def _pictures(cutouts):
    if cutouts.kind == 'flux':
        return rgb(cutouts.images)
    last = len(cutouts.bands) - 1
    # Red, green and blue as they are; one band three times, which is grey.
    chosen = cutouts.images[:, [0, (last + 1) // 2, last]]
    return np.nan_to_num(chosen).astype(np.uint8).transpose(0, 2, 3, 1)
