"""Records formats.json: blocks as ggml's own library, its Python package, and ml_dtypes (which onnx brings) encode them.

python3 -m venv venv && venv/bin/pip install gguf numpy onnx llama-cpp-python
venv/bin/python tests/suite/golden/formats.py path/to/libggml-base.so > tests/suite/golden/formats.json

(llama-cpp-python builds the library. Its scalar code is the reference, compiled for an x86-64 without fused multiply-adds.)
"""

import ctypes
import json
import sys

import ml_dtypes
import numpy as np
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

library = ctypes.CDLL(sys.argv[1])
library.ggml_quantize_chunk.restype = ctypes.c_size_t
library.ggml_quantize_init(0)
random = np.random.default_rng(11)

# Those that the Python package encodes, too.
BY_PACKAGE = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
FORMATS = [*BY_PACKAGE, "Q2_K", "Q4_K", "Q5_K", "Q6_K"]
E2M1 = ["MXFP4", "NVFP4"]


def tensor():
    """Rows of 256 values, most in groups of 32 of a magnitude of their own."""
    rows = random.normal(0, 1, (6, 256)).astype(np.float32)
    rows[1] *= np.repeat(np.float32(2) ** random.integers(-12, 4, 8), 32)
    rows[2, ::29] *= 40  # outliers
    rows[3] = np.abs(rows[3])  # no offset below 0
    rows[4, :64] = 0.75  # constant groups, of either sign and of zeros
    rows[4, 64:128] = -0.75
    rows[4, 128:192] = 0
    rows[4, 192:] = random.choice([0.0, -0.0, 0.5, 1.0], 64)  # minima that are zeros of both signs
    rows[4, 192], rows[4, 224] = 0.0, -0.0
    rows[5] = 0
    return rows


def encode(name, x):
    kind = GGMLQuantizationType[name]
    length, size = GGML_QUANT_SIZES[kind]
    x = np.ascontiguousarray(x, np.float32).reshape(-1, 256)
    out = np.zeros(x.size // length * size, np.uint8)
    written = library.ggml_quantize_chunk(
        ctypes.c_int(int(kind)),
        x.ctypes.data_as(ctypes.c_void_p),
        out.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_int64(0),
        ctypes.c_int64(x.shape[0]),
        ctypes.c_int64(256),
        None,
    )
    assert written == out.size
    return out


def e2m1(x):
    return x.astype(ml_dtypes.float4_e2m1fn).view(np.uint8) & 15


def halves_of_bytes(codes):
    """Codes [blocks, 2, n]: the first n in the low halves of n bytes."""
    return codes[:, 0] | codes[:, 1] << 4


def mxfp4(x):
    """By the OCP specification, with ml_dtypes' E2M1."""
    x = x.reshape(-1, 32)
    exponent = np.maximum((np.abs(x).max(axis=1).view(np.uint32) >> 23).astype(np.int32) - 2, 0)
    codes = e2m1((x.astype(np.float64) / 2.0 ** (exponent[:, None] - 127)).clip(-6, 6))
    return np.concatenate([exponent[:, None].astype(np.uint8), halves_of_bytes(codes.reshape(-1, 2, 16))], axis=1)


def nvfp4(x, tensor_scale):
    """By the published recipe, with ml_dtypes' E4M3 and E2M1; in ggml's layout."""
    groups = x.reshape(-1, 16)
    scale = (np.abs(groups).max(axis=1) / np.float32(6) / np.float32(tensor_scale)).astype(ml_dtypes.float8_e4m3fn)
    product = scale.astype(np.float32) * np.float32(tensor_scale)
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.where(product[:, None] == 0, np.copysign(0, groups), groups / product[:, None])
    codes = halves_of_bytes(e2m1(quotient.clip(-6, 6)).reshape(-1, 2, 8)).reshape(-1, 32)
    return np.concatenate([scale.view(np.uint8).reshape(-1, 4), codes], axis=1)


def hexadecimal(x):
    return np.ascontiguousarray(x).reshape(-1).view(np.uint8).tobytes().hex()


def record():
    x = tensor()
    golden = {"x": hexadecimal(x), "ggml": {}}
    for name in FORMATS:
        blocks = encode(name, x)
        if name in BY_PACKAGE:
            # (But for the sign of a minimum that is zero, which NumPy does not define.)
            other = quants.quantize(x, GGMLQuantizationType[name]).reshape(-1)
            unequal = np.flatnonzero(blocks != other)
            assert all({blocks[i], other[i]} == {0, 0x80} for i in unequal), name
        golden["ggml"][name] = hexadecimal(blocks)
    golden["mxfp4"] = hexadecimal(mxfp4(x))
    tensor_scale = np.abs(x).max() / np.float32(6 * 448)
    golden["nvfp4"] = {"one": hexadecimal(nvfp4(x, 1)), "scaled": hexadecimal(nvfp4(x, tensor_scale))}
    # ggml's own E2M1, where no value is a tie.
    golden["own"] = {name: hexadecimal(encode(name, x)) for name in E2M1}
    print(json.dumps(golden, separators=(",", ":")))


if __name__ == "__main__":
    record()
