"""One operator of onnxruntime. As a program: a matrix product on the CPU that runs it, of operands that `numpy.save` wrote.

qemu-x86_64-static -cpu Haswell python ort.py <operands >product
"""

import io
import sys

import numpy as np
import onnxruntime
from onnx import helper, numpy_helper


def run(operator, inputs, outputs, domain="", **attributes):
    """Outputs are [(name, type)]; inputs of None are left out."""
    made = {name: np.asarray(x) for name, x in inputs.items() if x is not None}
    node = helper.make_node(
        operator,
        [name if x is not None else "" for name, x in inputs.items()],
        [n for n, _ in outputs],
        domain=domain,
        **attributes,
    )
    kind = lambda x: helper.np_dtype_to_tensor_dtype(x.dtype)
    # Weights and everything that belongs to them are constants, as in models.
    given = {"x": made["x"]}
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", kind(made["x"]), made["x"].shape)],
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(np.dtype(t)), None) for n, t in outputs],
        [numpy_helper.from_array(x, name) for name, x in made.items() if name != "x"],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    # No operator is computed while the model is loaded, or put together with another one.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, given)


if __name__ == "__main__":
    operands = io.BytesIO(sys.stdin.buffer.read())
    a, b = np.load(operands), np.load(operands)
    np.save(sys.stdout.buffer, run("MatMulInteger", {"x": a, "b": b}, [("y", np.int32)])[0])
