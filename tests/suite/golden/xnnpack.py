"""Records xnnpack.json: LiteRT's default kernels with multipliers that are other numbers in f32 than in f64.

    pip install ai-edge-litert flatbuffers numpy && python xnnpack.py > xnnpack.json

Layers without any product: the accumulators are their int32 biases, at which the two multipliers make other codes.
"""

import json
from importlib.metadata import version

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

OPERATORS, OPTIONS, TYPES = schema.BuiltinOperator, schema.BuiltinOptions, schema.TensorType
KERNELS = {
    "conv": (OPERATORS.CONV_2D, OPTIONS.Conv2DOptions, schema.Conv2DOptionsT),
    "depthwise": (OPERATORS.DEPTHWISE_CONV_2D, OPTIONS.DepthwiseConv2DOptions, schema.DepthwiseConv2DOptionsT),
    "fully_connected": (OPERATORS.FULLY_CONNECTED, OPTIONS.FullyConnectedOptions, schema.FullyConnectedOptionsT),
}


def tensor(shape, kind, scales, axis, buffer):
    t = schema.TensorT()
    t.shape, t.type, t.buffer = shape, kind, buffer
    t.quantization = schema.QuantizationParametersT()
    t.quantization.scale, t.quantization.zeroPoint = [float(s) for s in scales], [0] * len(scales)
    t.quantization.quantizedDimension = axis
    return t


def buffer(data=None):
    b = schema.BufferT()
    if data is not None:
        b.data = np.frombuffer(data.tobytes(), np.uint8)
    return b


def codes(kernel, s_x, s_w, s_y, bias):
    """The codes of inputs of 0."""
    n = len(bias)
    operator, options_type, options = KERNELS[kernel]
    depthwise, layer = kernel == "depthwise", kernel == "fully_connected"
    shape = (lambda channels: [1, channels]) if layer else (lambda channels: [1, 1, 1, channels])
    inputs = n if depthwise else 1
    weights = [n, 1] if layer else [1, 1, 1, n] if depthwise else [n, 1, 1, 1]
    scales = [s_w] if layer else [s_w] * n
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor(shape(inputs), TYPES.INT8, [s_x], 0, 0),
        tensor(weights, TYPES.INT8, scales, 3 if depthwise else 0, 1),
        tensor([n], TYPES.INT32, [s_x * s for s in scales], 0, 2),
        tensor(shape(n), TYPES.INT8, [s_y], 0, 0),
    ]
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = 0, [0, 1, 2], [3]
    op.builtinOptionsType, op.builtinOptions = options_type, options()
    if not layer:
        op.builtinOptions.strideW = op.builtinOptions.strideH = 1
        op.builtinOptions.dilationWFactor = op.builtinOptions.dilationHFactor = 1
    if depthwise:
        op.builtinOptions.depthMultiplier = 1
    graph.operators, graph.inputs, graph.outputs = [op], [0], [3]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = operator
    code.version = 4 if layer else 3
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [buffer(), buffer(np.ones(n, np.int8)), buffer(np.array(bias, np.int32))]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    interpreter = Interpreter(model_content=bytes(builder.Output()))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.zeros(shape(inputs), np.int8))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).flatten().tolist()


generator = np.random.default_rng(25)
cases = []
while len(cases) < 6:
    s_x, s_w, s_y = (np.float32(generator.uniform(*range)) for range in [(0.01, 0.1), (0.001, 0.01), (0.01, 0.2)])
    exact, in_f32 = np.float32(np.float64(s_x) * np.float64(s_w) / np.float64(s_y)), s_x * s_w / s_y
    acc = np.arange(-int(120 / exact), int(120 / exact))
    acc = acc[np.rint(acc.astype(np.float32) * exact) != np.rint(acc.astype(np.float32) * in_f32)]
    if len(acc) >= 8:
        acc = generator.choice(acc, 8, replace=False).tolist()
        made = {kernel: codes(kernel, s_x, s_w, s_y, acc) for kernel in KERNELS}
        cases.append({"s_x": float(s_x), "s_w": float(s_w), "s_y": float(s_y), "acc": acc} | made)
about = "What LiteRT's default kernels on x86-64 (XNNPACK) made of accumulators at which multipliers in f32 and f64 differ; xnnpack.py made it."
lines = ",\n".join(json.dumps(case) for case in cases)
print(f'{json.dumps({"about": about, "version": version("ai-edge-litert"), "z_y": 0})[:-1]}, "cases": [\n{lines}\n]}}')
