"""Operators of onnxruntime."""

import io
import pathlib
import subprocess
import sys

import numpy as np

from oracle_cases import (
    CODES,
    SPECIAL,
    accumulators,
    add,
    bits,
    convolution,
    dequantize,
    dynamic,
    f32,
    integers,
    matmul,
    quantize,
    quotient_codes,
    random,
    spread,
    steps,
)
from ort import run

NAN = "NaN is the zero point here, the smallest code there"

for code, dtype in [("u8", np.uint8), ("i8", np.int8), ("u16", np.uint16), ("i16", np.int16)]:
    x, scale, zero_point = steps(5 / 255, 40), f32(5 / 255), np.array(100 if code[0] == "u" else -17, dtype)
    (y,) = run("QuantizeLinear", {"x": x, "s": scale, "z": zero_point}, [("y", dtype)])
    quantize("onnxruntime", "QuantizeLinear", f"{code}, per tensor, ties", x, scale, zero_point, code, y)
    x = SPECIAL if dtype == np.uint8 else SPECIAL[:11]
    (y,) = run("QuantizeLinear", {"x": x, "s": f32(0.1), "z": np.array(10, dtype)}, [("y", dtype)])
    quantize("onnxruntime", "QuantizeLinear", f"{code}, special values", x, f32(0.1), 10, code, y, why=NAN)
    info = np.iinfo(dtype)
    codes = np.concatenate([[info.min, info.max], random.integers(info.min, info.max, 22)]).astype(dtype)
    (y,) = run("DequantizeLinear", {"x": codes, "s": f32(1 / 3), "z": np.array(100, dtype)}, [("y", f32)])
    dequantize("onnxruntime", "DequantizeLinear", f"{code}, per tensor", codes, f32(1 / 3), 100, code, y)

for axis, shape in [(0, (4, 9)), (1, (2, 5, 4)), (-1, (3, 2, 7))]:
    axis %= len(shape)
    scales = random.uniform(0.01, 0.2, shape[axis]).astype(f32)
    zero_points = random.integers(-128, 128, shape[axis]).astype(np.int8)
    x = (random.integers(-120, 120, shape) + 0.5) * spread(scales, shape, axis, 0)
    x = x.astype(f32)
    (y,) = run("QuantizeLinear", {"x": x, "s": scales, "z": zero_points}, [("y", np.int8)], axis=axis)
    quantize("onnxruntime", "QuantizeLinear", f"i8, axis {axis} of {len(shape)}", x, scales, zero_points, "i8", y, axis)
    (reals,) = run("DequantizeLinear", {"x": y, "s": scales, "z": zero_points}, [("y", f32)], axis=axis)
    dequantize("onnxruntime", "DequantizeLinear", f"i8, axis {axis} of {len(shape)}", y, scales, zero_points, "i8", reals, axis)

halves = (random.normal(size=36) * 6).astype(np.float16)
half_scale = np.array(0.0521, np.float16)
(y,) = run("QuantizeLinear", {"x": halves, "s": half_scale, "z": np.array(7, np.int8)}, [("y", np.int8)])
quantize("onnxruntime", "QuantizeLinear", "i8 of f16", halves, half_scale, 7, "i8", y)
(reals,) = run("DequantizeLinear", {"x": y, "s": half_scale, "z": np.array(7, np.int8)}, [("y", np.float16)])
dequantize("onnxruntime", "DequantizeLinear", "i8 to f16", y, half_scale, 7, "i8", reals)

for i, x in enumerate([(random.normal(size=24) * 3 + i).astype(f32) for i in range(3)]):
    y, scale, zero_point = run("DynamicQuantizeLinear", {"x": x}, [("y", np.uint8), ("s", f32), ("z", np.uint8)])
    dynamic("onnxruntime", f"of its own range, {i}", x, y, scale, zero_point)


def codes_of(dtype, *shape):
    """Codes of any value, the extremes often: sums of products of neighbours leave 16 bits."""
    info = np.iinfo(dtype)
    x = random.integers(info.min, info.max + 1, shape)
    return np.where(random.random(shape) < 0.4, np.where(random.random(shape) < 0.5, info.min, info.max), x).astype(dtype)


for a_type, b_type in [(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8), (np.int8, np.uint8)]:
    m, k, n = 4, 19, 5
    a, b = codes_of(a_type, m, k), codes_of(b_type, k, n)
    name = f"{CODES[np.dtype(a_type)]} by {CODES[np.dtype(b_type)]}"
    za, zb = codes_of(a_type, 1)[0], codes_of(b_type, n)
    (y,) = run("MatMulInteger", {"x": a, "b": b, "za": za, "zb": zb}, [("y", np.int32)])
    matmul("onnxruntime", "MatMulInteger", f"{name}, zero points of columns", a, b, za, zb, y)
    if (a_type, b_type) == (np.int8, np.uint8):
        continue  # It has no QLinearMatMul of these.
    scales, z_y = (f32(0.07), random.uniform(0.01, 0.03, n).astype(f32), f32(3.3)), np.array(11, a_type)
    inputs = {"x": a, "sa": scales[0], "za": za, "b": b, "sb": scales[1], "zb": zb, "sy": scales[2], "zy": z_y}
    (y,) = run("QLinearMatMul", inputs, [("y", a_type)])
    matmul("onnxruntime", "QLinearMatMul", f"{name}, scales of columns", a, b, za, zb, y, scales, z_y)

