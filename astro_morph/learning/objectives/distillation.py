# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Distillation: a network learns to see in one view what another one sees in eight."""

import torch
from torch import nn

from astro_morph.models.networks import SQUARE_SYMMETRIES, square_views

__all__ = ['Distillation']


class Distillation(nn.Module):
    r"""
    Difference between the outputs for one view of each image and those of its teacher.

    The student sees one of the rotations and reflections of the square, drawn at random; the
    teacher's outputs are averages over them. The student learns the teacher's logits (Ba &
    Caruana 2014, arXiv:1312.6184), features (Romero et al. 2015, arXiv:1412.6550), and the texture
    that novelty is measured in:

    .. math::

        L = \sum_k \left\langle \frac{(y_k - \hat{y}_k)^2}{\sigma_k^2} \right\rangle

    with the mean over all numbers of an output :math:`k`, and its variance :math:`\sigma_k^2` over
    all galaxies and numbers, so that none outweighs the others.

    Parameters
    ----------
    network : `~astro_morph.models.networks.MorphologyNetwork`
        The student.
    targets : sequence of `torch.Tensor`, each of shape (n_images, d)
        Logits, features and texture of each training image, as the teacher predicts them. Logits
        of an encoder without a head are as wide as its features.
    views : {4, 8}, default=8
        Number of views that the teacher averages: 4 rotations, or these and their reflections.

    Examples
    --------
    >>> import torch
    >>> from astro_morph.learning.objectives import Distillation
    >>> from astro_morph.models.encoders.resnet import resnet
    >>> from astro_morph.models.networks import MorphologyNetwork
    >>> network = MorphologyNetwork(torch.nn.Identity(), resnet('resnet18'), torch.nn.Identity())
    >>> targets = [torch.randn(4, 512) for _ in range(3)]
    >>> distillation = Distillation(network, targets)
    >>> images, rows, generator = torch.rand(4, 3, 32, 32), torch.arange(4), torch.Generator()
    >>> loss, _ = distillation(images, rows, generator, progress=0.5)
    >>> bool(loss > 0)
    True
    """

    def __init__(self, network, targets, *, views=SQUARE_SYMMETRIES):
        super().__init__()
        self.views = views
        self.network = network
        for number, target in enumerate(targets):
            self.register_buffer(f'target_{number}', target)
            self.register_buffer(f'variance_{number}', target.var(dim=0).mean())

    def train(self, mode=True):
        """Keep the statistics of the batch norms, by which the student starts as its teacher."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, images, rows, generator, progress):
        """
        Compare the outputs for a view of each image with those of the teacher.

        The arguments are those of all objectives, see `astro_morph.learning.objectives`; the images
        are stretched, and not yet enlarged.

        Returns
        -------
        loss, accuracy : `torch.Tensor`
            Mean loss, and the fraction of galaxies whose largest logit is that of the teacher.
        """
        outputs = self.network.look(self._drawn(images, generator))
        loss = sum(self._error(number, output, rows) for number, output in enumerate(outputs))
        same = outputs[0].argmax(1) == self.target_0[rows].argmax(1)
        return loss, same.float().mean()

    def _error(self, number, output, rows):
        target = getattr(self, f'target_{number}')[rows]
        return (output.float() - target).square().mean() / getattr(self, f'variance_{number}')

    def _drawn(self, images, generator):
        """Return one of the rotations and reflections of each image."""
        n, device = len(images), images.device
        chosen = torch.randint(self.views, (n,), generator=generator, device=device)
        return torch.stack(square_views(images))[chosen, torch.arange(n, device=device)]
