"""Records xnnpack.json: LiteRT's default kernels with multipliers that are other numbers in f32 than in f64.

    pip install ai-edge-litert flatbuffers numpy && python xnnpack.py > xnnpack.json

Layers without any product: the accumulators are their int32 biases, at which the two multipliers make other codes.
"""

import json
from importlib.metadata import version

import numpy as np
from litert import KINDS, OPERATORS, OPTIONS, model, results, schema, tensor

KERNELS = {
    "conv": (OPERATORS.CONV_2D, OPTIONS.Conv2DOptions, schema.Conv2DOptionsT),
    "depthwise": (OPERATORS.DEPTHWISE_CONV_2D, OPTIONS.DepthwiseConv2DOptions, schema.DepthwiseConv2DOptionsT),
    "fully_connected": (OPERATORS.FULLY_CONNECTED, OPTIONS.FullyConnectedOptions, schema.FullyConnectedOptionsT),
}


def codes(kernel, s_x, s_w, s_y, bias):
    """The codes of inputs of 0."""
    n = len(bias)
    operator, options_type, options = KERNELS[kernel]
    depthwise, layer = kernel == "depthwise", kernel == "fully_connected"
    shape = (lambda channels: [1, channels]) if layer else (lambda channels: [1, 1, 1, channels])
    inputs = n if depthwise else 1
    weights = [n, 1] if layer else [1, 1, 1, n] if depthwise else [n, 1, 1, 1]
    scales = [s_w] if layer else [s_w] * n
    tensors = [
        tensor("x", shape(inputs), KINDS.INT8, [s_x]),
        tensor("w", weights, KINDS.INT8, scales, 1),
        tensor("b", [n], KINDS.INT32, [s_x * s for s in scales], 2),
        tensor("y", shape(n), KINDS.INT8, [s_y]),
    ]
    tensors[1].quantization.quantizedDimension = 3 if depthwise else 0
    options = options()
    if not layer:
        options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    if depthwise:
        options.depthMultiplier = 1
    constants = [np.ones(n, np.int8), np.array(bias, np.int32)]
    content = model(tensors, constants, operator, 4 if layer else 3, (options_type, options))
    return results(content, np.zeros(shape(inputs), np.int8))[0].tolist()


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
