"""Cases of oracles.json: operands, what another program makes of them, and what the rules of this library do, in NumPy."""

import numpy as np
import torch

f32 = np.float32
RANGES = {
    "u8": (0, 255),
    "i8": (-128, 127),
    "u16": (0, 65535),
    "i16": (-32768, 32767),
    "u4": (0, 15),
    "i4": (-8, 7),
    "u2": (0, 3),
    "i2": (-2, 1),
}
CODES = {np.dtype(np.uint8): "u8", np.dtype(np.int8): "i8", np.dtype(np.uint16): "u16", np.dtype(np.int16): "i16"}
random = np.random.default_rng(25)
cases = []


def bits(x):
    """The bits of floats and the codes of integers, in hexadecimal."""
    x = np.asarray(x)
    return x.astype(x.dtype.newbyteorder(">")).tobytes().hex()


def integers(x):
    return np.asarray(x).astype(np.int64).ravel().tolist()


def ordered(x):
    """Integers whose neighbours are neighbouring floats, of −0.0 −1; codes as they are."""
    if x.dtype.kind != "f":
        return x.astype(np.int64).ravel()
    whole = x.ravel().view(np.int16 if x.dtype == np.float16 else np.int32).astype(np.int64)
    return np.where(whole < 0, -1 - (whole & (0x7FFF if x.dtype == np.float16 else 0x7FFFFFFF)), whole)


# The rules of this library.


def quotient_codes(v, zero_points, least, most):
    """`round(clamp(v)) + Z`, the code Z of NaN."""
    v = np.minimum(np.maximum(v, f32(least) - zero_points), f32(most) - zero_points)
    return (np.nan_to_num(np.rint(v)) + zero_points).astype(np.int64)


def accumulators(a, b, za, zb):
    return (a.astype(np.int64) - za) @ (b.astype(np.int64) - zb)


def requantized(acc, s_a, s_b, s_y, z_y, dtype):
    """`Rule::Float` with the multipliers of `Requantize::onnxruntime`."""
    info = np.iinfo(dtype)
    return quotient_codes(acc.astype(f32) * (f32(s_a) * np.asarray(s_b, f32) / f32(s_y)), f32(z_y), info.min, info.max)


def add(program, operator, name, y, ours, why="", **operands):
    """A case, with the places where `ours` differs."""
    y, ours = np.asarray(y), np.asarray(ours)
    assert y.size == ours.size, name
    deltas = ordered(y) - ordered(ours.astype(y.dtype) if y.dtype.kind == "f" else ours)
    differs = [[int(i), int(deltas[i])] for i in np.flatnonzero(deltas)]
    assert bool(differs) == bool(why), (program, operator, name, differs[:9], why)
    case = {"program": program, "operator": operator, "name": name, **operands, "y": bits(y)}
    cases.append(case | ({"differs": differs, "why": why} if differs else {}))


def spread(values, shape, axis, block):
    """Scales or zero points for every element: of one group, of an axis, of blocks along it."""
    values = np.asarray(values)
    if values.size == 1:
        return np.broadcast_to(values.reshape(()), shape)
    if not block:
        return np.broadcast_to(values.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)
    return np.repeat(values, block, axis).take(range(shape[axis]), axis)


def linear(scales, zero_points, code, shape, axis, block):
    """Parameters of `QuantizeLinear` and `DequantizeLinear`: S and Z of every element, and what a case has of them."""
    scales = np.asarray(scales).astype(f32)
    zero_points = np.zeros(scales.shape, np.int64) if zero_points is None else np.asarray(zero_points).astype(np.int64)
    recorded = {
        "code": code,
        "shape": list(shape),
        "axis": axis,
        "block": block,
        "scales": bits(scales),
        "zero_points": integers(zero_points),
    }
    return *(spread(v, shape, axis, block) for v in (scales, zero_points)), recorded


def quantize(program, operator, name, x, scales, zero_points, code, y, axis=0, block=0, why="", **more):
    x = np.asarray(x)
    s, z, params = linear(scales, zero_points, code, x.shape, axis, block)
    ours = quotient_codes(x.astype(f32) / s, z.astype(f32), *RANGES[code]) if code in RANGES else y
    add(program, operator, name, y, ours, why, x=bits(x), half=x.dtype == np.float16, **params, **more)


def dequantize(program, operator, name, codes, scales, zero_points, code, y, axis=0, block=0, why="", **more):
    y = np.asarray(y)
    s, z, params = linear(scales, zero_points, code, codes.shape, axis, block)
    ours = ((codes.astype(np.int64) - z).astype(f32) * s).astype(y.dtype) if code in RANGES else y
    add(program, operator, name, y, ours, why, codes=bits(codes), half=y.dtype == np.float16, **params, **more)


