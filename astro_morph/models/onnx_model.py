# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read a model from an ONNX file and run it with ONNX Runtime."""

import dataclasses
import json
import os

from astro_morph.models.spec import ModelSpec
from astro_morph.photometry.brightness import range_around
from astro_morph.utils.cores import n_cores
from astro_morph.utils.messages import for_caller

__all__ = ['Cost', 'OnnxModel']

# Keys of the specification and the cost of a model in the metadata of its file.
SPEC_KEY = 'astro_morph'
COST_KEY = 'astro_morph_cost'

OUTPUTS = ['logits', 'features', 'novelty']

# Domains of the standard operators of ONNX. Those of other domains need code from elsewhere.
STANDARD_DOMAINS = {'', 'ai.onnx'}


@dataclasses.dataclass(frozen=True)
class Cost:
    """
    Accuracy lost in the export to ONNX, as measured when the file was written.

    Parameters
    ----------
    precision : {'float32', 'float16', 'int8'}
        Precision of the encoder.
    views : {1, 4, 8}
        Number of rotations and reflections that a prediction averages.
    n_galaxies, n_labels : int, default=0
        Number of galaxies that it was measured on, and of those with a known class.
    accuracy, accuracy_change : float, default=None
        Accuracy of the file, and its difference from that of the original model; None if no class
        is known. The accuracy is too high if the galaxies were in the training.
    largest_change, mean_change : float, default=None
        Maximum and mean over the galaxies of the largest change of a probability; None without
        galaxies.

    Examples
    --------
    >>> from astro_morph.models.onnx_model import Cost
    >>> print(Cost('int8', 8, 200, 200, 0.935, -0.005, 0.031, 0.004))
    int8, 8 views: on 200 galaxies a probability changes by 0.031 at most, 0.004 on average; the
    accuracy by -0.5 points to 93.5 %
    """

    precision: str
    views: int
    n_galaxies: int = 0
    n_labels: int = 0
    accuracy: float | None = None
    accuracy_change: float | None = None
    largest_change: float | None = None
    mean_change: float | None = None

    def __str__(self):
        text = f'{self.precision}, {self.views} view{"s"[: self.views > 1]}'
        if self.n_galaxies:
            text += (
                f': on {self.n_galaxies} galaxies a probability changes by '
                f'{self.largest_change:.2g} at most, {self.mean_change:.2g} on average'
            )
        if self.n_labels:
            text += (
                f'; the accuracy by {100 * self.accuracy_change:+.1f} points to '
                f'{100 * self.accuracy:.1f} %'
            )
        return text

    def to_json(self):
        """Return the cost as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text):
        """Read the cost from JSON."""
        return cls(**json.loads(text))


class OnnxModel:
    """
    A model in an ONNX file, run by ONNX Runtime.

    It runs on a CUDA GPU if ONNX Runtime finds one, else on the cores that the process may use.

    Parameters
    ----------
    path : path-like
        A file that `~astro_morph.MorphologyClassifier.to_onnx` wrote.
    threads : int, default=None
        Number of threads; one for each core that the process may use if None.

    Attributes
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        What the model takes and returns.
    cost : `Cost` or None
        Accuracy lost in the export; None if it was not measured.

    Raises
    ------
    ValueError
        If the file is no ONNX model of this package, or needs code or data outside the file, which
        are never read.
    """

    def __init__(self, path, *, threads=None):
        proto = _read(path)
        metadata = {item.key: item.value for item in proto.metadata_props}
        self.spec = ModelSpec.from_json(metadata[SPEC_KEY])
        if self.spec.brightness is None:
            self.spec = dataclasses.replace(self.spec, brightness=_brightness(proto))
        self.cost = Cost.from_json(metadata[COST_KEY]) if COST_KEY in metadata else None
        self._threads = threads or n_cores()
        # The bytes that were checked are those that run, also where the model is unpickled.
        self._bytes = proto.SerializeToString()
        self._session = _start(self._bytes, self._threads)

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != '_session'}

    def __setstate__(self, state):
        vars(self).update(state)
        self._session = _start(self._bytes, self._threads)

    @property
    def n_features(self):
        """Number of features of an image."""
        return self._session.get_outputs()[1].shape[1]

    def run(self, samples):
        """
        Compute logits, features and novelty of a batch.

        Parameters
        ----------
        samples : ndarray of float32, shape (n, band, y, x)
            Raw images.

        Returns
        -------
        logits, features, novelty : ndarray of float32
            Of shape (n, n_classes), (n, d) and (n,).
        """
        return tuple(self._session.run(OUTPUTS, {'images': samples}))


def _read(path):
    """Read a file; refuse one that is not of this package, or needs other files or code."""
    import onnx

    name, writer = os.fspath(path), for_caller('to_onnx', 'export')
    try:
        # Data in other files are not read.
        proto = onnx.load(name, load_external_data=False)
    except FileNotFoundError as error:
        msg = f'there is no file {name!r}; check its name and folder'
        raise FileNotFoundError(msg) from error
    except Exception as error:
        msg = f'{name!r} is not an ONNX file; name one that {writer} wrote: {error}'
        raise ValueError(msg) from error
    if all(item.key != SPEC_KEY for item in proto.metadata_props):
        msg = (
            f'{name!r} was not written by astro_morph: it lacks its metadata; name one '
            f'that {writer} wrote'
        )
        raise ValueError(msg)
    for part in _parts(proto):
        if isinstance(part, onnx.TensorProto) and _is_outside(part):
            msg = (
                f'{name!r} refers to data in another file, which is not read: a model of '
                f'astro_morph is one file; write it again with {writer}'
            )
            raise ValueError(msg)
        is_operator = isinstance(part, (onnx.NodeProto, onnx.OperatorSetIdProto))
        if is_operator and part.domain not in STANDARD_DOMAINS:
            msg = (
                f'{name!r} has operators of {part.domain!r}, which are not of the ONNX standard '
                f'and are not run; name a file that {writer} wrote'
            )
            raise ValueError(msg)
    return proto


def _brightness(proto):
    """Return the range of brightness of an older file, which records only the noise of flux."""
    from onnx.numpy_helper import to_array

    noise = {part.name: part for part in proto.graph.initializer}.get('stretch.noise')
    return None if noise is None else range_around(to_array(noise).ravel(), 'flux')


def _parts(message):
    """Yield a message of the file and all messages within it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, 'ListFields') else value:
                yield from _parts(part)


def _is_outside(tensor):
    return len(tensor.external_data) > 0 or tensor.data_location == tensor.EXTERNAL


def _start(model, threads):
    """Start a session of ONNX Runtime with a serialised model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # With a given number, the threads stay on the cores that the process may use.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Between two batches, the cores are needed to cut out the next galaxies.
    options.add_session_config_entry('session.force_spinning_stop', '1')
    return onnxruntime.InferenceSession(model, options, providers=_providers(onnxruntime))


def _providers(onnxruntime):
    """Return the providers to run on. Accelerators other than CUDA round more than stated."""
    cuda = ('CUDAExecutionProvider', {'use_tf32': '0'})
    has_cuda = cuda[0] in onnxruntime.get_available_providers()
    return [cuda, 'CPUExecutionProvider'] if has_cuda else ['CPUExecutionProvider']
