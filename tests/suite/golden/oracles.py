"""Records oracles.json: what other programs make of quantized operators, and where our rules differ from theirs.

    apt-get install qemu-user-static
    pip install numpy onnx onnxruntime torch ai-edge-litert flatbuffers && python oracles.py > oracles.json

A case has operands, and the result `y` of the other program. Where the rules of this library give another result, `differs` has
the places, each with `theirs − ours` (of floats in units of the last place), and `why`. "Ours" is computed here from the formulas
of the documentation, in NumPy. Floats are their bits and codes their bytes, in hexadecimal; images and their results are
channels-last. `left_out` has the cases of onnx's conformance suite that this library has no operation for, with the reason.

Recorded on an x86-64 with AVX-512 and VNNI. Other CPUs have other kernels in these programs, and other bits of MatMulNBits.
"""

import json
import warnings
from importlib.metadata import version

warnings.filterwarnings("ignore")

# Each adds its cases when it is imported, in this order.
import oracle_conformance
import oracle_onnxruntime
import oracle_torch
import oracle_litert
from oracle_cases import cases

versions = {name: version("ai-edge-litert" if name == "litert" else name) for name in ["onnx", "onnxruntime", "torch", "litert"]}
defaults = {
    "block": [0],
    "axis": [0],
    "half": [False],
    "reciprocal": [False],
    "mask_differs": [[]],
    "bias": [None],
    "groups": [1],
    "padding": [[0] * 4],
    "stride": [[1, 1]],
    "dilation": [[1, 1]],
    "zero_points": [[0]],
    "saturates": [True],
}
tree = {}
for case in cases:
    kept = {k: v for k, v in case.items() if v not in defaults.get(k, []) and not (k == "shape" and len(v) == 1)}
    tree.setdefault(kept.pop("program"), {}).setdefault(kept.pop("operator"), []).append(kept)
compact = lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False)
programs = [
    f"{compact(program)}:{{"
    + ",".join(f"{compact(name)}:[\n" + ",\n".join(map(compact, rows)) + "]" for name, rows in operators.items())
    + "}"
    for program, operators in tree.items()
]
print(
    f'{{"versions":{compact(versions)},\n"left_out":{compact(oracle_conformance.left_out)},\n"cases":{{'
    + ",\n".join(programs)
    + "}}"
)
