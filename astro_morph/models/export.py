# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write a classifier as one ONNX file, as it is or made faster, and measure what that costs."""

import copy
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from scipy.special import softmax

from astro_morph.catalog.vote_tree import VoteTree
from astro_morph.models.dirichlet import concentrations, expected_fractions
from astro_morph.models.onnx_model import COST_KEY, OUTPUTS, SPEC_KEY, Cost, OnnxModel
from astro_morph.models.running import BATCH_SIZE
from astro_morph.utils.files import atomic_file
from astro_morph.utils.messages import as_written

__all__ = ['export']

PRECISIONS = ('float32', 'float16', 'int8')

# The image alone, its four rotations, and these with their reflections.
VIEWS = (1, 4, 8)

# The exporter has given files that are right at one batch size and wrong at another
# (pytorch issue 169178): a file is checked at these before it is kept.
CHECKED_BATCH_SIZES = (1, 7, 64)

# Largest difference of a probability between PyTorch and a file of floating-point numbers. Half
# of the digits are enough for galaxies; the noise of the check is unlike any of them.
TOLERANCE = {'float32': 1e-4, 'float16': 0.05}

# Operators of the encoder, and of nothing else. A sum that stays in floating point between them
# costs a hundredth of the time.
QUANTISED = ('Conv', 'MaxPool', 'Relu')

# Galaxies at once when ranges are measured: all intermediate images of their views are held.
CALIBRATION_BATCH = 16


def export(
    model, path, *, precision='float32', views=None, images=None, target=None, overwrite=False
):
    """
    Write a classifier as one ONNX file, and keep it only if it gives the same answers.

    The file of 32-bit floats gives what PyTorch gives. In lower precision the encoder alone is
    rounded; stretch, head, calibration and novelty stay as they are. 8-bit integers are scaled by
    what the encoder makes of ``images``, a scale for each channel of the weights (static
    quantisation, Jacob et al. 2018, arXiv:1712.05877). What lower precision and fewer views change
    is measured on the same images.

    Parameters
    ----------
    model : `~astro_morph.models.torch_model.TorchModel`
        The classifier.
    path : path-like
        The file.
    precision : {'float32', 'float16', 'int8'}, optional
        Precision of the encoder.
    views : {1, 4, 8}, optional
        How many of the rotations and reflections of the square to keep; by default those of the
        model.
    images : ndarray, shape (n, band, y, x), optional
        Images as the model sees them, cleaned. Only the model as it is can do without.
    target : ndarray of int, shape (n,), optional
        Index of their true classes, -1 where it is not known.
    overwrite : bool, default=False
        Whether to replace an existing file.

    Returns
    -------
    cost : `~astro_morph.models.onnx_model.Cost`
        What the file changes; it stands in the file too.

    Raises
    ------
    ValueError
        If precision or views are not known, the model does not take images, or there are no
        images to measure on.
    FileExistsError
        If the file exists and ``overwrite`` is false.
    RuntimeError
        If ONNX Runtime does not give what PyTorch gives.
    """
    views = model.spec.views if views is None else views
    _check(model.spec, precision, views, images)
    with atomic_file(path, overwrite=overwrite) as aside:
        # On the CPU, in full precision: a GPU may round its products.
        model = type(model)(model.spec, copy.deepcopy(model.network))
        lighter = _with_views(model, views)
        _write(lighter, aside, is_half=precision == 'float16')
        # Integers are checked as the floats that they are made from.
        _verify(lighter, aside, TOLERANCE.get(precision, TOLERANCE['float32']))
        if precision == 'int8':
            _quantise(aside, images)
        cost = Cost(precision, views)
        if images is not None:
            cost = _measure(cost, model, OnnxModel(aside), images, target)
        _describe(aside, _identified(lighter.spec, model.spec, precision), cost)
    return cost


def _check(spec, precision, views, images):
    if precision not in PRECISIONS:
        msg = f'precision must be one of {PRECISIONS}, got {precision!r}'
        raise ValueError(msg)
    if not spec.bands:
        msg = (
            'only a classifier of images can be written as ONNX, this one takes plain features; '
            'write it with save'
        )
        raise ValueError(msg)
    if views not in VIEWS or views > spec.views:
        msg = (
            f'{as_written("views")} must be one of {VIEWS}, and at most {spec.views} for this '
            f'model, got {views}'
        )
        raise ValueError(msg)
    is_as_it_is = precision == 'float32' and views == spec.views
    if images is None and not is_as_it_is:
        msg = (
            f'{as_written("precision", precision)} and {as_written("views", views)} change the '
            'answers, and there are no galaxies to measure by how much: pass a few hundred as '
            f'{as_written("X")}, with labels if you have them'
        )
        raise ValueError(msg)


