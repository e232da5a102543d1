# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Prepare training images, and take batches of them from the device, the memory or a file."""

import math
import mmap

import numpy as np
import torch
from torchvision.transforms.v2.functional import to_dtype

from astro_morph.models.building import MEASURED

__all__ = ['Batches', 'training_images']

# Fraction of the GPU's free memory that the images may take: the network needs the rest.
RESIDENT_FRACTION = 0.5

# Images copied to the GPU at once, so that the CPU needs no second copy of all.
CHUNK = 4096


class Batches:
    """
    Take batches of images to the device.

    The images are kept on a GPU if they fit into half of its free memory. Otherwise they stay where
    they are, which may be a file mapped into memory, and only the rows of a batch are read.

    Parameters
    ----------
    images : array_like, shape (n, band, y, x)
        Bytes, where 255 means 1, or floats. They are not copied in memory.
    device : `torch.device`
        Device of the batches.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from astro_morph.learning.training.batches import Batches
    >>> pictures = np.full((1000, 3, 64, 64), 255, np.uint8)
    >>> batches = Batches(pictures, torch.device('cpu'))
    >>> batches.take(torch.tensor([3, 30, 300])).amax()
    tensor(1.)
    """

    def __init__(self, images, device):
        self.device = device
        self._images = np.asarray(images)
        self._dtype = torch.from_numpy(np.empty(0, self._images.dtype)).dtype
        self._file = _mapped_file(self._images)
        self._resident = self._load() if self._fits() else None

    def __len__(self):
        return len(self._images)

    def take(self, rows):
        """
        Take the images of some rows.

        Parameters
        ----------
        rows : `torch.Tensor` of int, shape (m,)
            Row numbers; if they are sorted, a file is read in one direction.

        Returns
        -------
        images : `torch.Tensor` of float32, shape (m, band, y, x)
            The images, on the device. Bytes are divided by 255.
        """
        if self._resident is None:
            batch = self._read(rows.numpy()).to(self.device, non_blocking=True)
        else:
            batch = self._resident[rows.to(self.device, non_blocking=True)]
        return to_dtype(batch, torch.float32, scale=True)

    def _read(self, rows):
        # Pinned memory is copied to the GPU while the CPU prepares the next batch.
        batch = torch.empty(
            (len(rows), *self._images.shape[1:]),
            dtype=self._dtype,
            pin_memory=self.device.type == 'cuda',
        )
        np.take(self._images, rows, axis=0, out=batch.numpy(), mode='clip')
        if self._file is not None:
            # The system reads up to 2 MB around each row, which count as memory of this process.
            self._file.madvise(mmap.MADV_DONTNEED)
        return batch

    def _fits(self):
        return self._images.nbytes < RESIDENT_FRACTION * _free_memory(self.device)

    def _load(self):
        resident = torch.empty(self._images.shape, dtype=self._dtype, device=self.device)
        for rows in np.array_split(np.arange(len(self)), math.ceil(len(self) / CHUNK)):
            resident[rows[0] : rows[-1] + 1] = self._read(rows)
        return resident


def _free_memory(device):
    """Return the free memory of a GPU in bytes; 0 for a device that shares that of the CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == 'cuda' else 0


def _mapped_file(array):
    """Return the memory map under an array if it is read-only, else None."""
    while isinstance(array, np.ndarray):
        # A page of a writable map may hold changes by the user, and must not be dropped.
        is_file = isinstance(array, np.memmap) and array.mode == 'r'
        array = array.base
        if is_file and hasattr(array, 'madvise'):
            return array
    return None


@torch.no_grad()
def training_images(network, cutouts):
    """
    Return the images from which the views for training are drawn.

    Parameters
    ----------
    network : `~astro_morph.models.networks.MorphologyNetwork`
        The network, on the CPU.
    cutouts : `~astro_morph.CutoutSet`
        The cutouts.

    Returns
    -------
    images : ndarray of uint8 or float16, shape (n, band, y, x)
        Pictures of bytes as they are, not copied; other pictures scaled to 0 to 1; or flux in units
        of the noise, with holes at zero, which is stretched only after its conditions were varied.
        `Batches` takes them.
    """
    if cutouts.images.dtype == np.uint8:
        return cutouts.images
    scale = network.stretch.scale if cutouts.kind == 'flux' else network.stretch
    # Stars brighter than the largest number of half precision are cut off: after the stretch the
    # difference is small.
    largest = torch.finfo(torch.float16).max
    scaled = np.empty(cutouts.shape, np.float16)
    for start in range(0, len(cutouts), MEASURED):
        part = slice(start, start + MEASURED)
        batch = scale(torch.from_numpy(cutouts.images[part].copy()))
        scaled[part] = batch.clamp_(-largest, largest).half()
    return scaled
