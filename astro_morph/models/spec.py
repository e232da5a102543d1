# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""ModelSpec: what a model takes and returns, stored beside its weights."""

import dataclasses
import json
import warnings
from functools import partial

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.catalog.vote_tree import VoteTree
from astro_morph.cutouts.cutout_set import PICTURE_BANDS
from astro_morph.models.encoders.arguments import check_arguments
from astro_morph.models.encoders.contracts import Contract
from astro_morph.photometry.extent import PROPERTIES
from astro_morph.utils.messages import as_written, cut_list, for_caller

__all__ = ['ModelSpec']

# Smaller images have a single pixel in the last layers: in bfloat16 on a CPU, PyTorch then takes
# the gradients of weights that meet no pixel from uninitialised memory.
SMALLEST_SIDE = 17

# Largest relative difference of pixel scales that counts as the same scale.
SCALE_TOLERANCE = 0.02

_KINDS = {'flux': 'images linear in flux', 'picture': 'pictures stretched for the eye'}

# Larger images, heads and numbers of bands are in no file that can be used: they would only take
# memory.
LARGEST_SIDE = 4096
_LARGEST_HIDDEN = 16384
_MOST_BANDS = 64


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(largest, value):
    return isinstance(value, int) and 1 <= value <= largest


def _is_list(types, value):
    return isinstance(value, list) and all(isinstance(item, types) for item in value)


def _is_known(values, value):
    return isinstance(value, (str, int)) and value in values


def _is_dict(types, value):
    """Check for a dictionary of no other names, with values of the types of these."""
    return (
        isinstance(value, dict)
        and value.keys() <= types.keys()
        and all(item is None or isinstance(item, types[name]) for name, item in value.items())
    )


def _is_number_description(value):
    return (
        isinstance(value, dict)
        and value.keys() == {'unit', 'mean', 'std', 'scores'}
        and isinstance(value['unit'], str)
        and _is_number(value['mean'])
        and _is_number(value['std'])
        and isinstance(value['scores'], list)
        and all(map(_is_number, value['scores']))
    )


def _is_numbers(value):
    return isinstance(value, dict) and all(map(_is_number_description, value.values()))


def _is_embedding(value):
    return (
        isinstance(value, dict)
        and value.keys() == {'mean', 'axes', 'variance'}
        and isinstance(value['mean'], str)
        and isinstance(value['axes'], str)
        and isinstance(value['variance'], list)
        and all(map(_is_number, value['variance']))
    )


def _is_brightness(value):
    if not isinstance(value, dict) or value.keys() != {'low', 'high'}:
        return False
    return all(
        isinstance(items, list) and all(item is None or _is_number(item) for item in items)
        for items in value.values()
    )


def _is_extent(value):
    return _is_brightness(value) and {*map(len, value.values())} == {len(PROPERTIES)}


# The settings of astro_morph.photometry.Preprocessor.
_SETTINGS = {
    'neighbours': str,
    'recentre': (int, float),
    'rotate': bool,
    'scale': str,
    'psf_fwhm': list,
    'saturation': (int, float),
    'half_light': str,
}

