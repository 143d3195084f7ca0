"""LiteRT's QUANTIZE and DEQUANTIZE. (Its layers are in requantize.json and int16x8.json.)"""

import numpy as np

import litert
from oracle_cases import RANGES, RECIPROCAL, SPECIAL, by_reciprocal, dequantize, f32, quantize, steps

KINDS, OPERATORS = litert.KINDS, litert.OPERATORS


def with_litert(operator, code, scale, zero_point, x):
    codes, reals = [{"u8": KINDS.UINT8, "i8": KINDS.INT8, "i16": KINDS.INT16}[code], [scale], 0, [zero_point]], [KINDS.FLOAT32]
    kinds = [codes, reals] if operator == "DEQUANTIZE" else [reals, codes]
    tensors = [litert.tensor(name, x.shape, *kind) for name, kind in zip("xy", kinds)]
    return litert.results(litert.model(tensors, [], getattr(OPERATORS, operator), 3 if operator == "DEQUANTIZE" else 2), x)


for code, scale, zero_point in [("i8", 0.1, -17), ("u8", 5 / 255, 128), ("i16", 1 / 3, 0)]:
    x, scale = steps(scale, 36), f32(scale)
    xnnpack, builtin, reference = with_litert("QUANTIZE", code, scale, zero_point, x)
    reciprocal = by_reciprocal(x, scale, f32(zero_point), *RANGES[code])
    away = lambda v: np.clip(np.sign(v) * np.floor(np.abs(v.astype(np.float64)) + 0.5) + zero_point, *RANGES[code])
    # The built-in loop over what is left of vectors has a formula of its own.
    assert (builtin == [*reciprocal[:32], *away(x[32:] / np.float64(scale))]).all() and (reference == away(x / scale)).all()
    operands = (x, scale, zero_point, code)
    if code == "i16":
        assert (xnnpack == builtin).all()  # XNNPACK has none.
    else:
        assert (xnnpack == reciprocal).all()
        quantize("litert", "QUANTIZE", f"{code}, XNNPACK", *operands, xnnpack, why=RECIPROCAL, reciprocal=True)
    if code != "u8":
        quantize(
            "litert",
            "QUANTIZE",
            f"{code}, built-in",
            *operands,
            builtin,
            why="x · (1 / S) is rounded there; in what is left of vectors x / S in f64, ties away from zero",
        )
    quantize("litert", "QUANTIZE", f"{code}, reference", *operands, reference, why="ties away from zero there, to even here")
    codes, operands = reference, (scale, zero_point, code)
    xnnpack, builtin, reference = with_litert("DEQUANTIZE", *operands[2:], *operands[:2], codes)
    assert (xnnpack == reference).all()
    dequantize("litert", "DEQUANTIZE", f"{code}, XNNPACK and reference", codes, *operands, xnnpack)
    if code == "i8":
        two = codes * scale + -f32(zero_point) * scale
        two[32:] = xnnpack[32:]
        assert (builtin == two).all()
        dequantize(
            "litert",
            "DEQUANTIZE",
            f"{code}, built-in",
            codes,
            *operands,
            builtin,
            why="S · q − S · Z there, two roundings, but in what is left of vectors; S · (q − Z) here",
        )
x = SPECIAL[:11]
for name, y in zip(["XNNPACK", "built-in", "reference"], with_litert("QUANTIZE", "i8", f32(0.1), 3, x)):
    why = "NaN is the zero point here, the largest code there"
    if name != "XNNPACK":
        why = "NaN is the zero point here; it and what is beyond 32-bit integers are the smallest code there"
    quantize("litert", "QUANTIZE", f"i8, special values, {name}", x, f32(0.1), 3, "i8", y, why=why)