def matmul(program, operator, name, a, b, za, zb, y, scales=None, z_y=None, why=""):
    """a [M, K] and b [K, N]: codes with scales, else sums."""
    za, zb = np.atleast_1d(np.asarray(za).astype(np.int64)), np.atleast_1d(np.asarray(zb).astype(np.int64))
    ours = accumulators(a, b, za, zb)
    more = {}
    if scales is not None:
        s_a, s_b, s_y = (np.atleast_1d(np.asarray(s).astype(f32)) for s in scales)
        more = {"s_a": bits(s_a), "s_b": bits(s_b), "s_y": bits(s_y), "z_y": int(z_y)}
        ours = requantized(ours, s_a, s_b, s_y, z_y, y.dtype)
    add(
        program,
        operator,
        name,
        y,
        ours,
        why,
        codes=[CODES[a.dtype], CODES[b.dtype]],
        shape=[*a.shape, b.shape[1]],
        a=bits(a),
        b=bits(b),
        za=integers(za),
        zb=integers(zb),
        out="i32" if scales is None else CODES[y.dtype],
        **more
    )


def last(images):
    return images.transpose(0, 2, 3, 1)


def convolution(program, operator, name, x, w, zx, zw, y, attributes, bias=None, scales=None, z_y=None, why=""):
    """Images, weights and result as ONNX has them: [N, C, H, W] and [M, C / groups, H, W]."""
    pads, strides = attributes.get("pads", [0] * 4), attributes.get("strides", [1, 1])
    dilations, groups = attributes.get("dilations", [1, 1]), attributes.get("group", 1)
    zw = np.atleast_1d(np.asarray(zw).astype(np.int64))
    # Exact: sums of integers in f64.
    images = torch.tensor(np.pad(x.astype(np.float64) - int(zx), [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])]))
    weights = torch.tensor(w.astype(np.float64) - zw.reshape(-1, 1, 1, 1))
    ours = last(torch.nn.functional.conv2d(images, weights, None, strides, 0, dilations, groups).numpy().astype(np.int64))
    ours = ours + (0 if bias is None else bias.astype(np.int64))
    more = {"bias": None if bias is None else integers(bias)}
    y = last(y)
    if scales is not None:
        s_x, s_w, s_y = (np.atleast_1d(np.asarray(s).astype(f32)) for s in scales)
        more |= {"s_a": bits(s_x), "s_b": bits(s_w), "s_y": bits(s_y), "z_y": int(z_y)}
        ours = requantized(ours, s_x, s_w, s_y, z_y, y.dtype)
    add(
        program,
        operator,
        name,
        y,
        ours,
        why,
        codes=[CODES[x.dtype], CODES[w.dtype]],
        shape=list(last(x).shape),
        a=bits(last(x)),
        weights_shape=list(w.shape),
        b=bits(w),
        za=int(zx),
        zb=integers(zw),
        padding=list(pads),
        stride=list(strides),
        dilation=list(dilations),
        groups=groups,
        out="i32" if scales is None else CODES[y.dtype],
        **more
    )


def dynamic(program, name, x, y, scale, zero_point):
    low, high = min(x.min(), f32(0)), max(x.max(), f32(0))
    s = f32(high - low) / f32(255)
    z = np.rint(np.clip(f32(0) - low / s, f32(0), f32(255)))
    assert (bits(s), int(z)) == (bits(scale), int(zero_point)), name
    add(
        program,
        "DynamicQuantizeLinear",
        name,
        y,
        quotient_codes(x / s, z, 0, 255),
        x=bits(x),
        scale=bits(scale),
        zero_point=int(zero_point),
    )


# What others have in common.

RECIPROCAL = "x · (1 / S) is rounded there, x / S here"


def by_reciprocal(x, s, z, least, most):
    return quotient_codes(x * (f32(1) / s), z, least, most)


# Inputs.


def steps(scale, count, most=140):
    """Ties of a scale and their neighbours, among them those that a product with the reciprocal rounds to another code; whole
    steps, and values of any size."""
    scale = f32(scale)
    at = lambda k: (k * np.float64(scale)).astype(f32)
    all_ties = at(np.arange(-most, most) + 0.5)
    near = np.concatenate([all_ties, np.nextafter(all_ties, f32(1e9)), np.nextafter(all_ties, f32(-1e9))])
    others = near[np.rint(near / scale) != np.rint(near * (f32(1) / scale))]
    kinds = [
        random.choice(all_ties, count),
        random.choice(near, count),
        random.choice(others, count),
        at(random.integers(-most, most, count)),
        (random.normal(size=count) * 60 * scale).astype(f32),
    ]
    return np.array([kinds[i % 5][i] for i in range(count)], f32)


SPECIAL = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0, -0.0, 1e-45, -1e-45, 2.5, 0.3] * 2, f32)