# On a CPU without VNNI, which QEMU emulates: its sums of two products saturate at 16 bits.
a, b = codes_of(np.uint8, 2, 20), codes_of(np.int8, 20, 16)
operands = io.BytesIO()
np.save(operands, a)
np.save(operands, b)
program = [sys.executable, str(pathlib.Path(__file__).with_name("ort.py"))]
found = subprocess.run(
    ["qemu-x86_64-static", "-cpu", "Haswell", *program], input=operands.getvalue(), stdout=subprocess.PIPE, check=True
)
y = np.load(io.BytesIO(found.stdout))
pairs = (a.astype(np.int64)[:, :, None] * b).reshape(2, 10, 2, 16).sum(2)
assert (np.clip(pairs, -32768, 32767).sum(1) == y).all()
name, why = "u8 by i8, on an AVX2 CPU without VNNI", "sums of two products saturate at 16 bits there"
matmul("onnxruntime", "MatMulInteger", name, a, b, 0, 0, y, why=why)

WINDOWS = [
    ("pads", {"pads": [0, 1, 2, 1], "strides": [2, 1]}, (1, 3, 6, 4), (4, 3, 3, 2)),
    ("dilations and groups", {"pads": [1, 2, 1, 0], "dilations": [2, 2], "group": 2}, (1, 4, 5, 5), (4, 2, 2, 3)),
    ("depthwise", {"pads": [1, 1, 1, 1], "strides": [1, 2], "group": 5}, (2, 5, 4, 4), (5, 1, 3, 3)),
]
for (a_type, b_type), (window, attributes, x_shape, w_shape) in zip(
    [(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)], WINDOWS
):
    x, w = codes_of(a_type, *x_shape), codes_of(b_type, *w_shape)
    zx, zw = codes_of(a_type, 1)[0], codes_of(b_type, 1)[0]
    name = f"{CODES[np.dtype(a_type)]} by {CODES[np.dtype(b_type)]}, {window}"
    if a_type == np.uint8:
        kernel = attributes | {"kernel_shape": list(w_shape[2:])}
        (y,) = run("ConvInteger", {"x": x, "w": w, "zx": zx, "zw": zw}, [("y", np.int32)], **kernel)
        convolution("onnxruntime", "ConvInteger", name, x, w, zx, zw, y, attributes)
    s_w = random.uniform(0.002, 0.02, 1 if window == "pads" else w_shape[0]).astype(f32)
    scales, z_y = (f32(0.031), s_w, f32(1.7)), np.array(13, a_type)
    bias = random.integers(-9000, 9000, w_shape[0]).astype(np.int32)
    inputs = {
        "x": x,
        "sx": scales[0],
        "zx": zx,
        "w": w,
        "sw": s_w,
        "zw": np.full(s_w.shape, zw),
        "sy": scales[2],
        "zy": z_y,
        "b": bias,
    }
    (y,) = run("QLinearConv", inputs, [("y", a_type)], **attributes)
    convolution("onnxruntime", "QLinearConv", f"{name}, {s_w.size} scales", x, w, zx, zw, y, attributes, bias, scales, z_y)

# Products with real activations or real results.

for a_type, b_type in [(np.uint8, np.int8), (np.int8, np.int8)]:
    a, b = codes_of(a_type, 3, 21), codes_of(b_type, 21, 6)
    za, zb = codes_of(a_type, 1)[0], codes_of(b_type, 6)
    s_a, s_b, bias = f32(0.0173), random.uniform(0.01, 0.03, 6).astype(f32), random.normal(size=6).astype(f32)
    inputs = {"x": a, "b": b, "sa": s_a, "sb": s_b, "za": za, "zb": zb, "bias": bias}
    (y,) = run("MatMulIntegerToFloat", inputs, [("y", f32)], "com.microsoft")
    ours = accumulators(a, b, za, zb).astype(f32) * (s_a * s_b) + bias
    add(
        "onnxruntime",
        "MatMulIntegerToFloat",
        f"{CODES[a.dtype]} by {CODES[b.dtype]}",
        y,
        ours,
        codes=[CODES[a.dtype], CODES[b.dtype]],
        shape=[3, 21, 6],
        a=bits(a),
        b=bits(b),
        za=[int(za)],
        zb=integers(zb),
        s_a=bits(s_a),
        s_b=bits(s_b),
        bias=bits(bias),
        out="f32",
    )

