# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read a model from an ONNX file and run it with ONNX Runtime."""

import dataclasses
import json
import math
import os

from astro_morph.models.running import BATCH_SIZE
from astro_morph.models.spec import ModelSpec
from astro_morph.photometry.brightness import range_around
from astro_morph.utils.cores import n_cores
from astro_morph.utils.messages import cut_list, for_caller, in_one_line

__all__ = ['Cost', 'OnnxModel']

# Keys of the specification and the cost of a model in the metadata of its file.
SPEC_KEY = 'astro_morph'
COST_KEY = 'astro_morph_cost'

OUTPUTS = ['logits', 'features', 'novelty']

# Domains of the standard operators of ONNX. Those of other domains need code from elsewhere.
STANDARD_DOMAINS = {'', 'ai.onnx'}

# The operators that PyTorch and ONNX Runtime write for networks such as those of this package. None
# has a graph within it, as loops have, or draws random numbers.
OPERATORS = set(
    """
    Abs Add And AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv
    DequantizeLinear Div Equal Erf Exp Expand Flatten Floor Gather Gelu Gemm GlobalAveragePool
    Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LayerNormalization LeakyRelu
    Less LessOrEqual Log LogSoftmax MatMul Max MaxPool Min Mul Neg Not Or Pad Pow QuantizeLinear
    Range Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare Relu Reshape
    Resize Round Shape Sigmoid Sign Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh Tile TopK
    Transpose Unsqueeze Where
    """.split()  # noqa: SIM905 - a list takes eighty lines
)

# What a file may take for each pixel that the encoder sees, in each view: multiplications, twice
# those of a large ConvNeXt; and numbers in one array, four times those of a ResNet, which has 64
# channels of a fourth of the pixels.
MOST_PRODUCTS = 1_500_000
MOST_NUMBERS = 64

# A ResNet-50 of integers has less than a thousand operators.
MOST_OPERATORS = 5000

# The number of single precision among the types of ONNX.
FLOAT = 1

