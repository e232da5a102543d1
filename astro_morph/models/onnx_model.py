# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read a model from an ONNX file and run it with ONNX Runtime."""

import dataclasses
import json
import os

from astro_morph.models.spec import ModelSpec
from astro_morph.utils.cores import n_cores

__all__ = ['Cost', 'OnnxModel']

# Keys of the file's metadata under which the model's specification and its cost stand.
SPEC_KEY = 'astro_morph'


COST_KEY = 'astro_morph_cost'


OUTPUTS = ['logits', 'features', 'novelty']


# Names of the standard's own set of operators. All others are code that something else brings.
STANDARD_DOMAINS = {'', 'ai.onnx'}


@dataclasses.dataclass(frozen=True)
class Cost:
    """
    What a file gives up against the model that wrote it, as measured when it was written.

    Parameters
    ----------
    precision : {'float32', 'float16', 'int8'}
        Precision of the encoder.
    views : {1, 4, 8}
        Rotations and reflections that a prediction averages.
    n_galaxies, n_labels : int, optional
        Galaxies that it was measured on, and those of them whose class is known.
    accuracy, accuracy_change : float or None, optional
        Share of right classes, and how much larger it is than that of the model; None where no
        class is known. On galaxies that the model was fitted on it is too good.
    largest_change, mean_change : float or None, optional
        Of the largest difference of a probability that each galaxy has, the largest and the mean;
        None where there were no galaxies.

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
        """Write the cost as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text):
        """Read the cost from JSON."""
        return cls(**json.loads(text))


class OnnxModel:
    """
    A model that ONNX Runtime runs.

    It takes a graphics processor where ONNX Runtime finds one that speaks CUDA, else the cores
    that the process may use, and no others.

    Parameters
    ----------
    path : path
        A file that `~astro_morph.MorphologyClassifier.to_onnx` wrote.
    threads : int, optional
        How many threads a run takes; by default one for each core that the process may use.

    Attributes
    ----------
    spec : `~astro_morph.models.spec.ModelSpec`
        What the model takes and gives.
    cost : `Cost` or None
        What the file gives up; None if that was not measured.

    Raises
    ------
    ValueError
        If the file is no ONNX model of this package, or needs code or data outside itself. What
        is outside is not looked at.
    """

    def __init__(self, path, *, threads=None):
        proto = _read(path)
        metadata = {item.key: item.value for item in proto.metadata_props}
        self.spec = ModelSpec.from_json(metadata[SPEC_KEY])
        self.cost = Cost.from_json(metadata[COST_KEY]) if COST_KEY in metadata else None
        self._threads = threads or n_cores()
        # As bytes, so that what was checked is what runs, here and where the model is unpickled.
        self._bytes = proto.SerializeToString()
        self._session = _start(self._bytes, self._threads)

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != '_session'}

    def __setstate__(self, state):
        vars(self).update(state)
        self._session = _start(self._bytes, self._threads)

    @property
    def n_features(self):
        """How many features an image has."""
        return self._session.get_outputs()[1].shape[1]

    def run(self, samples):
        """
        Turn a batch into logits, features and novelty.

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
    """Read a file, and refuse it unless it is one of ours and whole in itself."""
    import onnx

    name = os.fspath(path)
    try:
        # What stands outside the file is not read.
        proto = onnx.load(name, load_external_data=False)
    except FileNotFoundError as error:
        msg = f'there is no file {name!r}; check its name and folder'
        raise FileNotFoundError(msg) from error
    except Exception as error:
        msg = f'{name!r} is not an ONNX file; name one that to_onnx wrote: {error}'
        raise ValueError(msg) from error
    if all(item.key != SPEC_KEY for item in proto.metadata_props):
        msg = (
            f'{name!r} was not written by astro_morph: it lacks its metadata; name one '
            'that to_onnx wrote'
        )
        raise ValueError(msg)
    for part in _parts(proto):
        if isinstance(part, onnx.TensorProto) and _is_outside(part):
            msg = (
                f'{name!r} refers to data in another file, which is not read: a model of '
                'astro_morph is whole in one file; write it again with to_onnx'
            )
            raise ValueError(msg)
        is_operator = isinstance(part, (onnx.NodeProto, onnx.OperatorSetIdProto))
        if is_operator and part.domain not in STANDARD_DOMAINS:
            msg = (
                f'{name!r} has operators of {part.domain!r}, which are not of the ONNX standard '
                'and are not run: no model of astro_morph has such'
            )
            raise ValueError(msg)
    return proto


def _parts(message):
    """Give a message and all that it is made of, however deep."""
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
    # Threads that are counted for it stay, as their process, on the cores that are given to it.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Between two batches the cores are wanted to cut out the next galaxies.
    options.add_session_config_entry('session.force_spinning_stop', '1')
    return onnxruntime.InferenceSession(model, options, providers=_providers(onnxruntime))


def _providers(onnxruntime):
    """Choose who computes. Other accelerators than CUDA round more than the file says."""
    cuda = ('CUDAExecutionProvider', {'use_tf32': '0'})
    has_cuda = cuda[0] in onnxruntime.get_available_providers()
    return [cuda, 'CPUExecutionProvider'] if has_cuda else ['CPUExecutionProvider']
