"""Every case of onnx's conformance suite whose operator is in CONFORMANCE: recorded, or in `left_out` with the reason."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from oracle_cases import CODES, convolution, dequantize, dynamic, f32, matmul, quantize

left_out = {}

CONFORMANCE = [
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "QLinearMatMul",
    "ConvInteger",
    "QLinearConv",
]
BITS = {
    TensorProto.UINT4: "u4",
    TensorProto.INT4: "i4",
    TensorProto.UINT2: "u2",
    TensorProto.INT2: "i2",
    TensorProto.FLOAT8E4M3FN: "e4m3",
    TensorProto.FLOAT8E5M2: "e5m2",
}


def operand(x):
    """Values, the name of codes that NumPy does not have, and their bytes."""
    if not isinstance(x, TensorProto):
        return np.asarray(x), CODES.get(np.asarray(x).dtype), None
    values, code = numpy_helper.to_array(x), BITS.get(x.data_type, {TensorProto.INT16: "i16"}.get(x.data_type))
    if x.data_type not in BITS:
        return values, code, None
    if code.startswith("e"):
        return values.view(np.uint8), code, None
    return values.astype(np.uint8 if code[0] == "u" else np.int8), code, (x.raw_data or bytes(x.int32_data)).hex()


def record_conformance(case):
    (node,) = case.model.graph.node
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    (inputs, outputs), operator, name = case.data_sets[0], node.op_type, case.name.removeprefix("test_")
    given = [operand(x) for x in inputs] + [(None, None, None)] * 9
    (x, code, packed), (y, y_code, y_packed) = given[0], operand(outputs[0])
    first, second, third, fourth, fifth, sixth, seventh = (values for values, _, _ in given[1:8])
    place = {"axis": attributes.get("axis", 1) if np.size(first) > 1 else 0, "block": attributes.get("block_size", 0)}
    if operator == "QuantizeLinear":
        more = {"packed": y_packed} if y_packed else {}
        quantize("onnx", operator, name, x, first, second, y_code, y, **place, **more)
    elif operator == "DequantizeLinear":
        more = {"packed": packed} if packed else {}
        dequantize("onnx", operator, name, x, first, second, code, y, **place, **more)
    elif operator == "DynamicQuantizeLinear":
        dynamic("onnx", name, x, y, *(operand(o)[0] for o in outputs[1:]))
    elif operator == "MatMulInteger":
        matmul("onnx", operator, name, x, first, second, third, y)
    elif operator == "QLinearMatMul":
        # (x, s, z), (w, s, z), (s, z); the first axis of three is that of a batch.
        for i, (a, b, y) in enumerate(zip(x, third, y) if x.ndim == 3 else [(x, third, y)]):
            part = f"{name}[{i}]" if x.ndim == 3 else name
            matmul("onnx", operator, part, a, b, second, fifth, y, (first, fourth, sixth), seventh.item())
    elif operator == "ConvInteger":
        convolution("onnx", operator, name, x, first, second, 0 if third is None else third, y, attributes)
    elif operator == "QLinearConv":
        convolution("onnx", operator, name, x, third, second, fifth, y, attributes, None, (first, fourth, sixth), seventh.item())


def record_cast(case):
    """Casts between f32 and FP8, saturating and not."""
    (node,) = case.model.graph.node
    (inputs, outputs), name = case.data_sets[0], case.name.removeprefix("test_")
    (x, code, _), (y, y_code, _) = operand(inputs[0]), operand(outputs[0])
    if y_code:
        saturates = next((a.i for a in node.attribute if a.name == "saturate"), 1)
        quantize("onnx", "Cast", name, x, f32(1), None, y_code, y, saturates=bool(saturates))
    else:
        dequantize("onnx", "Cast", name, x, f32(1), None, code, y)


for case in sorted(collect_testcases(None), key=lambda case: case.name):
    operators = [node.op_type for node in case.model.graph.node]
    if case.name.endswith("_expanded") and set(operators) & {*CONFORMANCE}:
        left_out[case.name] = "the same values, by a graph of simpler operators"
    elif "float4e2m1" in case.name:
        left_out[case.name] = "four-bit floats are here in blocks only: MXFP4 and NVFP4"
    elif operators[0] in CONFORMANCE and len(operators) == 1:
        assert len(case.data_sets) == 1
        record_conformance(case)
    elif case.name in [
        f"test_cast_{how}{c}"
        for how in ["", "no_saturate_"]
        for c in ["FLOAT_to_FLOAT8E4M3FN", "FLOAT_to_FLOAT8E5M2", "FLOAT8E4M3FN_to_FLOAT", "FLOAT8E5M2_to_FLOAT"]
    ]:
        record_cast(case)