def _with_views(model, views):
    """Give the same model with fewer views."""
    network = copy.deepcopy(model.network)
    network.views = views
    return type(model)(dataclasses.replace(model.spec, views=views), network)


def _identified(spec, original, precision):
    """Give the specification a fingerprint that tells whose answers a catalogue holds."""
    changes = [spec.identifier]
    if precision != 'float32':
        changes.append(precision)
    if spec.views != original.views:
        changes.append(f'{spec.views}views')
    return dataclasses.replace(spec, identifier='-'.join(changes))


def _write(model, path, *, is_half=False):
    import onnx
    import torch

    spec, network = model.spec, copy.deepcopy(model.network)
    if is_half:
        network.encoder.half()
    example = torch.zeros(2, len(spec.bands), spec.size, spec.size)
    program = torch.onnx.export(
        network,
        (example,),
        input_names=['images'],
        output_names=OUTPUTS,
        dynamic_shapes=({0: torch.export.Dim('n')},),
        dynamo=True,
        verbose=False,
    )
    proto = program.model_proto
    # Where each node stands in the code, with the names of this machine's folders.
    for node in proto.graph.node:
        del node.metadata_props[:]
    onnx.helper.set_model_props(proto, {SPEC_KEY: spec.to_json()})
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _describe(path, spec, cost):
    """Write into a file what it takes and gives, and what it costs."""
    import onnx

    proto = onnx.load(path)
    onnx.helper.set_model_props(proto, {SPEC_KEY: spec.to_json(), COST_KEY: cost.to_json()})
    onnx.save(proto, path)


def _verify(model, path, tolerance):
    written = OnnxModel(path)
    random = np.random.default_rng(0)
    shape = (len(model.spec.bands), model.spec.size, model.spec.size)
    for n in CHECKED_BATCH_SIZES:
        # Noise of every brightness, with missing pixels: all branches of the stretch.
        images = random.normal(size=(n, *shape)) * np.exp(random.uniform(-3, 5, (n, 1, 1, 1)))
        images[0, 0, 0, 0] = np.nan
        images = images.astype(np.float32)
        expected, came = (_outputs(model.spec, m.run(images)) for m in (model, written))
        difference = np.nanmax(np.abs(expected - came))
        if not difference <= tolerance:
            msg = (
                f'ONNX Runtime differs from PyTorch by {difference:.2g} in a probability, in a '
                f'batch of {n}; the file is not kept; try another version of torch or onnxruntime'
            )
            raise RuntimeError(msg)


def _outputs(spec, outputs):
    """Return answers and novelty side by side; novelty that is not known is NaN."""
    logits, _, novelty = outputs
    return np.column_stack([_answers(spec, logits), novelty])


def _answers(spec, logits):
    """Return the probabilities of classes, or the expected fractions of votes."""
    if spec.tree is None:
        return softmax(logits, axis=1)
    return expected_fractions(concentrations(logits.astype(float)), VoteTree(spec.tree))[0]


def _quantise(path, images):
    """Replace the encoder of a file by one of 8-bit integers."""
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / 'model.onnx'
        # The exporter has folded the batch norms into the convolutions; shapes are missing.
        quant_pre_process(path, prepared, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            path,
            _Reader(images),
            # Pixels without sign and weights with it: the fastest on x86, and well on others.
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            # Weights of 7 bits: with 8, processors without VNNI overflow and give other answers.
            reduce_range=True,
            op_types_to_quantize=QUANTISED,
        )


class _Reader:
    """Hand out images in batches, as ONNX Runtime's calibration asks for them."""

    def __init__(self, images):
        self._batches = _in_batches(images, CALIBRATION_BATCH)

    def get_next(self):
        batch = next(self._batches, None)
        return None if batch is None else {'images': batch}


def _in_batches(images, size=BATCH_SIZE):
    for start in range(0, len(images), size):
        yield images[start : start + size].astype(np.float32)


def _measure(cost, model, written, images, target):
    """Add to the cost of a file what it changes on some images."""
    expected, came = (
        np.concatenate([_answers(model.spec, m.run(batch)[0]) for batch in _in_batches(images)])
        for m in (model, written)
    )
    changes = np.abs(came - expected).max(axis=1)
    cost = dataclasses.replace(
        cost,
        n_galaxies=len(images),
        largest_change=float(changes.max()),
        mean_change=float(changes.mean()),
    )
    is_known = np.zeros(len(images), bool) if target is None else target >= 0
    if not is_known.any():
        return cost
    before, after = (
        float(np.mean(p.argmax(axis=1)[is_known] == target[is_known])) for p in (expected, came)
    )
    return dataclasses.replace(
        cost, n_labels=int(is_known.sum()), accuracy=after, accuracy_change=after - before
    )
