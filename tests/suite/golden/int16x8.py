"""Records int16x8.json: what LiteRT's kernels make of int16 activations, int8 weights and an int64 bias.

    pip install ai-edge-litert flatbuffers numpy && python int16x8.py > int16x8.json

Operands are functions of their place, which the test repeats. Convolutions are of one pixel.
"""

import json
from importlib.metadata import version

import numpy as np

from litert import KINDS, OPERATORS, OPTIONS, model, results, schema, tensor

S_X = 1.0 / 32768


def layer(conv, m, w, bias, scales, s_y, relu):
    n, k = w.shape
    shape = (lambda rows, columns: [rows, 1, 1, columns]) if conv else (lambda rows, columns: [rows, columns])
    tensors = [
        tensor("x", shape(m, k), KINDS.INT16, [S_X]),
        tensor("w", shape(n, k), KINDS.INT8, scales, 1),
        tensor("b", [n], KINDS.INT64, [S_X * s for s in scales], 2),
        tensor("y", shape(m, n), KINDS.INT16, [s_y]),
    ]
    if conv:
        kind, options = OPTIONS.Conv2DOptions, schema.Conv2DOptionsT()
        options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    else:
        kind, options = OPTIONS.FullyConnectedOptions, schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = 1 if relu else 0
    return model(tensors, [w, bias], OPERATORS.CONV_2D if conv else OPERATORS.FULLY_CONNECTED, 4, (kind, options))


def case(conv, shape, bias_unit, scales, s_y, relu=False, extremes=False, bias=None):
    """s_w[j] = scales[j % len(scales)], of one scale for all or one for every output; bias[j] = (j − n // 2) · bias_unit, unless
    it is given."""
    m, n, k = shape
    i, j, d = np.arange(m)[:, None], np.arange(n)[:, None], np.arange(k)[None, :]
    x = ((i * k + d) * 7919 % 65536 - 32768).astype(np.int16)
    w = ((j * k + d) * 37 % 255 - 127).astype(np.int8)
    if extremes:
        x[:], w[:] = -32768, -127
    unit, given = bias_unit, bias
    bias = (np.arange(n, dtype=np.int64) - n // 2) * unit if bias is None else np.array(bias, np.int64)
    s_w = scales if len(scales) == 1 else [scales[o % len(scales)] for o in range(n)]
    content = layer(conv, m, w, bias, s_w, s_y, relu)
    found = [y.tolist() for y in results(content, x.reshape(m, 1, 1, k) if conv else x)]
    assert found[0] == found[1] == found[2], "one behaviour"
    return {
        "conv": conv, "shape": shape, "bias_unit": bias_unit, "bias": given, "s_w": scales, "s_y": s_y, "relu": relu,
        "extremes": extremes, "y": found[0],
    }


def between(s_w, s_y, count):
    """Accumulators whose products with M and with M₀ · 2^(e − 31) lie on different sides of a half."""
    multiplier = S_X * float(np.float32(s_w)) / float(np.float32(s_y))
    fraction, exponent = np.frexp(multiplier)
    rounded = np.floor(fraction * 2.0**31 + 0.5) * 2.0 ** (exponent - 31)
    halves = [7 * i + 0.5 for i in range(-count // 2, count // 2)]
    return [int((half / multiplier + half / rounded) / 2) for half in halves]


several = [0.0078125, 0.003, 0.0123]
cases = []
for conv in [False, True]:
    # Sums of any depth; of beyond 32 bits; and halves, of both signs: the bias alone, of no product.
    cases += [
        case(conv, [3, 7, 5], 1_000_003, [0.0078125], 0.01),
        case(conv, [2, 40, 64], 1_000_003, several, 0.003),
        case(conv, [4, 33, 300], 5_000_003, several, 0.0423, relu=True),
        case(conv, [2, 60, 1200], 100_000_007, [0.0078125], 0.033),
        case(conv, [1, 3, 2500], 1_000_003, [0.0078125], 0.3, extremes=True),
        case(conv, [1, 200, 8], 123_456_789_013, several, 5.0),
        case(conv, [1, 60, 1], 1 << 13, [0.0078125], 2.0 ** -8),
        case(conv, [1, 60, 1], 1 << 3, [0.0078125], 2.0 ** -18),
        case(conv, [1, 40, 1], 0, [0.0078125], 123.45678, bias=between(0.0078125, 123.45678, 40)),
    ]
print(json.dumps({
    "about": "What LiteRT's kernels, all of which agree, make of int16 by int8 with an int64 bias; int16x8.py made it.",
    "version": version("ai-edge-litert"), "s_x": S_X, "cases": cases,
}))
