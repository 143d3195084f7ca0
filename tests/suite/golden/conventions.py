"""Records conventions.json: what onnxruntime, onnx, PyTorch and NumPy make of some ranges, batches and percentiles.

    pip install numpy onnx onnxruntime torch && python conventions.py > conventions.json
"""

import json
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from onnx.reference import ReferenceEvaluator
from torch.ao.quantization import MinMaxObserver, MovingAverageMinMaxObserver

warnings.filterwarnings("ignore")
rng = np.random.default_rng(21)
f32 = np.float32


def bits(x):
    return int(np.asarray(x, f32).reshape(()).view(np.uint32))


def ranges():
    """Ranges of every kind: around 0, on one side of it, symmetric, of halves of steps, and of any magnitude."""
    yield from [(-1, 1), (0, 0), (0, 1), (-1, 0), (-3, 3), (-0.1, 0.1), (-1e-3, 1e-3), (-2.1104, 1.5283), (2, 5), (-5, -2)]
    for _ in range(110):
        magnitude = 10.0 ** rng.integers(-6, 7)
        kind = rng.integers(4)
        if kind == 0:
            end = rng.random() * magnitude
            yield -end, end
        elif kind == 1:
            yield sorted((rng.standard_normal(2) * magnitude).tolist())
        elif kind == 2:
            step = f32(rng.random() * magnitude)
            k = int(rng.integers(0, 255))
            yield -(k + 0.5) * step, (254.5 - k) * step
        else:
            yield sorted((rng.random(2) * magnitude * rng.choice([-1, 1])).tolist())


node = onnx.helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])
tensor = onnx.helper.make_tensor_value_info
graph = onnx.helper.make_graph(
    [node],
    "g",
    [tensor("x", 1, [2])],
    [tensor("y", 2, [2]), tensor("s", 1, []), tensor("z", 2, [])],
)
model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
reference = ReferenceEvaluator(model)

dynamic = []
for low, high in ranges():
    x = np.array([low, high], f32)
    _, scale, zero = session.run(None, {"x": x})
    _, other_scale, other_zero = reference.run(None, {"x": x})
    # (Of zeros the reference has the scale 1 / 255.)
    assert (x == 0).all() or (bits(scale), int(zero)) == (bits(other_scale), int(other_zero)), (low, high)
    dynamic.append([bits(x[0]), bits(x[1]), bits(scale), int(zero)])

affine, symmetric = [], []
for low, high in list(ranges())[1:70]:
    x = torch.tensor([low, high], dtype=torch.float32)
    for least, most, dtype in [(0, 100, torch.quint8), (-100, 27, torch.qint8), (-128, 127, torch.qint8)]:
        observer = MinMaxObserver(dtype=dtype, quant_min=least, quant_max=most, eps=0.0)
        observer(x)
        if x.abs().max() > 0:
            scale, zero = observer.calculate_qparams()
            affine.append([least, most, bits(x[0]), bits(x[1]), bits(scale), int(zero)])
    if x.abs().max() > 0:
        observer = MinMaxObserver(dtype=torch.quint8, qscheme=torch.per_tensor_symmetric, eps=0.0)
        observer(x)
        scale, zero = observer.calculate_qparams()
        symmetric.append([bits(x[0]), bits(x[1]), bits(scale), int(zero)])

moving = []
for constant in [0.1, 0.01, 0.5, 1.0]:
    observer = MovingAverageMinMaxObserver(averaging_constant=constant)
    batches = []
    for _ in range(12):
        x = np.sort(rng.standard_normal(2) * 10.0 ** rng.integers(-2, 3)).astype(f32)
        observer(torch.from_numpy(x))
        batches.append([bits(x[0]), bits(x[1]), bits(observer.min_val), bits(observer.max_val)])
    moving.append([constant, batches])

percentiles = []
for n in [1, 2, 3, 10, 101, 999, 1000]:
    x = ((np.arange(n, dtype=np.uint64) * 2654435761) % (1 << 32) >> 8).astype(f32) / f32(1e6) - f32(8)
    for p in [0, 0.1, 1, 25, 33.3, 50, 66.6, 95, 99, 99.9, 99.99, 100]:
        expected = f32(np.percentile(x.astype(np.float64), p))
        assert expected == f32(torch.quantile(torch.tensor(x, dtype=torch.float64), p / 100).item())
        percentiles.append([n, p, bits(expected)])

# Between two values of other signs, where the last bits of f64 are those of the result. (In torch, they are others.)
pairs = []
for low, high in [(-1, 1), (-0.3, 0.1), (-0.1, 0.3), (-7, 5), (-11, 3.7), (-5.3, 2.9)]:
    x = np.array([low, high], f32).astype(np.float64)
    for delta in [1e-7, 3e-7, 1e-6, -1e-7, -1e-6]:
        p = -x[0] / (x[1] - x[0]) * 100 + delta
        expected = f32(np.percentile(x, p))
        pairs.append([bits(f32(low)), bits(f32(high)), p, bits(expected)])

versions = {package.__name__: package.__version__ for package in [np, onnx, onnxruntime, torch]}
columns = {
    "dynamic_quantize_linear": dynamic,
    "torch_affine": affine,
    "torch_symmetric_quint8": symmetric,
    "torch_moving_average": moving,
    "percentiles": percentiles,
    "percentiles_of_pairs": pairs,
}
print(json.dumps({"versions": versions, **columns}, separators=(",", ":")).replace('],"', '],\n"').replace("]],", "]],\n"))
