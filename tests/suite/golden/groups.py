"""Records groups.json: weights as gguf and onnxruntime read them.

python3 -m venv venv && venv/bin/pip install gguf numpy onnx onnxruntime
venv/bin/python tests/suite/golden/groups.py > tests/suite/golden/groups.json
"""

import json

import numpy as np
import onnxruntime
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from onnx import TensorProto, helper

random = np.random.default_rng(7)


def bits(x):
    return [int(bits) for bits in np.asarray(x, np.float32).reshape(-1).view(np.uint32)]


def ggml(name, rows=2):
    """Random blocks, whose f16 are numbers of ordinary size."""
    kind = GGMLQuantizationType[name]
    length, size = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (rows, size), np.uint8)
    halves = {"Q4_0": [0], "Q5_0": [0], "Q8_0": [0], "Q4_1": [0, 2], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "MXFP4": [], "NVFP4": []}[name]
    for at in halves:
        blocks[:, at : at + 2] = random.normal(0, 1, rows).astype(np.float16).view(np.uint8).reshape(rows, 2)
    values = quants.dequantize(blocks, kind)
    assert values.shape == (rows, length)
    return {"bytes": blocks.reshape(-1).tolist(), "values": bits(values)}


def nbits(width, length, depth, outputs, with_zero_points):
    """The weights themselves: products with the identity."""
    blocks, per_byte = -(-depth // length), 8 // width
    codes = random.integers(0, 256, (outputs, blocks, length // per_byte), np.uint8)
    scales = random.uniform(0.001, 0.1, outputs * blocks).astype(np.float32)
    zero_points = random.integers(0, 256, outputs * -(-blocks // per_byte), np.uint8) if with_zero_points else None
    inputs = {"B": codes, "scales": scales} | ({"zero_points": zero_points} if with_zero_points else {})
    initializers = [
        helper.make_tensor(name, TensorProto.FLOAT if x.dtype == np.float32 else TensorProto.UINT8, x.shape, x.tobytes(), raw=True)
        for name, x in inputs.items()
    ]
    node = helper.make_node(
        "MatMulNBits", ["A", *inputs], ["Y"], domain="com.microsoft", K=depth, N=outputs, bits=width, block_size=length
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("A", TensorProto.FLOAT, [depth, depth])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [depth, outputs])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)])
    model.ir_version = 10
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (values,) = session.run(None, {"A": np.eye(depth, dtype=np.float32)})
    return {
        "bits": width,
        "length": length,
        "shape": [outputs, depth],
        "bytes": codes.reshape(-1).tolist(),
        "scales": bits(scales),
        "zero_points": None if zero_points is None else zero_points.tolist(),
        "values": bits(values.T),
    }


print(
    json.dumps(
        {
            "gguf": {name: ggml(name) for name in ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q4_K", "Q5_K", "Q6_K", "MXFP4", "NVFP4"]},
            "matmul_nbits": [
                nbits(4, 32, 64, 3, False),
                nbits(4, 16, 56, 3, True),
                nbits(8, 32, 48, 2, True),
                nbits(2, 32, 64, 2, True),
            ],
        },
        separators=(",", ":"),
    )
)
