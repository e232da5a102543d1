# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Turn cutouts into colour pictures, for figures and web pages."""

import base64
import io
from collections import Counter
from html import escape

import numpy as np
from astropy.stats import mad_std
from astropy.visualization import make_lupton_rgb

from astro_morph.images.orientation import as_seen

__all__ = ['contact_sheet', 'data_uris', 'pictures', 'rgb', 'shown_bands']

# The asinh stretch, in units of the sky noise: where it turns from linear to logarithmic, and the
# range that it shows, chosen to look like the colour pictures of SDSS.
SOFTENING = 8
STRETCH = 11

# Cutouts in a notebook: one line.
N_SHOWN = 8


def rgb(images):
    """
    Return colour pictures of cutouts in flux.

    The last, middle and first bands are red, green and blue, stretched as in Lupton et al. (2004,
    PASP 116, 133), which keeps the colours of the flux.

    Parameters
    ----------
    images : array_like, shape (n, band, y, x)
        Cutouts in flux, bands from blue to red.

    Returns
    -------
    pictures : ndarray of uint8, shape (n, y, x, 3)
        Red, green and blue, in the order of the rows of the images; missing pixels are black.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_morph.plotting import rgb
    >>> rgb(np.ones((2, 3, 16, 16))).shape
    (2, 16, 16, 3)
    """
    n_bands = images.shape[1]
    chosen = images[:, [n_bands - 1, n_bands // 2, 0]]
    known = chosen[np.isfinite(chosen)]
    noise = mad_std(known) if known.size else 0
    signal = np.nan_to_num(chosen / (noise or 1))
    # Astropy divides by the brightness of each pixel before it excludes zeros.
    with np.errstate(invalid='ignore'):
        drawn = [make_lupton_rgb(*bands, Q=SOFTENING, stretch=STRETCH) for bands in signal]
    return np.array(drawn, np.uint8).reshape(len(images), *images.shape[2:], 3)


def pictures(cutouts):
    """Return cutouts as they are shown: uint8, (n, y, x, 3), the highest row first, north up."""
    if cutouts.kind == 'flux':
        drawn = rgb(cutouts.images)
    else:
        chosen = cutouts.images[:, shown_bands(cutouts)]
        drawn = np.nan_to_num(chosen).astype(np.uint8).transpose(0, 2, 3, 1)
    return as_seen(drawn, cutouts.rotation, cutouts.parity)


def shown_bands(cutouts):
    """Return the bands to show as red, green and blue; those of flux run from blue to red."""
    last = len(cutouts.bands) - 1
    if cutouts.kind == 'flux':
        return [last, (last + 1) // 2, 0]
    return [0, (last + 1) // 2, last]


def data_uris(cutouts):
    """Return each cutout as a PNG picture in a data URI, which web pages show without a file."""
    return [_as_png(picture) for picture in pictures(cutouts)]


def contact_sheet(cutouts):
    """Return an HTML summary of cutouts for a notebook: the first images, and the statuses."""
    rows = np.flatnonzero(cutouts.is_ok)[:N_SHOWN]
    style = 'width: 96px; max-width: 12%; margin: 0 4px 4px 0; display: inline-block'
    images = [
        f'<img src="{uri}" alt="row {row}" title="row {row}" style="{style}">'
        for row, uri in zip(rows, data_uris(cutouts[rows]), strict=True)
    ]
    counts = Counter(cutouts.status.tolist()).most_common()
    statuses = ', '.join(f'{n} {status}' for status, n in counts)
    return '\n'.join(
        [
            f'<p>{escape(repr(cutouts))}</p>',
            f'<div>{"".join(images)}</div>',
            f'<p>status: {escape(statuses) or "no rows"}</p>',
        ]
    )


def _as_png(picture):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, 'PNG')
    return f'data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}'
