# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write a model as one ONNX file, in float32, float16 or int8, and measure the accuracy lost."""

import copy
import dataclasses
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy.special import softmax
from torch import nn

from astro_morph.catalog.vote_tree import VoteTree
from astro_morph.models.calibration import split_outputs
from astro_morph.models.dirichlet import concentrations, expected_fractions
from astro_morph.models.encoders.resnet import ResNet
from astro_morph.models.onnx_model import COST_KEY, OUTPUTS, SPEC_KEY, Cost, OnnxModel
from astro_morph.models.running import BATCH_SIZE
from astro_morph.utils.files import atomic_file
from astro_morph.utils.messages import as_written

__all__ = ['export']

PRECISIONS = ('float32', 'float16', 'int8')

# The image alone, its four rotations, and these with their reflections.
VIEWS = (1, 4, 8)

# PyTorch has exported files that are right for one batch size and wrong for another (its issue
# 169178): a file is checked at these sizes before it is kept.
CHECKED_BATCH_SIZES = (1, 3, 8)

# Largest difference of a probability or feature, or of a number in standard deviations, between
# PyTorch and a file of floating-point numbers. For galaxies, half precision differs less than for
# the noise images of the check.
TOLERANCE = {'float32': 1e-4, 'float16': 0.05}

# Operators that are quantised: those that only the encoder has, and products with weights. The sums
# between them stay in floating point, which takes a hundredth of the time.
QUANTISED = ('Conv', 'MaxPool', 'Relu', 'MatMul')

# Galaxies in a batch when the ranges of integers are measured: all intermediate images of all
# their views are in memory.
CALIBRATION_BATCH = 16


def export(
    model, path, *, precision='float32', views=None, images=None, target=None, overwrite=False
):
    """
    Write a model as one ONNX file, and keep it only if its predictions are those of PyTorch.

    In lower precision only the encoder is rounded; stretch, head, calibration and novelty stay as
    they are. 8-bit integers are scaled to the range of values that ``images`` give in the encoder,
    with one scale for each channel of the weights (static quantisation, Jacob et al. 2018,
    arXiv:1712.05877). The change of the predictions by lower precision and fewer views is measured
    on the same images.

    Parameters
    ----------
    model : `~astro_morph.models.torch_model.TorchModel`
        The model, of classes, votes or numbers.
    path : path-like
        The file.
    precision : {'float32', 'float16', 'int8'}, default='float32'
        Precision of the encoder.
    views : {1, 4, 8}, default=None
        Number of rotations and reflections to average; those of the model if None.
    images : ndarray, shape (n, band, y, x), default=None
        Cleaned images on which the change is measured. Required unless precision and views are
        those of the model.
    target : ndarray of int, shape (n,), default=None
        Index of the true class of each image, -1 where it is not known.
    overwrite : bool, default=False
        Whether to replace an existing file.

    Returns
    -------
    cost : `~astro_morph.models.onnx_model.Cost`
        Accuracy lost in the export; it is written into the file too.

    Raises
    ------
    ValueError
        If precision or views are not known, the model does not take images, or there are no
        images to measure on.
    FileExistsError
        If the file exists and ``overwrite`` is false.
    RuntimeError
        If the predictions of ONNX Runtime are not those of PyTorch.
    """
    views = model.spec.views if views is None else views
    _check(model.spec, precision, views, images)
    with atomic_file(path, overwrite=overwrite) as aside:
        # On the CPU, in full precision: a GPU may round its products.
        model = type(model)(model.spec, copy.deepcopy(model.network))
        reduced = _reduced(model, precision, views)
        _write(reduced, aside, is_half=precision == 'float16')
        # Before quantisation, a model of integers is checked as a model of 32-bit floats.
        _verify(reduced, aside, TOLERANCE.get(precision, TOLERANCE['float32']))
        if precision == 'int8':
            _quantise(aside, images)
        cost = Cost(precision, views, of_numbers=model.spec.predicts == 'numbers')
        if images is not None:
            cost = _measure(cost, model, OnnxModel(aside), images, target)
        _write_metadata(aside, reduced.spec, cost)
    return cost


def _check(spec, precision, views, images):
    if precision not in PRECISIONS:
        msg = f'precision must be one of {PRECISIONS}, got {precision!r}'
        raise ValueError(msg)
    if not spec.bands:
        msg = (
            'only a model of images can be written as ONNX, this one takes plain features; write '
            'it with save'
        )
        raise ValueError(msg)
    if views not in VIEWS or views > spec.views:
        msg = (
            f'{as_written("views")} must be one of {VIEWS}, and at most {spec.views} for this '
            f'model, got {views}'
        )
        raise ValueError(msg)
    is_unchanged = precision == 'float32' and views == spec.views
    if images is None and not is_unchanged:
        msg = (
            f'{as_written("precision", precision)} and {as_written("views", views)} change the '
            'predictions, and there are no galaxies to measure the change on; pass a few hundred '
            f'as {as_written("X")}, with labels if you have them'
        )
        raise ValueError(msg)


def _reduced(model, precision, views):
    """Return a copy of the model with fewer views; its identifier names views and precision."""
    identifier = model.spec.identifier
    if precision != 'float32':
        identifier += f'-{precision}'
    if views != model.spec.views:
        identifier += f'-{views}views'
    network = copy.deepcopy(model.network)
    network.views = views
    spec = dataclasses.replace(model.spec, views=views, identifier=identifier)
    return type(model)(spec, network)


