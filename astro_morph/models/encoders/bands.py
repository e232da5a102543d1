# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Adapt the weights of an encoder to images of other bands."""

import torch

__all__ = ['adapt_bands']


def adapt_bands(weights, n_bands, *, reverse=False, first_layer='conv1'):
    """
    Adapt the first layer of an encoder's weights to other bands.

    The bands are assumed to be in order of wavelength and to divide the same range of it. Each
    filter is shared among the new bands in proportion to their overlap with its old band, so that
    the sum over bands is unchanged: an image that is the same in all bands gives the same response.

    Parameters
    ----------
    weights : dict of str to `torch.Tensor`
        The ``state_dict`` of an encoder.
    n_bands : int
        Number of new bands.
    reverse : bool, default=False
        Whether the new bands are in the reverse order of wavelength.
    first_layer : str, default='conv1'
        Name of the layer that takes the bands.

    Returns
    -------
    weights : dict of str to `torch.Tensor`
        The adapted state.
    """
    name = f'{first_layer}.weight'
    filters = weights[name]
    if reverse:
        filters = filters.flip(1)
    if n_bands != filters.shape[1]:
        filters = torch.einsum('fbyx,nb->fnyx', filters, _band_overlaps(n_bands, filters))
    return weights | {name: filters.contiguous()}


def _band_overlaps(n_bands, filters):
    """Return the fraction of each old band that each new one covers, of shape (n_bands, old)."""
    old, new = (torch.linspace(0, 1, n + 1).to(filters) for n in (filters.shape[1], n_bands))
    low = torch.maximum(new[:-1, None], old[:-1])
    high = torch.minimum(new[1:, None], old[1:])
    return (high - low).clamp(min=0) * filters.shape[1]
