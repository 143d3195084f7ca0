"""Elementwise operations of zeropoint beside those of PyTorch and onnxruntime: one thread each, in interleaved rounds.

    pip install torch onnxruntime onnx numpy
    cargo build --release -p zeropoint-tools --bin turns
    taskset -c 1 python3 benches/peers/elementwise.py target/release/turns > table.md

A round gives everyone a turn of about 3 ms. A cell is the median of the rounds, in 10^9 elements a second. The peers write to
memory of their own choice (PyTorch) or to an output that stays (onnxruntime, by I/O binding).
"""

import datetime
import os
import statistics
import subprocess
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper

ROW, ROUNDS, TURN = 1024, 9, 0.003
SIZES = [4 << 10, 64 << 10, 1 << 20, 16 << 20]
OPERATIONS = [
    "quantize", "quantize-rows", "quantize-columns", "quantize-block32", "quantize-block64", "quantize-block128",
    "dequantize", "dequantize-rows", "fake", "fake-rows", "fake-mask", "min-max", "abs-max",
    "dynamic", "dynamic-rows", "dynamic-block32",
]
SCALE, ZERO_POINT = 0.0129, 117


def seconds(call):
    """The seconds of a call, of a turn."""
    call()
    start = time.perf_counter()
    call()
    calls = max(1, min(100_000, int(TURN / max(time.perf_counter() - start, 1e-9))))
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def scales(groups):
    return (SCALE + numpy.arange(groups) % 100 * 1e-5).astype(numpy.float32)


def torch_calls(x):
    """PyTorch's, by operation."""
    x = torch.from_numpy(x)
    rows = x.reshape(-1, ROW)
    row_scales, column_scales = (torch.from_numpy(scales(n)) for n in rows.shape)
    row_zeros, column_zeros = (torch.full((n,), ZERO_POINT) for n in rows.shape)
    quantized = torch.quantize_per_tensor(x, SCALE, ZERO_POINT, torch.quint8)
    by_rows = torch.quantize_per_channel(rows, row_scales, row_zeros, 0, torch.quint8)
    int_zeros = row_zeros.int()
    scale, zero = torch.tensor([SCALE]), torch.tensor([ZERO_POINT], dtype=torch.int32)
    enabled = torch.tensor([1])
    return {
        "quantize": lambda: torch.quantize_per_tensor(x, SCALE, ZERO_POINT, torch.quint8),
        "quantize-rows": lambda: torch.quantize_per_channel(rows, row_scales, row_zeros, 0, torch.quint8),
        "quantize-columns": lambda: torch.quantize_per_channel(rows, column_scales, column_zeros, 1, torch.quint8),
        "dequantize": quantized.dequantize,
        "dequantize-rows": by_rows.dequantize,
        "fake": lambda: torch.fake_quantize_per_tensor_affine(x, SCALE, ZERO_POINT, 0, 255),
        "fake-rows": lambda: torch.fake_quantize_per_channel_affine(rows, row_scales, int_zeros, 0, 0, 255),
        "fake-mask": lambda: torch._fake_quantize_per_tensor_affine_cachemask_tensor_qparams(
            x, scale, zero, enabled, 0, 255),
        "min-max": lambda: torch.aminmax(x),
        "abs-max": lambda: torch.linalg.vector_norm(x, float("inf")),
        "dynamic": lambda: torch.quantize_per_tensor_dynamic(x, torch.quint8, False),
    }


def ort_call(x, operator, constants, out_types, **attributes):
    """A session of one operator."""
    kinds = {numpy.dtype("float32"): TensorProto.FLOAT, numpy.dtype("uint8"): TensorProto.UINT8}
    shapes = {TensorProto.FLOAT: numpy.float32, TensorProto.UINT8: numpy.uint8}
    names = [f"constant{i}" for i in range(len(constants))]
    outputs = [(f"out{i}", kind, shape) for i, (kind, shape) in enumerate(out_types)]
    node = helper.make_node(operator, ["x", *names], [name for name, _, _ in outputs], **attributes)
    graph = helper.make_graph(
        [node], "one", [helper.make_tensor_value_info("x", kinds[x.dtype], x.shape)],
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in outputs],
        [onnx.numpy_helper.from_array(numpy.asarray(value), name) for name, value in zip(names, constants)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x))
    for name, kind, shape in outputs:
        out = onnxruntime.OrtValue.ortvalue_from_numpy(numpy.zeros(shape, shapes[kind]))
        binding.bind_ortvalue_output(name, out)
    return lambda: session.run_with_iobinding(binding)


