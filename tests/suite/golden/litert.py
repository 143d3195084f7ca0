"""Models of one operator, and what LiteRT's kernels make of them.

pip install ai-edge-litert flatbuffers numpy
"""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

# XNNPACK's kernels where it has some, the built-in ones, and the reference.
RESOLVERS = [OpResolverType.BUILTIN, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, OpResolverType.BUILTIN_REF]
KINDS, OPERATORS, OPTIONS = schema.TensorType, schema.BuiltinOperator, schema.BuiltinOptions


def tensor(name, shape, kind, scales=(), buffer=0, zero_points=None):
    t = schema.TensorT()
    t.name, t.shape, t.type, t.buffer = name, list(shape), kind, buffer
    t.quantization = schema.QuantizationParametersT()
    t.quantization.scale = [float(s) for s in scales]
    t.quantization.zeroPoint = [0] * len(scales) if zero_points is None else list(zero_points)
    t.quantization.quantizedDimension = 0
    return t


def buffer(data=None):
    b = schema.BufferT()
    if data is not None:
        b.data = np.frombuffer(data.tobytes(), np.uint8)
    return b


def model(tensors, constants, operator, version, options=None):
    """One operator, whose input is the first tensor and whose result is the last one; those between them are constants, of the buffers
    from 1 on."""
    graph, op, code, whole = schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT(), schema.ModelT()
    graph.tensors = tensors
    op.opcodeIndex, op.inputs, op.outputs = 0, list(range(len(tensors) - 1)), [len(tensors) - 1]
    if options is not None:
        op.builtinOptionsType, op.builtinOptions = options
    graph.operators, graph.inputs, graph.outputs = [op], [0], op.outputs
    code.builtinCode = code.deprecatedBuiltinCode = operator
    code.version = version
    whole.version, whole.operatorCodes, whole.subgraphs = 3, [code], [graph]
    whole.buffers = [buffer(), *map(buffer, constants)]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def results(content, x):
    """What the kernels of every resolver make of x."""
    found = []
    for resolver in RESOLVERS:
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).flatten())
    return found
