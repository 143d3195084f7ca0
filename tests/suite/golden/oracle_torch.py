"""PyTorch: quantize, dequantize, fake-quantize with its mask, and quantized layers."""

import numpy as np
import torch

from oracle_cases import (
    RANGES,
    RECIPROCAL,
    SPECIAL,
    accumulators,
    add,
    bits,
    by_reciprocal,
    dequantize,
    f32,
    integers,
    quantize,
    quotient_codes,
    random,
    requantized,
    spread,
    steps,
)

TORCH = {"u8": torch.quint8, "i8": torch.qint8}


for code, scale, zero_point in [("u8", 5 / 255, 128), ("i8", 1 / 3, -5), ("i8", 0.3, 0)]:
    x, scale = steps(scale, 40), f32(scale)
    y = torch.quantize_per_tensor(torch.tensor(x), float(scale), zero_point, TORCH[code])
    assert (y.int_repr().numpy() == by_reciprocal(x, scale, f32(zero_point), *RANGES[code])).all()
    quantize(
        "torch",
        "quantize_per_tensor",
        f"{code}, ties of {scale:.4g}",
        x,
        scale,
        zero_point,
        code,
        y.int_repr().numpy(),
        why=RECIPROCAL,
        reciprocal=True,
    )
    dequantize(
        "torch", "dequantize", f"{code}, per tensor", y.int_repr().numpy(), scale, zero_point, code, y.dequantize().numpy()
    )

scales, zero_points = np.array([0.1, 0.0123, 1 / 3], f32), np.array([3, -7, 0])
x = np.stack([steps(s, 14) for s in scales])
y = torch.quantize_per_channel(torch.tensor(x), torch.tensor(scales), torch.tensor(zero_points), 0, torch.qint8)
quantize(
    "torch",
    "quantize_per_channel",
    "i8, axis 0",
    x,
    scales,
    zero_points,
    "i8",
    y.int_repr().numpy(),
    why=RECIPROCAL,
    reciprocal=True,
)
dequantize("torch", "dequantize", "i8, axis 0", y.int_repr().numpy(), scales, zero_points, "i8", y.dequantize().numpy())
y = torch.quantize_per_tensor(torch.tensor(SPECIAL), 0.1, 10, torch.quint8).int_repr().numpy()
quantize(
    "torch",
    "quantize_per_tensor",
    "u8, special values",
    SPECIAL,
    f32(0.1),
    10,
    "u8",
    y,
    why="NaN is the zero point here, the largest code there",
)
y = (
    torch.quantize_per_channel(torch.tensor(SPECIAL[None, :]), torch.tensor([0.1]), torch.tensor([10]), 0, torch.quint8)
    .int_repr()
    .numpy()
)
quantize(
    "torch",
    "quantize_per_channel",
    "u8, special values",
    SPECIAL,
    f32(0.1),
    10,
    "u8",
    y,
    why="NaN is the zero point here, the smallest code there",
)


def fake_quantize(name, x, scales, zero_points, bounds, why, reciprocal=True):
    """Values and mask; the differences are in steps, those of the mask in `mask_differs`."""
    aten = torch.ops.aten
    if scales.size == 1:
        y, mask = aten.fake_quantize_per_tensor_affine_cachemask(torch.tensor(x), float(scales[0]), int(zero_points[0]), *bounds)
    else:
        z = torch.tensor(zero_points, dtype=torch.int32)
        y, mask = aten.fake_quantize_per_channel_affine_cachemask(torch.tensor(x), torch.tensor(scales), z, 0, *bounds)
    s, z = spread(scales, x.shape, 0, 0), spread(zero_points.astype(f32), x.shape, 0, 0)
    code = np.rint((y.numpy() / s).astype(np.float64)) + z
    assert (y.numpy() == (code - z).astype(f32) * s).all()
    within = lambda v: (np.rint(v) + z >= bounds[0]) & (np.rint(v) + z <= bounds[1])
    if reciprocal:
        v = x * (f32(1) / s)
        assert (code == quotient_codes(v, z, *bounds)).all() and (mask.numpy() == within(v)).all()
    masks = np.flatnonzero(mask.numpy() != within(x / s))
    operator = "fake_quantize_per_tensor_affine" if scales.size == 1 else "fake_quantize_per_channel_affine"
    add(
        "torch",
        operator,
        name,
        code.astype(np.int16),
        quotient_codes(x / s, z, *bounds),
        why,
        x=bits(x),
        shape=list(x.shape),
        range=list(bounds),
        scales=bits(scales),
        zero_points=integers(zero_points),
        reals=bits(y.numpy()),
        mask=bits(mask.numpy()),
        mask_differs=masks.tolist(),
        reciprocal=reciprocal,
    )


