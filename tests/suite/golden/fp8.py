"""Records fp8.json: the values of all codes and the codes of some f32, by ml_dtypes and onnxruntime.

    pip install numpy ml_dtypes onnx onnxruntime && python fp8.py > fp8.json

ml_dtypes does not saturate, onnxruntime's Cast does where it is asked to. Bits and codes are in hexadecimal.
"""

import ctypes
import json

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper


def cast(x, kind, saturate):
    node = helper.make_node("Cast", ["x"], ["y"], to=kind, saturate=saturate)
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "g", [tensor("x", TensorProto.FLOAT, x.shape)], [tensor("y", kind, x.shape)]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run_with_ort_values(None, {"x": onnxruntime.OrtValue.ortvalue_from_numpy(x)})
    # (NumPy has no such type.)
    return np.frombuffer(ctypes.string_at(y.data_ptr(), x.size), np.uint8)


rng = np.random.default_rng(11)
words = rng.integers(0, 1 << 32, 120, dtype=np.uint32)
x = [words.view(np.float32), (rng.normal(size=200) * np.exp2(rng.integers(-19, 18, 200))).astype(np.float32)]
x.append(np.array([0.0, -0.0, 448, 464, 480, 57344, 61440, 65536, 2.0**-10, 2.0**-17, np.inf, np.nan], np.float32))
x.append(np.nextafter(x[-1], np.float32(np.inf)))
x.append(np.nextafter(x[2], np.float32(-np.inf)))
x = np.concatenate([*x, -x[2], -x[3], -x[4]])
hexadecimal = lambda array: array.astype(array.dtype.newbyteorder(">")).tobytes().hex()
golden = {"ml_dtypes": ml_dtypes.__version__, "onnxruntime": onnxruntime.__version__, "x": hexadecimal(x)}
for name, dtype, kind in [
    ("e4m3", ml_dtypes.float8_e4m3fn, TensorProto.FLOAT8E4M3FN),
    ("e5m2", ml_dtypes.float8_e5m2, TensorProto.FLOAT8E5M2),
]:
    values = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        plain = x.astype(dtype).view(np.uint8)
    golden[name] = {
        "values": hexadecimal(values),
        "saturated": hexadecimal(cast(x, kind, 1)),
        "plain": hexadecimal(plain),
    }
print(json.dumps(golden))
