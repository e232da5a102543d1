# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""ModelSpec: what a model takes and returns, stored beside its weights."""

import dataclasses
import json
import warnings

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning

from astro_morph.cutouts.cutout_set import PICTURE_BANDS
from astro_morph.utils.messages import as_written

__all__ = ['ModelSpec']

# In smaller images the last layers see one pixel: in bfloat16 on a CPU, PyTorch then gives the
# weights that meet no pixel gradients from uninitialised memory.
SMALLEST_SIDE = 17

# A model is used at the pixel scale it has learnt; a ratio within this is the same scale.
SCALE_TOLERANCE = 0.02


_KINDS = {'flux': 'images linear in flux', 'picture': 'pictures stretched for the eye'}


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """
    What a model takes and gives, beside its weights.

    Parameters
    ----------
    classes : tuple of str or int, optional
        The classes, in the order of the logits; none for an encoder.
    bands : tuple of str, optional
        The bands, in order; none for a model of plain features.
    size : int or None, optional
        Side of the images in pixels.
    input_size : int or None, optional
        Side to which they are enlarged before the encoder; None for as they are.
    pixel_scale : float or None, optional
        Arcseconds a pixel, where it is known and the same for all images.
    framing : str or None, optional
        The column and factor that the field of view follows, such as ``'4 * petroR90_r'``.
    kind : {'flux', 'picture'}, optional
        Whether the images are linear in flux or pictures.
    preprocessing : dict or None, optional
        Settings of the `~astro_morph.photometry.Preprocessor` that cleans the images.
    architecture : str, optional
        The encoder.
    views : int, optional
        Rotations and reflections that a prediction averages.
    stages : tuple of int, optional
        Stages of the encoder whose scatter the features hold beside the mean of the last one.
    hidden : int, optional
        Width of the hidden layer of the head; 0 for none.
    frozen : bool, optional
        Whether the encoder was left as it was when the head was learnt.
    tree : dict or None, optional
        The questions of a model of votes, see `~astro_morph.catalog.vote_tree.VoteTree`; its
        classes are the answers.
    conformity : tuple of float, optional
        Scores of galaxies held out, see `~astro_morph.models.calibration.prediction_sets`.
    identifier : str, optional
        Fingerprint of the weights.
    version : str, optional
        Version of astro_morph that made the model.
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
    views: int = 8
    stages: tuple = ()
    hidden: int = 0
    frozen: bool = False
    tree: dict | None = None
    conformity: tuple = ()
    identifier: str = ''
    version: str = ''

    def __str__(self):
        what = ', '.join(map(str, self.classes)) or 'features'
        if not self.bands:
            return f'{what} from plain features'
        return f'{what} from images of {", ".join(self.bands)}, {self.size} x {self.size} pixels'

    def to_json(self):
        """Write the specification as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text):
        """Read the specification from JSON."""
        fields = json.loads(text)
        fields = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        return cls(**fields)

    def check(self, cutouts):
        """
        Make sure that the model can take these cutouts.

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
            remedy = 'take them from a source of those'
            if self.bands == PICTURE_BANDS:
                remedy = (
                    'a CutoutSet of flux in g, r and i, with pixel_scale and zero_point, is drawn '
                    'as pictures'
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
                    f'{value}; fetch or cut the images so'
                )
                raise ValueError(msg)
        difference = self._compare_scale(cutouts)
        if difference:
            warnings.warn(
                f'{difference}: galaxies look larger or smaller than those it knows; fetch them '
                'as it knows them',
                AstropyUserWarning,
                stacklevel=3,
            )

    def _compare_scale(self, cutouts):
        """Say how the cutouts differ in scale from those that the model knows, as far as known."""
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
