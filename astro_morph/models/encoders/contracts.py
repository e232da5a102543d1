# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Contracts of published encoders: the images that each family was trained on."""

import dataclasses
import re

import numpy as np

from astro_morph.catalog.bands import BANDS, band_wavelength
from astro_morph.cutouts.cutout_set import PICTURE_BANDS
from astro_morph.images.euclid_pictures import EUCLID_FACTORS

__all__ = ['MOST_CHANNELS', 'Contract', 'contract_of']

# Zoobot's encoders see the central part of the pictures of Galaxy Zoo.
ZOOBOT_ZOOM = 1.2

_STRETCHES = ('picture', 'lupton', 'euclid')
_LARGEST_SIDE = 1024

#: More channels are in no file that can be used.
MOST_CHANNELS = 64


@dataclasses.dataclass(frozen=True)
class Contract:
    """
    What a published encoder takes.

    Parameters
    ----------
    family : str, default=''
        The family of encoders, such as ``'zoobot'``.
    channels : tuple of str, default=('red', 'green', 'blue')
        The channels, in order.
    input_size : int, default=224
        Side in pixels.
    zoom : float, default=1.0
        The central part of an image that the encoder sees is smaller than the image by this.
    range : tuple of float, default=(0.0, 1.0)
        Range of the pixels.
    stretch : {'picture', 'lupton', 'euclid'}, default='picture'
        What pixels are made from: colour pictures; flux, by
        `~astro_morph.models.stretch.FluxStretch`; or flux of Euclid, by
        `~astro_morph.models.stretch.EuclidStretch`.
    mean, std : tuple of float, default=()
        Mean and standard deviation by which the pixels of each channel are then normalised; not
        normalised if empty.
    """

    family: str = ''
    channels: tuple = PICTURE_BANDS
    input_size: int = 224
    zoom: float = 1.0
    range: tuple = (0.0, 1.0)
    stretch: str = 'picture'
    mean: tuple = ()
    std: tuple = ()

    def __post_init__(self):
        for name in ('channels', 'range', 'mean', 'std'):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def kind(self):
        """Kind of the images: ``'picture'`` or ``'flux'``."""
        return 'picture' if self.stretch == 'picture' else 'flux'

    @property
    def bands(self):
        """Bands of the images: those of Euclid if the channels are made from them."""
        if self.stretch != 'euclid':
            return self.channels
        return tuple(EUCLID_FACTORS)[: 1 + (len(self.channels) > 1)]

    def for_images(self, bands, kind, *, reverse=False):
        """
        Return the contract that images of other bands can keep.

        Parameters
        ----------
        bands : tuple of str
            The bands.
        kind : {'flux', 'picture'}
            Whether the images are linear in flux or pictures.
        reverse : bool, default=False
            Whether they are in the reverse order of wavelength.

        Returns
        -------
        contract : Contract
            The same if the images are those of the contract. Otherwise the channels are the bands,
            and other flux is stretched as for pictures.
        """
        if self.stretch == 'euclid' and kind == 'flux' and _are_same(bands, self.bands):
            return self
        means = {'mean': self.mean[::-1] if reverse else self.mean}
        means['std'] = self.std[::-1] if reverse else self.std
        if len(bands) != len(self.channels):
            # Normalised by one number, as no band is one of the channels.
            means = {n: (float(np.mean(v)),) * len(bands) if v else () for n, v in means.items()}
        stretch = 'picture' if kind == 'picture' else 'lupton'
        return dataclasses.replace(self, channels=bands, stretch=stretch, **means)

    @classmethod
    def from_dict(cls, fields):
        """
        Read a contract from the fields of a file.

        Parameters
        ----------
        fields : dict
            The fields, as `dataclasses.asdict` returns them.

        Returns
        -------
        contract : Contract
            The contract.

        Raises
        ------
        ValueError
            If a field is not known, or of another type.
        """
        for name, value in fields.items():
            if name not in _FIELDS or not _FIELDS[name](value):
                msg = f'the contract of the encoder has {str(name)[:50]!r} of {str(value)[:50]}'
                raise ValueError(msg)
        contract = cls(**fields)
        if {len(contract.mean), len(contract.std)} - {0, len(contract.channels)}:
            msg = 'the contract of the encoder has a mean or a deviation for other channels'
            raise ValueError(msg)
        return contract


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)


def _are_numbers(value):
    return isinstance(value, (list, tuple)) and all(map(_is_number, value))


# What each field of a file must be.
_FIELDS = {
    'family': lambda value: isinstance(value, str),
    'channels': lambda value: (
        isinstance(value, (list, tuple))
        and 0 < len(value) <= MOST_CHANNELS
        and all(isinstance(item, str) for item in value)
    ),
    'input_size': lambda value: isinstance(value, int) and 1 <= value <= _LARGEST_SIDE,
    'zoom': lambda value: _is_number(value) and 1 <= value <= 10,
    'range': lambda value: _are_numbers(value) and len(value) == 2,
    'stretch': lambda value: isinstance(value, str) and value in _STRETCHES,
    'mean': _are_numbers,
    'std': lambda value: _are_numbers(value) and all(item > 0 for item in value),
}

# Families by their names on huggingface.co, the first that is found. Their configurations list the
# mean and deviation of ImageNet, which none of them was trained with.
_ZOOBOT = Contract('zoobot', zoom=ZOOBOT_ZOOM)
_FAMILIES = {
    'zoobot-encoder-euclid-(grey|gray)': dataclasses.replace(
        _ZOOBOT, family='zoobot-euclid', channels=('VIS',), stretch='euclid'
    ),
    'zoobot-encoder-euclid': dataclasses.replace(
        _ZOOBOT, family='zoobot-euclid', channels=('Y', 'mean', 'VIS'), stretch='euclid'
    ),
    'zoobot-encoder-(grey|gray)': dataclasses.replace(_ZOOBOT, channels=('grey',)),
    'zoobot-encoder': _ZOOBOT,
}


def contract_of(name, *, n_bands, input_size, mean, std):
    """
    Return the contract of a published encoder.

    Parameters
    ----------
    name : str
        Its name or names, by which the families are known.
    n_bands, input_size : int
        Channels and side in pixels, as the configuration lists them.
    mean, std : sequence of float
        Mean and deviation of the channels, as the configuration lists them.

    Returns
    -------
    contract : Contract
        That of the family, or for others that of the configuration.

    Examples
    --------
    >>> from astro_morph.models.encoders.contracts import contract_of
    >>> imagenet = {'mean': [0.485, 0.456, 0.406], 'std': [0.229, 0.224, 0.225]}
    >>> name = 'mwalmsley/zoobot-encoder-convnext_nano'
    >>> contract_of(name, n_bands=3, input_size=224, **imagenet).mean
    ()
    """
    for pattern, contract in _FAMILIES.items():
        if re.search(pattern, name) and len(contract.channels) == n_bands:
            return contract
    channels = {1: ('grey',), 3: PICTURE_BANDS}.get(n_bands)
    if channels is None:
        channels = tuple(f'channel {number}' for number in range(1, n_bands + 1))
    fields = {'channels': channels, 'input_size': input_size, 'mean': mean, 'std': std}
    return Contract.from_dict(fields)


def _are_same(bands, expected):
    """Check for the same bands in any order, whatever survey's prefix they have."""
    wavelengths = sorted(band_wavelength(band) for band in bands)
    return wavelengths == sorted(BANDS[band][0] for band in expected)
