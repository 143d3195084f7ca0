"""Records blocks.json: onnxruntime's QuantizeLinear and DequantizeLinear of blocks along any axis, which onnx's reference equals.

    pip install numpy onnx onnxruntime && python blocks.py > blocks.json
"""

import json

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from onnx.reference import ReferenceEvaluator

f32 = np.float32
rng = np.random.default_rng(7)


def model(operation, inputs, output, axis, block):
    tensor = lambda name, x: helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
    node = helper.make_node(operation, list(inputs), ["y"], axis=axis, block_size=block)
    graph = helper.make_graph([node], "g", [tensor(name, x) for name, x in inputs.items()], [tensor("y", output)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def run(operation, inputs, output, axis, block):
    made = model(operation, inputs, output, axis, block)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, inputs)
    assert np.array_equal(y, ReferenceEvaluator(made).run(None, inputs)[0])
    return y


cases = []
for shape, axis, block, kind in [
    ((12, 20), 0, 4, np.uint8),
    ((2, 7, 17), 1, 3, np.int8),
    ((2, 3, 2, 5), 1, 2, np.uint8),
    ((5, 70), 0, 2, np.int8),
    ((3, 50), 1, 16, np.uint8),
]:
    count = int(np.prod(shape))
    words = (np.arange(count, dtype=np.uint64) * 2654435761 & 0xFFFFFFFF).astype(np.uint32)
    x = ((words >> 8).astype(f32) / f32(4e6) - f32(2)).reshape(shape)
    groups = [-(-length // block) if i == axis else length for i, length in enumerate(shape)]
    scales = rng.uniform(0.01, 0.05, groups).astype(f32)
    info = np.iinfo(kind)
    zero_points = rng.integers(info.min // 2 if info.min else 60, info.max // 2, groups).astype(kind)
    codes = run("QuantizeLinear", {"x": x, "s": scales, "z": zero_points}, np.empty(shape, kind), axis, block)
    reals = run("DequantizeLinear", {"x": codes, "s": scales, "z": zero_points}, np.empty(shape, f32), axis, block)
    row = {"shape": shape, "axis": axis, "block": block, "signed": bool(info.min)}
    bits = lambda x: x.ravel().view(np.uint32).tolist()
    row |= {"scales": bits(scales), "zero_points": zero_points.ravel().tolist()}
    row |= {"codes": codes.ravel().tolist(), "reals": bits(reals)}
    cases.append(row)

print(json.dumps({"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__, "cases": cases}))