x = (random.normal(size=(3, 21)) * 3).astype(f32)
(y,) = run("DynamicQuantizeMatMul", {"x": x, "b": b, "sb": s_b, "zb": zb, "bias": bias}, [("y", f32)], "com.microsoft")
a, s_a, za = run("DynamicQuantizeLinear", {"x": x}, [("y", np.uint8), ("s", f32), ("z", np.uint8)])
ours = accumulators(a, b, int(za), zb).astype(f32) * (s_a * s_b) + bias
add(
    "onnxruntime",
    "DynamicQuantizeMatMul",
    "u8 by i8",
    y,
    ours,
    x=bits(x),
    shape=[3, 21, 6],
    b=bits(b),
    zb=integers(zb),
    s_b=bits(s_b),
    bias=bits(bias),
)


def matmul_nbits(name, x, length, scales, level, ours, why=""):
    """Weights of four bits; ours are the activations' codes and scales for every group, as `Activations::reals` makes them."""
    (m, k), (n, blocks) = x.shape, scales.shape
    stored = random.integers(0, 256, (n, blocks, length // 2)).astype(np.uint8)
    inputs = {"x": x, "b": stored, "s": scales.ravel()}
    (y,) = run("MatMulNBits", inputs, [("y", f32)], "com.microsoft", K=k, N=n, bits=4, block_size=length, accuracy_level=level)
    w = np.stack([stored & 15, stored >> 4], -1).reshape(n, blocks, length).astype(np.int64) - 8
    codes, code_scales = ours
    total = np.zeros((m, n), f32)
    for g in range(blocks):
        acc = codes.reshape(m, blocks, length)[:, g] @ w[:, g].T
        total = total + acc.astype(f32) * (
            scales[:, g] if code_scales.shape[1] == 1 else code_scales[:, g : g + 1] * scales[:, g]
        )
    add(
        "onnxruntime",
        "MatMulNBits",
        name,
        y,
        total * code_scales if code_scales.shape[1] == 1 else total,
        why,
        x=bits(x),
        shape=[m, k, n],
        length=length,
        b=bits(stored),
        scales=bits(scales),
        in_groups=code_scales.shape[1] > 1,
    )


x = random.integers(-126, 127, (2, 64))
x[:, 5] = 127  # So that a row's scale is 1.
scales = (f32(2) ** random.integers(-6, 0, (3, 2))).astype(f32)
matmul_nbits("every sum exact in f32", x.astype(f32), 32, scales, 0, (x, np.ones((2, 1), f32)))
x = random.normal(size=(2, 64)).astype(f32)
of_groups = (np.abs(x).reshape(2, 2, 32).max(2).astype(np.float64) / 127).astype(f32)
codes = quotient_codes(x.reshape(2, 2, 32) / of_groups[:, :, None], f32(0), -127, 127)
matmul_nbits(
    "accuracy_level 4: activations of i8",
    x,
    32,
    random.uniform(0.01, 0.1, (3, 2)).astype(f32),
    4,
    (codes, of_groups),
    "sums of floats in another order there",
)

# A few pairs of codes in a million differ, with random scales.
pairs = np.stack(np.meshgrid(np.arange(256), np.arange(256))).reshape(2, -1).astype(np.uint8)
kept = 0
while kept < 3:
    s_a, s_b = random.uniform(0.01, 0.1, 2).astype(f32)
    s_y, (z_a, z_b, z_y) = f32((s_a + s_b) * random.uniform(0.5, 1.2)), random.integers(0, 256, 3)
    u8 = np.uint8
    inputs = {"x": pairs[0], "sa": s_a, "za": u8(z_a), "b": pairs[1], "sb": s_b, "zb": u8(z_b), "sy": s_y, "zy": u8(z_y)}
    (y,) = run("QLinearAdd", inputs, [("y", u8)], "com.microsoft")
    real = (pairs[0] - z_a.astype(f32)) * s_a + (pairs[1] - z_b.astype(f32)) * s_b
    ours = quotient_codes(real / s_y, f32(z_y), 0, 255)
    others = np.flatnonzero(y != ours)
    if others.size:
        chosen = np.concatenate([others[:2], np.flatnonzero((0 < y) & (y < 255))[7::4001][:22]])
        (a, b), kept = pairs[:, chosen], kept + 1
        add(
            "onnxruntime",
            "QLinearAdd",
            f"u8, {kept}",
            y[chosen],
            ours[chosen],
            "the sum is of ratios of the scales there, of dequantized values here",
            a=bits(a),
            b=bits(b),
            za=int(z_a),
            zb=int(z_b),
            s_a=bits(s_a),
            s_b=bits(s_b),
            s_y=bits(s_y),
            z_y=int(z_y),
        )