def ort_calls(x):
    """onnxruntime's, by operation."""
    rows = x.reshape(-1, ROW)
    codes = (numpy.arange(x.size) * 31 % 256).astype(numpy.uint8)
    zero = numpy.uint8(ZERO_POINT)
    zeros = [numpy.full(n, zero) for n in rows.shape]
    u8, f32 = TensorProto.UINT8, TensorProto.FLOAT
    one = (numpy.float32(SCALE), zero)
    calls = {
        "quantize": ort_call(x, "QuantizeLinear", one, [(u8, x.shape)]),
        "quantize-rows": ort_call(rows, "QuantizeLinear", (scales(rows.shape[0]), zeros[0]), [(u8, rows.shape)], axis=0),
        "quantize-columns": ort_call(rows, "QuantizeLinear", (scales(ROW), zeros[1]), [(u8, rows.shape)], axis=1),
        "dequantize": ort_call(codes, "DequantizeLinear", one, [(f32, x.shape)]),
        "dequantize-rows": ort_call(
            codes.reshape(rows.shape), "DequantizeLinear", (scales(rows.shape[0]), zeros[0]), [(f32, rows.shape)], axis=0),
        "dynamic": ort_call(x, "DynamicQuantizeLinear", (), [(u8, x.shape), (f32, ()), (u8, ())]),
    }
    for block in (32, 64, 128):
        blocks = (rows.shape[0], ROW // block)
        constants = scales(blocks[0] * blocks[1]).reshape(blocks), numpy.full(blocks, zero)
        calls[f"quantize-block{block}"] = ort_call(
            rows, "QuantizeLinear", constants, [(u8, rows.shape)], axis=1, block_size=block)
    return calls


def processor():
    with open("/proc/cpuinfo") as info:
        fields = dict(line.split(":", 1) for line in info.read().split("\n\n")[0].splitlines())
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    return f"{fields.get('model name', '?')} (family {fields.get('cpu family')}, model {fields.get('model')})"


def main():
    torch.set_num_threads(1)
    ours = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def turn(isa, operation, size):
        print(isa, operation, size, file=ours.stdin, flush=True)
        return float(ours.stdout.readline())

    isas = sys.argv[2:] or ["avx512", "avx2"]
    print("# Elementwise operations beside PyTorch and onnxruntime\n")
    print(f"{processor()}, one thread each, {datetime.date.today()}; torch {torch.__version__}, "
          f"onnxruntime {onnxruntime.__version__}.\n")
    print(f"10^9 elements a second, the median of {ROUNDS} interleaved rounds; rows of {ROW}. ratio: zeropoint on "
          f"{isas[0]} over the better peer. –: the library has no such operation.\n")
    print("| operation | elements |", " | ".join(f"zeropoint {isa}" for isa in isas), "| torch | onnxruntime | ratio |")
    print("|---|---:|" + "---:|" * (len(isas) + 3))
    smallest = []
    for size in SIZES:
        x = ((numpy.arange(size, dtype=numpy.uint32) * numpy.uint32(2_654_435_761) >> 8) / (1 << 22) - 2).astype(numpy.float32)
        peers = [torch_calls(x), ort_calls(x)]
        for operation in OPERATIONS:
            times = [[] for _ in range(len(isas) + len(peers))]
            for _ in range(ROUNDS):
                for i, isa in enumerate(isas):
                    times[i].append(turn(isa, operation, size))
                for i, peer in enumerate(peers):
                    if operation in peer:
                        times[len(isas) + i].append(seconds(peer[operation]))
            rates = [size / statistics.median(time) / 1e9 if time else None for time in times]
            best = max((rate for rate in rates[len(isas):] if rate), default=None)
            ratio = rates[0] / best if best else None
            smallest += [(ratio, operation, size)] if ratio else []
            cells = [f"{rate:.2f}" if rate else "–" for rate in rates] + [f"{ratio:.2f}" if ratio else "–"]
            print(f"| {operation} | {size} |", " | ".join(cells), "|", flush=True)
    print("\nSmallest ratio: {:.2f}, {} of {} elements.".format(*min(smallest)))


if __name__ == "__main__":
    main()