# Shapes are computed from arrays of a few numbers.
LARGEST_SHAPE = 64


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
        Maximum and mean over the galaxies of the largest change of a probability, or of a number in
        standard deviations; None without galaxies.
    of_numbers : bool, default=False
        Whether the model predicts numbers.

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
    of_numbers: bool = False

    def __str__(self):
        text = f'{self.precision}, {self.views} view{"s"[: self.views > 1]}'
        if self.n_galaxies:
            what = 'number' if self.of_numbers else 'probability'
            unit = ' standard deviations' if self.of_numbers else ''
            text += (
                f': on {self.n_galaxies} galaxies a {what} changes by '
                f'{self.largest_change:.2g}{unit} at most, {self.mean_change:.2g} on average'
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
        """
        Read the cost from JSON.

        Parameters
        ----------
        text : str
            What `to_json` returned.

        Returns
        -------
        cost : Cost
            The cost.

        Raises
        ------
        ValueError
            If it is no cost, or one of another version.
        """
        try:
            cost = cls(**json.loads(text))
            str(cost)
        except (TypeError, ValueError, RecursionError) as error:
            msg = 'it has a cost of the export that this version does not know'
            raise ValueError(msg) from error
        return cost


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
        If the file is no ONNX model of this package; if it needs code or data outside the file,
        which are never read; if it has loops or other operators than networks have; or if it would
        take several times the memory or time of the networks of this package.
    """

    def __init__(self, path, *, threads=None):
        proto = _read(path)
        metadata = {item.key: item.value for item in proto.metadata_props}
        self._threads = threads or n_cores()
        try:
            self.spec = ModelSpec.from_json(metadata[SPEC_KEY])
            self.cost = Cost.from_json(metadata[COST_KEY]) if COST_KEY in metadata else None
            _check_graph(proto, self.spec)
            if self.spec.brightness is None:
                self.spec = dataclasses.replace(self.spec, brightness=_brightness(proto))
            # The bytes that were checked are those that run, also where the model is unpickled.
            self._bytes = proto.SerializeToString()
            self._session = _start(self._bytes, self._threads)
        except (ImportError, MemoryError):
            raise
        except Exception as error:
            # ONNX and ONNX Runtime raise errors of many types, for each kind of damage one.
            writer = for_caller('to_onnx', 'export')
            what = (
                error if isinstance(error, ValueError) else f'it is damaged ({in_one_line(error)})'
            )
            msg = f'{os.fspath(path)!r} cannot be used: {what}; name a file that {writer} wrote'
            raise ValueError(msg) from error

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


def _check_graph(proto, spec):
    """Refuse a graph that could take more time or memory than networks do."""
    graph = proto.graph
    if proto.functions or proto.training_info or graph.sparse_initializer:
        msg = 'it has functions, training or sparse arrays, which are not run'
        raise ValueError(msg)
    unknown = {node.op_type for node in graph.node} - OPERATORS
    if unknown:
        msg = (
            f'it has operators {cut_list(sorted(unknown))}, which no network needs, and are not run'
        )
        raise ValueError(msg)
    if len(graph.node) > MOST_OPERATORS:
        msg = f'it has {len(graph.node)} operators, expected at most {MOST_OPERATORS}'
        raise ValueError(msg)
    _check_arrays(proto)
    shapes = _shapes(proto, BATCH_SIZE)
    _check_ends(shapes, spec)
    pixels = BATCH_SIZE * spec.views * (spec.input_size or spec.size) ** 2
    most_numbers = pixels * (MOST_NUMBERS + len(spec.bands))
    products = 0
    for node in graph.node:
        n_out = [math.prod(shapes[name]) for name in node.output if name]
        if max(n_out, default=0) > most_numbers:
            msg = f'its operator {node.op_type} fills an array of {max(n_out):.2g} numbers'
            raise ValueError(msg)
        n_in = sum(math.prod(shapes[name]) for name in node.input if name)
        products += sum(n_out) * _products(node, shapes) + n_in
    if products > pixels * MOST_PRODUCTS:
        msg = f'an image takes {products / BATCH_SIZE:.2g} multiplications, too many for a network'
        raise ValueError(msg)


def _check_arrays(proto):
    """Refuse graphs within operators, and arrays that are larger than their part of the file."""
    import onnx

    for part in _parts(proto.graph):
        if isinstance(part, onnx.AttributeProto) and (part.HasField('g') or part.graphs):
            msg = f'it has a graph within an operator, {part.name!r}, which is not run'
            raise ValueError(msg)
        # In the smallest type, two numbers share a byte.
        if isinstance(part, onnx.TensorProto) and (
            min(part.dims, default=0) < 0 or math.prod(part.dims) > 2 * part.ByteSize()
        ):
            msg = f'its array {part.name!r} has the shape {[*part.dims]}, and other numbers'
            raise ValueError(msg)


def _shapes(proto, n):
    """Return the shape of each array of a graph, for a number of images; all must be known."""
    import onnx

    graph = onnx.GraphProto(name='graph', node=proto.graph.node, input=proto.graph.input)
    for tensor in proto.graph.initializer:
        if math.prod(tensor.dims) <= LARGEST_SHAPE:
            graph.initializer.append(tensor)
        else:
            # Weights are left out: only their shapes matter.
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            graph.input.append(value)
    for value in graph.input:
        if value.name == 'images':
            value.type.tensor_type.shape.dim[0].dim_value = n
    for name in OUTPUTS:
        graph.output.append(onnx.ValueInfoProto(name=name))
    model = onnx.ModelProto(
        ir_version=proto.ir_version, opset_import=proto.opset_import, graph=graph
    )
    # Not strict: the values that it follows beside the shapes are refused where one array has a
    # number for each image, and the other for each known galaxy. An unknown shape is refused below.
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        sides = value.type.tensor_type.shape.dim
        if value.type.HasField('tensor_type') and all(side.HasField('dim_value') for side in sides):
            shapes[value.name] = tuple(side.dim_value for side in sides)
    for node in proto.graph.node:
        missing = [name for name in [*node.input, *node.output] if name and name not in shapes]
        if missing:
            msg = f'its operator {node.op_type} has an array of no known size, {missing[0]!r}'
            raise ValueError(msg)
    _check_types(graph, {tensor.name for tensor in proto.graph.initializer})
    return shapes


def _check_types(graph, weights):
    """Refuse a graph that takes or returns anything but single-precision numbers."""
    inputs = [value for value in graph.input if value.name not in weights]
    types = {value.type.tensor_type.elem_type for value in [*inputs, *graph.output]}
    if [value.name for value in inputs] != ['images'] or types != {FLOAT}:
        msg = "it takes or returns anything but numbers, expected 'images' of type float"
        raise ValueError(msg)


def _check_ends(shapes, spec):
    """Refuse a graph that does not map the images of the specification to its outputs."""
    n, side = BATCH_SIZE, spec.size
    expected = {'images': (n, len(spec.bands), side, side), 'logits': (n, spec.n_outputs)}
    for name, shape in expected.items():
        if shapes.get(name) != shape:
            msg = f'it has {name!r} of the shape {shapes.get(name)}, expected {shape}'
            raise ValueError(msg)
    if len(shapes.get('features', ())) != 2 or shapes.get('novelty', ())[:1] != (n,):
        msg = "it lacks 'features' or 'novelty' of each image"
        raise ValueError(msg)


def _products(node, shapes):
    """Return the number of multiplications for each number that an operator computes."""
    if node.op_type == 'Conv':
        return math.prod(shapes[node.input[1]][1:])
    if node.op_type == 'MatMul':
        return shapes[node.input[0]][-1]
    if node.op_type == 'Gemm':  # either side may be summed over
        return max(shapes[node.input[0]])
    return math.prod(math.prod(item.ints) for item in node.attribute if item.name == 'kernel_shape')


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
