# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""ONNX files made by hand are refused before ONNX Runtime sees them, which might never return."""

import json
import re
from itertools import pairwise

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from astro_morph.models.onnx_model import COST_KEY, SPEC_KEY, OnnxModel
from astro_morph.models.spec import ModelSpec

SPEC = ModelSpec(classes=('a', 'b', 'c'), bands=('g', 'r', 'i'), size=8, views=1)

node = helper.make_node


def array(name, values, dtype=np.int64):
    return numpy_helper.from_array(np.array(values, dtype), name)


def write(path, nodes=(), arrays=(), *, images='images', change=lambda model: None, spec=SPEC):
    """Write a model whose logits are the means of the bands of an array."""
    means = [
        node('ReduceMean', [images, 'axes'], ['logits'], keepdims=0),
        node('Identity', ['logits'], ['features']),
        node('ReduceSum', ['logits', 'one'], ['novelty'], keepdims=0),
    ]
    graph = helper.make_graph(
        [*nodes, *means],
        'graph',
        [helper.make_tensor_value_info('images', TensorProto.FLOAT, ['n', 3, 8, 8])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in ('logits', 'features', 'novelty')
        ],
        [array('axes', [2, 3]), array('one', [1]), *arrays],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 20)])
    model.ir_version = 10
    text = spec if isinstance(spec, str) else spec.to_json()
    helper.set_model_props(model, {SPEC_KEY: text})
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def test_plain_model_runs(tmp_path):
    model = OnnxModel(write(tmp_path / 'model.onnx'))
    logits, _, novelty = model.run(np.ones((2, 3, 8, 8), np.float32))
    assert logits.tolist() == [[1, 1, 1]] * 2
    assert novelty.tolist() == [3, 3]


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Write a model that ONNX Runtime must not see, and return why it was refused."""

    def refused(*arguments, **options):
        def start(*_, **__):
            pytest.fail('ONNX Runtime was given the file')

        monkeypatch.setattr(onnxruntime, 'InferenceSession', start)
        path = write(tmp_path / 'model.onnx', *arguments, **options)
        with pytest.raises(ValueError, match=r'model\.onnx') as caught:
            OnnxModel(path)
        return str(caught.value)

    return refused


BODY = helper.make_graph(
    [node('Identity', ['c'], ['co']), node('Identity', ['v'], ['vo'])],
    'body',
    [
        helper.make_tensor_value_info('i', TensorProto.INT64, []),
        helper.make_tensor_value_info('c', TensorProto.BOOL, []),
        helper.make_tensor_value_info('v', TensorProto.FLOAT, None),
    ],
    [
        helper.make_tensor_value_info('co', TensorProto.BOOL, []),
        helper.make_tensor_value_info('vo', TensorProto.FLOAT, None),
    ],
)


@pytest.mark.parametrize(
    ('operator', 'attributes', 'message'),
    [
        ('Loop', {'body': BODY}, r"has operators \['Loop'\]"),
        ('Scan', {'body': BODY, 'num_scan_inputs': 1}, r"has operators \['Scan'\]"),
        ('If', {'then_branch': BODY, 'else_branch': BODY}, r"has operators \['If'\]"),
        ('SequenceMap', {'body': BODY}, r"has operators \['SequenceMap'\]"),
        ('RandomNormalLike', {}, r"has operators \['RandomNormalLike'\]"),
        ('NonZero', {}, r"has operators \['NonZero'\]"),
        ('Einsum', {'equation': 'nbyx,nbyx->'}, r"has operators \['Einsum'\]"),
        ('Sin', {}, r"has operators \['Sin'\]"),
        # Loops hidden in an operator that has none.
        ('Relu', {'body': BODY}, "has a graph within an operator, 'body'"),
    ],
)
def test_operators_that_no_network_needs(refused, operator, attributes, message):
    odd = node(operator, ['images'], ['z'], **attributes)
    assert re.search(message, refused([odd], images='z'))


def many(operator, n, inputs=lambda name: [name], **attributes):
    """Return a chain of operators from the images to z."""
    names = ['images', *(f'v{number}' for number in range(1, n)), 'z']
    return [
        node(operator, inputs(before), [after], **attributes) for before, after in pairwise(names)
    ]


@pytest.mark.parametrize(
    ('nodes', 'arrays', 'message'),
    [
        # Each array is twice the one before.
        (many('Concat', 40, lambda name: [name, name], axis=3), [], 'Concat fills an array of'),
        (
            [
                node('Expand', ['w', 's'], ['big']),
                node('ReduceSum', ['big', 'one'], ['sum']),
                node('Add', ['images', 'sum'], ['z']),
            ],
            [array('w', [[1.0]], np.float32), array('s', [1, 10**9])],
            'Expand fills an array of',
        ),
        ([node('Tile', ['images', 's'], ['z'])], [array('s', [1, 1, 999, 999])], 'Tile fills'),
        (
            [node('Resize', ['images', '', 's'], ['z'])],
            [array('s', [1, 1, 1e4, 1e4], np.float32)],
            'Resize fills an array',
        ),
        ([node('Pad', ['images', 's'], ['z'])], [array('s', [0, 0, 0, 0, 0, 0, 1e5, 1e5])], 'Pad'),
        (
            [node('ConstantOfShape', ['s'], ['c']), node('Add', ['images', 'c'], ['z'])],
            [array('s', [10**6, 1, 8, 8])],
            'fills an array of|no known size|damaged',
        ),
        (
            [
                node('Shape', ['images'], ['s']),
                node('ReduceSum', ['images', 'all'], ['sum'], keepdims=0),
                node('Cast', ['sum'], ['many'], to=TensorProto.INT64),
                node('Range', ['zero', 'many', 'step'], ['r']),
                node('Cast', ['r'], ['f'], to=TensorProto.FLOAT),
                node('ReduceSum', ['f', 'all0'], ['c']),
                node('Add', ['images', 'c'], ['z']),
            ],
            [
                array('all', [0, 1, 2, 3]),
                array('all0', [0]),
                array('zero', 0),
                array('step', 1),
            ],
            'Range has an array of no known size',
        ),
        (many('Relu', 6000), [], 'has 6003 operators, expected at most 5000'),
        (
            many('Conv', 3000, lambda name: [name, 'w'], kernel_shape=[15, 15], pads=[7] * 4),
            [array('w', np.ones((3, 3, 15, 15)), np.float32)],
            'an image takes .* multiplications',
        ),
        (
            many('MaxPool', 3000, kernel_shape=[99, 99], pads=[49] * 4),
            [],
            'an image takes .* multiplications',
        ),
    ],
)
def test_time_and_memory_beyond_those_of_a_network(refused, nodes, arrays, message):
    assert re.search(message, refused(nodes, arrays, images='z'))


def declare(dims):
    def change(model):
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)

    return change


def retype(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def reshape(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5


def add_input(model):
    model.graph.input.append(helper.make_tensor_value_info('more', TensorProto.FLOAT, [1]))


def add_function(model):
    model.functions.append(onnx.FunctionProto(name='f', domain=''))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (declare([2**40]), "its array 'axes' has the shape"),
        (declare([-2]), "its array 'axes' has the shape"),
        (retype, 'cannot be used'),
        (reshape, "has 'images' of the shape|cannot be used"),
        (add_input, 'takes or returns anything but numbers'),
        (add_function, 'has functions, training or sparse arrays'),
        (lambda model: model.training_info.add(), 'has functions, training'),
        (lambda model: model.graph.sparse_initializer.add(), 'has functions, training or sparse'),
        (lambda model: model.graph.node.pop(), 'cannot be used'),
        (lambda model: model.opset_import.pop(), 'cannot be used'),
        (lambda model: helper.set_model_props(model, {SPEC_KEY: '{'}), 'is no JSON'),
        (
            lambda model: helper.set_model_props(
                model, {SPEC_KEY: json.dumps(json.loads(SPEC.to_json()) | {'future': 1})}
            ),
            r"has the fields \['future'\], which this version does not know",
        ),
        (
            lambda model: model.metadata_props.add(key=COST_KEY, value='{"precision": 1}'),
            'a cost of the export that this version does not know',
        ),
        (
            lambda model: helper.set_model_props(
                model, {SPEC_KEY: json.dumps(json.loads(SPEC.to_json()) | {'classes': ['a']})}
            ),
            r"has 'logits' of the shape \(128, 3\), expected \(128, 1\)",
        ),
    ],
)
def test_files_of_other_versions_and_by_hand(refused, change, message):
    assert re.search(message, refused(change=change))


@pytest.mark.parametrize('size', [0, 1, 50, 400, -10])
def test_file_that_was_cut_off(tmp_path, size):
    path = write(tmp_path / 'model.onnx')
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r'model\.onnx'):
        OnnxModel(path)