def _write(model, path, *, is_half=False):
    import onnx

    spec = model.spec
    network = copy.deepcopy(model.network)
    for part in network.encoder.modules():
        # The exporter expects another layout of what fused attention returns.
        if hasattr(part, 'fused_attn'):
            part.fused_attn = False
    if isinstance(network.encoder, ResNet):
        _fold_batch_norms(network.encoder)
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
    # The exporter records the line of code of each node, with the folders of this machine.
    for node in proto.graph.node:
        del node.metadata_props[:]
    _unsqueeze_numbers(proto.graph)
    onnx.helper.set_model_props(proto, {SPEC_KEY: spec.to_json()})
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _fold_batch_norms(encoder):
    """Fold batch norms into convolutions: the exporter would, but first traces twice the layers."""
    for part in encoder.modules():
        children = list(part.named_children())
        for (name, layer), (next_name, next_layer) in pairwise(children):
            if isinstance(layer, nn.Conv2d) and isinstance(next_layer, nn.BatchNorm2d):
                setattr(part, name, nn.utils.fusion.fuse_conv_bn_eval(layer, next_layer))
                setattr(part, next_name, nn.Identity())


def _unsqueeze_numbers(graph):
    """Write a number as an array of one by Unsqueeze: shape inference does not follow Reshape."""
    import onnx

    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in graph.value_info}
    arrays = {tensor.name for tensor in graph.initializer if tensor.dims}
    for node in graph.node:
        if (
            node.op_type == 'Reshape'
            and node.input[0] not in arrays
            and not ranks.get(node.input[0], 1)
        ):
            node.op_type = 'Unsqueeze'
            node.input[1] = 'first_axis'
            del node.attribute[:]
    if any('first_axis' in node.input for node in graph.node):
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), 'first_axis'))


def _write_metadata(path, spec, cost):
    """Write the specification and the cost of a model into its file."""
    import onnx

    proto = onnx.load(path)
    onnx.helper.set_model_props(proto, {SPEC_KEY: spec.to_json(), COST_KEY: cost.to_json()})
    onnx.save(proto, path)


def _verify(model, path, tolerance):
    written = OnnxModel(path)
    random = np.random.default_rng(0)
    shape = (len(model.spec.bands), model.spec.size, model.spec.size)
    for n in CHECKED_BATCH_SIZES:
        # Noise from faint to bright, and a missing pixel, for all branches of the stretch.
        images = random.normal(size=(n, *shape)) * np.exp(random.uniform(-3, 5, (n, 1, 1, 1)))
        images[0, 0, 0, 0] = np.nan
        images = images.astype(np.float32)
        expected, came = (_numbers(model.spec, m.run(images)) for m in (model, written))
        # Numbers of noise may be far from those of galaxies.
        difference = np.nanmax(np.abs(expected - came) / np.maximum(1, np.abs(expected)))
        if not difference <= tolerance:
            msg = (
                f'ONNX Runtime differs from PyTorch by {difference:.2g} in a prediction or '
                f'feature, in a batch of {n}; the file is not kept; try another version of torch '
                'or onnxruntime'
            )
            raise RuntimeError(msg)


def _numbers(spec, outputs):
    """Return predictions, features and novelty side by side; novelty not known is NaN."""
    logits, features, novelty = outputs
    return np.column_stack([_predictions(spec, logits), features, novelty])


def _predictions(spec, logits):
    """Return probabilities of classes, fractions of votes, or numbers in standard deviations."""
    if spec.predicts == 'classes':
        return softmax(logits, axis=1)
    if spec.predicts == 'numbers':
        return split_outputs(logits)[0]
    return expected_fractions(concentrations(logits), VoteTree(spec.tree))[0]


def _quantise(path, images):
    """Convert the encoder in a file to 8-bit integers."""
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / 'model.onnx'
        # Only adds shapes: the exporter has already folded the batch norms into the convolutions.
        quant_pre_process(path, prepared, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            path,
            _Reader(images),
            # Unsigned pixels and signed weights are fastest on x86, and fast on other processors.
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            # Weights of 7 bits: with 8, processors without VNNI overflow.
            reduce_range=True,
            op_types_to_quantize=QUANTISED,
            nodes_to_exclude=_products_of_two(prepared),
        )


def _products_of_two(path):
    """Return the names of products in a file that are not with weights in single precision."""
    import onnx

    graph = onnx.load(path).graph
    weights = {
        tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT
    }
    return [
        node.name
        for node in graph.node
        if node.op_type == 'MatMul' and node.input[1] not in weights
    ]


class _Reader:
    """Reader of images in batches for ONNX Runtime's calibration."""

    def __init__(self, images):
        self._batches = _in_batches(images, CALIBRATION_BATCH)

    def get_next(self):
        batch = next(self._batches, None)
        return None if batch is None else {'images': batch}


def _in_batches(images, size=BATCH_SIZE):
    for start in range(0, len(images), size):
        yield images[start : start + size].astype(np.float32)


def _measure(cost, model, written, images, target):
    """Measure the cost on images: the change of the predictions and of the accuracy."""
    expected, came = (
        np.concatenate([_predictions(model.spec, m.run(batch)[0]) for batch in _in_batches(images)])
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