# What each field of a file must be, where it is not the default.
_FIELDS = {
    'classes': ('a list of classes', partial(_is_list, (str, int, float))),
    'bands': (
        f'a list of up to {_MOST_BANDS} names',
        lambda value: _is_list(str, value) and len(value) <= _MOST_BANDS,
    ),
    'size': (f'an integer up to {LARGEST_SIDE}', partial(_is_integer, LARGEST_SIDE)),
    'input_size': (f'an integer up to {LARGEST_SIDE}', partial(_is_integer, LARGEST_SIDE)),
    'pixel_scale': ('a positive number', lambda value: _is_number(value) and value > 0),
    'framing': ('text', lambda value: isinstance(value, str)),
    'kind': (f'one of {list(_KINDS)}', partial(_is_known, _KINDS)),
    'preprocessing': ('settings of a Preprocessor', partial(_is_dict, _SETTINGS)),
    'architecture': ('text', lambda value: isinstance(value, str)),
    'arguments': ('a dictionary', lambda value: isinstance(value, dict)),
    'contract': ('a dictionary', lambda value: isinstance(value, dict)),
    'views': ('1, 4 or 8', partial(_is_known, (1, 4, 8))),
    'stages': (
        'a list of numbers from 1 to 4',
        lambda value: _is_list(int, value) and set(value) <= {1, 2, 3, 4},
    ),
    'hidden': (f'an integer up to {_LARGEST_HIDDEN}', partial(_is_integer, _LARGEST_HIDDEN)),
    'frozen': ('true or false', lambda value: isinstance(value, bool)),
    'tree': ('a dictionary', lambda value: isinstance(value, dict)),
    'numbers': ("a dictionary of 'unit', 'mean', 'std' and 'scores'", _is_numbers),
    'embedding': ("the text 'mean' and 'axes' and the list 'variance'", _is_embedding),
    'brightness': ("the lists 'low' and 'high'", _is_brightness),
    'extent': ("the lists 'low' and 'high' of three numbers", _is_extent),
    'conformity': ('a list of numbers', partial(_is_list, (int, float))),
    'identifier': ('text', lambda value: isinstance(value, str)),
    'version': ('text', lambda value: isinstance(value, str)),
}


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """
    What a model takes and returns.

    Parameters
    ----------
    classes : tuple of str or int, default=()
        The classes, in the order of the logits; empty for an encoder.
    bands : tuple of str, default=()
        The bands, in order; empty for a model of plain features.
    size : int, default=None
        Side of the images in pixels.
    input_size : int, default=None
        Side to which they are enlarged before the encoder; not enlarged if None.
    pixel_scale : float, default=None
        Arcseconds per pixel; None if unknown, or not the same for all images.
    framing : str, default=None
        Factor and column that set the field of view, such as ``'4 * petroR90_r'``.
    kind : {'flux', 'picture'}, default='flux'
        Whether the images are linear in flux or pictures.
    preprocessing : dict, default=None
        Settings of the `~astro_morph.photometry.Preprocessor` that cleans the images.
    architecture : str, default='resnet18'
        Architecture of the encoder; one of timm begins with ``'timm:'``.
    arguments : dict, default=None
        Arguments of timm's constructor of that architecture.
    contract : `~astro_morph.models.encoders.contracts.Contract`, default=None
        What the encoder takes, if it is one of others.
    views : int, default=8
        Number of rotations and reflections that a prediction averages.
    stages : tuple of int, default=()
        Stages of the encoder whose scatter the features hold beside the mean of the last one.
    hidden : int, default=0
        Width of the hidden layer of the head; 0 for none.
    frozen : bool, default=False
        Whether the head was fitted on the features of a frozen encoder.
    tree : dict, default=None
        The questions of a model of votes, see `~astro_morph.catalog.vote_tree.VoteTree`; its
        classes are the answers.
    numbers : dict, default=None
        The numbers of a model of numbers, whose classes are their names: ``unit`` of each, ``mean``
        and ``std`` of the training galaxies, in which the outputs are, and ``scores``, the
        `~astro_morph.models.calibration.number_scores` of galaxies held out.
    brightness : dict, default=None
        Range of the brightness of the training images, see
        `~astro_morph.photometry.brightness.brightness_range`; None if it is not known.
    extent : dict, default=None
        Range of flux, size and noise of the training galaxies, see
        `~astro_morph.photometry.extent.extent_of`; None if it is not known.
    embedding : dict, default=None
        Principal components of the features of the training galaxies, see
        `~astro_morph.prediction.embedding.fit_embedding`; None if they are not known.
    conformity : tuple of float, default=()
        Conformity scores of galaxies held out, see
        `~astro_morph.models.calibration.prediction_sets`.
    identifier : str, default=''
        Fingerprint of the weights.
    version : str, default=''
        Version of astro_morph that trained the model.
    """

    classes: tuple = ()
    bands: tuple = ()
    size: int | None = None
    input_size: int | None = None
    pixel_scale: float | None = None
    framing: str | None = None
    kind: str = 'flux'
    preprocessing: dict | None = None
    architecture: str = 'resnet18'
    arguments: dict | None = None
    contract: Contract | None = None
    views: int = 8
    stages: tuple = ()
    hidden: int = 0
    frozen: bool = False
    tree: dict | None = None
    numbers: dict | None = None
    brightness: dict | None = None
    extent: dict | None = None
    embedding: dict | None = dataclasses.field(default=None, repr=False)
    conformity: tuple = ()
    identifier: str = ''
    version: str = ''

    def __str__(self):
        what = ', '.join(map(str, self.classes)) or 'features'
        if not self.bands:
            return f'{what} from plain features'
        return f'{what} from images of {", ".join(self.bands)}, {self.size} x {self.size} pixels'

    @property
    def channels(self):
        """The channels that the encoder takes: the bands, unless a contract makes them of these."""
        is_made = self.contract is not None and self.contract.stretch == 'euclid'
        return self.contract.channels if is_made else self.bands

    @property
    def field(self):
        """Side in pixels of the central part of the images that the encoder sees."""
        if self.contract is None:
            return self.size
        rim = round(self.size * (1 - 1 / self.contract.zoom) / 2)
        return self.size - 2 * rim

    @property
    def predicts(self):
        """What the model predicts: 'features', 'classes', 'votes' or 'numbers'."""
        if not self.classes:
            return 'features'
        if self.tree is not None:
            return 'votes'
        return 'classes' if self.numbers is None else 'numbers'

    @property
    def n_outputs(self):
        """Number of outputs of the head: a number has a prediction and a scale."""
        return len(self.classes) * (2 if self.predicts == 'numbers' else 1)

    def to_json(self):
        """Return the specification as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text):
        """
        Read the specification from JSON.

        Parameters
        ----------
        text : str
            What `to_json` returned, maybe in another version.

        Returns
        -------
        spec : ModelSpec
            The specification.

        Raises
        ------
        ValueError
            If it has a field that this version does not know, or one of another type.
        """
        fields = _read_fields(text)
        if fields.get('contract') is not None:
            fields['contract'] = Contract.from_dict(fields['contract'])
        spec = cls(**{n: tuple(v) if isinstance(v, list) else v for n, v in fields.items()})
        spec._check_parts()
        return spec

    def check(self, cutouts):
        """
        Check that the model can take these cutouts.

        Parameters
        ----------
        cutouts : `~astro_morph.CutoutSet`
            The cutouts.

        Raises
        ------
        ValueError
            If bands, size or kind are not those of the model.
        """
        if cutouts.kind != self.kind:
            remedy = 'fetch images of that kind'
            if self.bands == PICTURE_BANDS:
                remedy = for_caller(
                    'pass a CutoutSet of flux in g, r and i with pixel_scale and zero_point, from '
                    'which pictures are drawn',
                    'fetch pictures, as of a survey, or name a model of flux as --model',
                )
            msg = (
                f'{as_written("X")} holds {_KINDS[cutouts.kind]}, the model was trained on '
                f'{_KINDS[self.kind]}; {remedy}'
            )
            raise ValueError(msg)
        expected = {'bands': self.bands, 'pixels a side': (self.size, self.size)}
        came = {'bands': cutouts.bands, 'pixels a side': cutouts.shape[2:]}
        for what, value in expected.items():
            if came[what] != value:
                msg = (
                    f'{as_written("X")} has {what} {came[what]}, the model was trained on '
                    f'{value}; fetch or cut images to match'
                )
                raise ValueError(msg)
        difference = self._compare_scale(cutouts)
        if difference:
            warnings.warn(
                f'{difference}: galaxies look larger or smaller than in the training; fetch them '
                'at the scale of the training',
                AstropyUserWarning,
                stacklevel=3,
            )

    def _check_parts(self):
        """Check that fields of a file fit together."""
        if self.contract is not None and self.contract.kind != self.kind:
            msg = "the specification has a 'contract' of another kind of images"
            raise ValueError(msg)
        if self.contract is not None and self.channels == self.bands != self.contract.channels:
            msg = "the specification has a 'contract' of other channels than its 'bands'"
            raise ValueError(msg)
        check_arguments(self.arguments or {})
        if self.bands and (self.size is None or self.architecture == 'features'):
            msg = (
                f"the specification has 'architecture' {self.architecture!r}, 'bands' "
                f"{self.bands} and 'size' {self.size}, of which only some are those of images"
            )
            raise ValueError(msg)
        if self.tree is not None and VoteTree(self.tree).names != self.classes:
            msg = "the specification has a 'tree' of other answers than its 'classes'"
            raise ValueError(msg)
        if self.numbers is not None and tuple(self.numbers) != self.classes:
            msg = "the specification has 'numbers' of other names than its 'classes'"
            raise ValueError(msg)
        n_measured = len(self.bands) if self.kind == 'flux' else 1
        if self.brightness and {*map(len, self.brightness.values())} != {n_measured}:
            msg = "the specification has a 'brightness' of other bands"
            raise ValueError(msg)

    def _compare_scale(self, cutouts):
        """Return how the cutouts differ in scale from those of the training, or None."""
        knows_scale = self.pixel_scale is not None or self.framing is not None
        if cutouts.pixel_scale is None or not knows_scale:
            return None
        if cutouts.framing != self.framing:
            came, known = (span or 'one angle' for span in (cutouts.framing, self.framing))
            return f'the cutouts span {came}, those that the model was trained on {known}'
        if self.pixel_scale is None:
            return None
        ratio = np.nanmedian(cutouts.pixel_scale.to_value('arcsec')) / self.pixel_scale
        if abs(ratio - 1) <= SCALE_TOLERANCE:
            return None
        return (
            f'the cutouts have {ratio:.3g} times the pixel scale that the model was trained on, '
            f'{self.pixel_scale:.4g} arcsec'
        )


def _read_fields(text):
    """Return the fields of a specification in JSON, each of its type."""
    try:
        fields = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        msg = f'the specification is no JSON: {error}'
        raise ValueError(msg) from error
    if not isinstance(fields, dict):
        msg = f'the specification is a {type(fields).__name__}, expected a dictionary'
        raise ValueError(msg)
    unknown = fields.keys() - _FIELDS.keys()
    if unknown:
        msg = (
            f'the specification has the fields {cut_list(sorted(unknown))}, which this version '
            f'does not know; read it with version {fields.get("version")!r} of astro_morph'
        )
        raise ValueError(msg)
    defaults = json.loads(ModelSpec().to_json())
    for name, value in fields.items():
        expected, is_valid = _FIELDS[name]
        if value != defaults[name] and not is_valid(value):
            msg = f'the specification has {name!r} of {str(value)[:50]}, expected {expected}'
            raise ValueError(msg)
    return fields