for bounds, scale, zero_point in [((0, 255), 5 / 255, 128), ((-8, 7), 1 / 3, 2), ((0, 127), 0.0123, 64)]:
    x = np.concatenate(
        [
            steps(scale, 30, (bounds[1] - bounds[0]) // 2 + 4),
            ((np.array([bounds[0], bounds[1] + 1] * 5) - zero_point - 0.5) * scale).astype(f32),
        ]
    )
    fake_quantize(
        f"{bounds[0]} … {bounds[1]}, ties of {scale:.4g}", x, np.array([scale], f32), np.array([zero_point]), bounds, RECIPROCAL
    )
x = np.stack([steps(s, 14) for s in scales])
fake_quantize("-128 … 127, axis 0", x, scales, zero_points, (-128, 127), RECIPROCAL)
fake_quantize(
    "special values",
    SPECIAL,
    np.array([0.1], f32),
    np.array([10]),
    (0, 255),
    "NaN is real 0 here, the smallest value there",
    False,
)
fake_quantize(
    "special values",
    SPECIAL.reshape(2, 11),
    np.array([0.1, 0.1], f32),
    np.array([10, 10]),
    (0, 255),
    "NaN is real 0 here, the smallest value there; so is what is beyond 64-bit integers there",
    False,
)


def torch_linear(name, engine, each, bias, s_y, why="", size=20):
    torch.backends.quantized.engine = engine
    x = torch.quantize_per_tensor(torch.tensor((random.normal(size=(3, 16)) * size).astype(f32)), 0.31, 121, torch.quint8)
    s_w = random.uniform(0.008, 0.02, 5).astype(f32) if each else np.array([0.011], f32)
    w = torch.tensor((random.normal(size=(5, 16)) * 0.5).astype(f32))
    w = (
        torch.quantize_per_channel(w, torch.tensor(s_w.astype(np.float64)), torch.zeros(5, dtype=torch.long), 0, torch.qint8)
        if each
        else torch.quantize_per_tensor(w, float(s_w[0]), 0, torch.qint8)
    )
    bias = None if bias is None else bias.astype(f32)
    packed = torch.ops.quantized.linear_prepack(w, None if bias is None else torch.tensor(bias))
    y = torch.ops.quantized.linear(x, packed, float(f32(s_y)), 101).int_repr().numpy()
    a, b = x.int_repr().numpy(), w.int_repr().numpy().T
    acc = accumulators(a, b, 121, 0)
    if bias is not None:
        unit = f32(0.31) * s_w
        real = quotient_codes((acc.astype(f32) + bias / unit) * (unit / f32(s_y)), f32(101), 0, 255)
        assert (real == y).all()
        acc = acc + np.rint((bias / unit).astype(np.float64)).astype(np.int64)
    ours = requantized(acc, 0.31, s_w, s_y, 101, np.uint8)
    add(
        "torch",
        "quantized::linear",
        f"{engine}, {name}",
        y,
        ours,
        why,
        codes=["u8", "i8"],
        shape=[3, 16, 5],
        a=bits(a),
        b=bits(b),
        za=[121],
        zb=[0],
        s_a=bits(f32(0.31)),
        s_b=bits(s_w),
        s_y=bits(f32(s_y)),
        z_y=101,
        out="u8",
        bias=None if bias is None else bits(bias),
    )


torch_linear("scales of outputs", "fbgemm", True, None, 0.77)
torch_linear("scale of the tensor", "qnnpack", False, None, 0.77)
torch_linear("bias", "onednn", True, np.round(random.normal(size=5), 3), 0.77)
torch_linear(
    "bias of halves",
    "fbgemm",
    False,
    (np.arange(5) - 1.5) * 0.31 * 0.011,
    0.0062,
    "the bias is real there, an integer of the accumulators here",
    0.2,
)
