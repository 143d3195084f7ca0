"""Records this folder: the networks of the PyPI package pymicro-wakeword, and what TensorFlow Lite makes of features.

    pip install pymicro-wakeword==2.5.0 pymicro-features espeakng-loader ai-edge-litert flatbuffers safetensors numpy
    python record.py FOLDER        # for which of TensorFlow Lite's kernels: README.md

The package brings TensorFlow Lite's library, which runs the networks with its built-in kernels; LiteRT, a later version of it, runs them
with three sets of kernels, and its built-in ones are held against the package's. An interpreter shows its outputs alone, so all
tensors are made outputs.
"""

import argparse
import ctypes as C
import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import espeakng_loader
import flatbuffers
import numpy as np
import pymicro_wakeword
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from pymicro_wakeword import MicroWakeWordFeatures
from safetensors.numpy import save_file

PACKAGE = Path(pymicro_wakeword.__file__).parent
NETWORKS = ["alexa", "hey_jarvis", "hey_mycroft", "okay_nabu"]
KERNELS = {
    "built-in": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "xnnpack": OpResolverType.BUILTIN,
    "reference": OpResolverType.BUILTIN_REF,
}
SAID = "Alexa! Hey Jarvis! Hey Mycroft! Okay Nabu!"
VOICE, WORDS_PER_MINUTE = "en-gb-scotland", 130  # every network gives its word 7/8 or more
SEED = 25
# After so many steps digests are taken: the first tells that an operator is wrong, the last that a rounding is.
RANDOM_STEPS = [10, 500, 20_000]
CODES = {schema.TensorType.INT8: np.int8, schema.TensorType.UINT8: np.uint8}
KIND = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
RELU = schema.ActivationFunctionType.RELU


class Library:
    """TensorFlow Lite's C library, as pymicro-wakeword calls it."""

    api = C.CDLL(str(next((PACKAGE / "lib").glob("*tensorflowlite_c.*"))))
    pointer = C.c_void_p
    for name, arguments, result in [
        ("ModelCreate", [pointer, C.c_size_t], pointer),
        ("InterpreterCreate", [pointer, pointer], pointer),
        ("InterpreterAllocateTensors", [pointer], C.c_int),
        ("InterpreterInvoke", [pointer], C.c_int),
        ("InterpreterGetInputTensor", [pointer, C.c_int], pointer),
        ("InterpreterGetOutputTensor", [pointer, C.c_int], pointer),
        ("InterpreterGetOutputTensorCount", [pointer], C.c_int),
        ("TensorByteSize", [pointer], C.c_size_t),
        ("TensorCopyFromBuffer", [pointer, pointer, C.c_size_t], C.c_int),
        ("TensorData", [pointer], pointer),
        ("Version", [], C.c_char_p),
    ]:
        function = getattr(api, "TfLite" + name)
        function.argtypes, function.restype = arguments, result

    def __init__(self, content):
        self.content = C.create_string_buffer(content, len(content))
        model = self.api.TfLiteModelCreate(self.content, len(content))
        self.interpreter = self.api.TfLiteInterpreterCreate(model, None)
        assert self.api.TfLiteInterpreterAllocateTensors(self.interpreter) == 0

    def step(self, x):
        x = np.ascontiguousarray(x)
        tensor = self.api.TfLiteInterpreterGetInputTensor(self.interpreter, 0)
        assert self.api.TfLiteTensorCopyFromBuffer(tensor, x.ctypes.data, x.nbytes) == 0
        assert self.api.TfLiteInterpreterInvoke(self.interpreter) == 0
        count = self.api.TfLiteInterpreterGetOutputTensorCount(self.interpreter)
        outputs = [self.api.TfLiteInterpreterGetOutputTensor(self.interpreter, i) for i in range(count)]
        return [C.string_at(self.api.TfLiteTensorData(y), self.api.TfLiteTensorByteSize(y)) for y in outputs]


class LiteRt:
    """LiteRT with a set of kernels."""

    def __init__(self, content, resolver):
        self.interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver, num_threads=1)
        self.interpreter.allocate_tensors()
        self.x = self.interpreter.get_input_details()[0]["index"]
        self.outputs = [output["index"] for output in self.interpreter.get_output_details()]

    def step(self, x):
        self.interpreter.set_tensor(self.x, x)
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(y).tobytes() for y in self.outputs]


def parse(content):
    return schema.ModelT.InitFromPackedBuf(content, 0)


def pack(model):
    builder = flatbuffers.Builder(1 << 17)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def with_all_outputs(content):
    """The model whose outputs are all tensors of codes that operators make, in the order of the operators; and these."""
    model = parse(content)
    graph = model.subgraphs[0]
    made = [int(t) for operator in graph.operators for t in (operator.outputs if operator.outputs is not None else [])]
    graph.outputs = [t for t in made if graph.tensors[t].type in CODES]
    return pack(model), graph.outputs


def logistic(content):
    """What the model's logistic operator makes of all codes, with all kernels."""
    network = Network(content)
    graph = network.graph
    graph.operators = [operator for operator in graph.operators if network.kind(operator) == "LOGISTIC"]
    (x,), (y,) = graph.operators[0].inputs, graph.operators[0].outputs
    graph.inputs, graph.outputs = [int(x)], [int(y)]
    for t in [x, y]:
        graph.tensors[t].shape, graph.tensors[t].shapeSignature = [1, 256], None
    network.model.subgraphs, network.model.signatureDefs = [graph], None
    codes = np.arange(-128, 128, dtype=np.int8)[None]
    made = [LiteRt(pack(network.model), resolver).step(codes) for resolver in KERNELS.values()]
    assert made[0] == made[1] == made[2]
    return np.frombuffer(made[0][0], np.int8).tolist()


class Network:
    """A .tflite file as this project's program reads it: operators and parameters in JSON, constants in safetensors."""

    def __init__(self, content):
        self.model = parse(content)
        self.graph = self.model.subgraphs[0]
        self.arrays, self.variables = {}, {}
        self.operators = [described for operator in self.graph.operators if (described := self.operator(operator))]

    def kind(self, operator):
        code = self.model.operatorCodes[operator.opcodeIndex]
        return KIND[max(code.builtinCode, code.deprecatedBuiltinCode)]

    def shape(self, t):
        shape = self.graph.tensors[t].shape
        return [] if shape is None else [int(n) for n in shape]

    def constant(self, t, kind):
        data = self.model.buffers[self.graph.tensors[t].buffer].data
        return np.frombuffer(bytes(data), kind).reshape(self.shape(t))

    def operator(self, operator):
        kind, options = self.kind(operator), operator.builtinOptions
        inputs = [int(t) for t in operator.inputs] if operator.inputs is not None else []
        outputs = [int(t) for t in operator.outputs] if operator.outputs is not None else []
        described = {"kind": kind.lower()}
        if kind == "CALL_ONCE":
            self.check_initial_values(self.model.subgraphs[options.initSubgraphIndex])
            return None
        if kind == "VAR_HANDLE":
            self.variables[outputs[0]] = len(self.variables)
            return None
        if kind == "READ_VARIABLE":
            return described | {"variable": self.variables[inputs[0]], "output": outputs[0]}
        if kind == "ASSIGN_VARIABLE":
            return described | {"variable": self.variables[inputs[0]], "input": inputs[1]}
        if kind == "SPLIT_V":
            return described | {"axis": int(self.constant(inputs[2], np.int32)) % 4, "input": inputs[0], "outputs": outputs}
        described["output"] = outputs[0]
        if kind == "CONCATENATION":
            assert options.fusedActivationFunction == 0
            return described | {"axis": options.axis % len(self.shape(outputs[0])), "inputs": inputs}
        described["input"] = inputs[0]
        if kind == "STRIDED_SLICE":
            return described | {"begin": self.begin(operator, inputs, outputs[0])}
        if kind in ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]:
            if kind != "FULLY_CONNECTED":
                one_pixel = self.shape(inputs[1])[1:3] == [1, 1]
                assert one_pixel or options.padding == schema.Padding.VALID
                assert options.dilationHFactor == options.dilationWFactor == 1
                described["stride"] = [options.strideH, options.strideW]
            assert options.fusedActivationFunction in [0, RELU]
            weights, bias = inputs[1:]
            quantization = self.graph.tensors[weights].quantization
            assert not np.any(quantization.zeroPoint)
            self.arrays[f"{weights}"] = self.constant(weights, np.int8)
            self.arrays[f"{weights}.scales"] = np.array(quantization.scale, np.float32)
            self.arrays[f"{bias}"] = self.constant(bias, np.int32)
            return described | {"weights": weights, "bias": bias, "relu": options.fusedActivationFunction == RELU}
        assert kind in ["RESHAPE", "LOGISTIC", "QUANTIZE"], kind
        return described

    def begin(self, operator, inputs, output):
        """Where a slice begins, whose strides are 1 and whose end is that of its shape."""
        options = operator.builtinOptions
        begin, _, strides = [self.constant(t, np.int32).tolist() for t in inputs[1:]]
        assert strides == [1] * len(strides) and not options.ellipsisMask and not options.newAxisMask and not options.shrinkAxisMask
        shape = self.shape(inputs[0])
        begin = [0 if options.beginMask >> i & 1 else b % n for i, (b, n) in enumerate(zip(begin, shape))]
        assert all(b + kept <= n for b, kept, n in zip(begin, self.shape(output), shape))
        return begin

    def check_initial_values(self, graph):
        """Variables begin as real zeros."""
        for operator in graph.operators:
            if self.kind(operator) == "ASSIGN_VARIABLE":
                tensor = graph.tensors[int(operator.inputs[1])]
                assert set(bytes(self.model.buffers[tensor.buffer].data)) == {int(tensor.quantization.zeroPoint[0]) % 256}

    def tensors(self):
        """Shape, scale and zero point of every tensor of codes."""
        used = {int(self.graph.inputs[0])} | {t for o in self.operators for t in o.get("outputs", [o.get("output")]) if t is not None}
        described = {}
        for t in sorted(used):
            tensor = self.graph.tensors[t]
            (scale,), (zero_point,) = tensor.quantization.scale, tensor.quantization.zeroPoint
            described[t] = {"shape": self.shape(t), "scale": float(scale), "zero_point": int(zero_point)}
        return described


def spoken():
    """The features of what espeak-ng says, as pymicro-wakeword computes them: [frames, 40]."""
    speak = C.CDLL(espeakng_loader.get_library_path())
    callback_type = C.CFUNCTYPE(C.c_int, C.POINTER(C.c_short), C.c_int, C.c_void_p)
    samples = []
    callback = callback_type(lambda wave, count, _: samples.append(wave[:count] if wave else []) or 0)
    rate = speak.espeak_Initialize(2, 0, espeakng_loader.get_data_path().encode(), 0)
    speak.espeak_SetSynthCallback(callback)
    assert speak.espeak_SetVoiceByName(VOICE.encode()) == speak.espeak_SetParameter(1, WORDS_PER_MINUTE, 0) == 0
    text = SAID.encode()
    assert speak.espeak_Synth(text, len(text) + 1, 0, 0, 0, 1, None, None) == 0
    speak.espeak_Synchronize()
    wave = np.concatenate(samples).astype(np.float64)
    # At 16 kHz, between a half second of nearly nothing.
    at = np.arange(int(len(wave) * 16_000 / rate)) * rate / 16_000
    wave = np.round(np.interp(at, np.arange(len(wave)), wave) * 0.5)
    quiet = np.arange(8_000) % 3 - 1
    wave = np.concatenate([quiet, wave, quiet]).astype(np.int16)
    return np.concatenate([f[0] for f in MicroWakeWordFeatures().process_streaming(wave.tobytes())])


def random_codes(count):
    """The upper byte of each of SplitMix64's words."""
    with np.errstate(over="ignore"):
        z = np.uint64(SEED) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((z ^ (z >> np.uint64(31))) >> np.uint64(56)).astype(np.uint8).view(np.int8)


def digests(interpreter, steps, checkpoints):
    """For every checkpoint the digests of all tensors, over all steps until then; and the last tensor of every step."""
    hashes, taken, last = None, [], []
    for i, x in enumerate(steps[: checkpoints[-1]]):
        tensors = interpreter.step(x)
        hashes = hashes or [hashlib.sha256() for _ in tensors]
        for digest, tensor in zip(hashes, tensors):
            digest.update(tensor)
        last.append(tensors[-1][0])
        if i + 1 in checkpoints:
            taken.append([digest.hexdigest()[:16] for digest in hashes])
    return taken, last


def record(name, sound, folder):
    content = (PACKAGE / "models" / f"{name}.tflite").read_bytes()
    network = Network(content)
    tensors = network.tensors()
    assert (tensors[0]["shape"], tensors[0]["zero_point"]) == ([1, 3, 40], -128)
    # One string: the order of several is not the same in every run.
    description = {
        "source": f"pymicro_wakeword/models/{name}.tflite of pymicro-wakeword {version('pymicro-wakeword')}, Apache-2.0",
        "sha256": hashlib.sha256(content).hexdigest(), "operators": network.operators, "tensors": tensors,
        "input": int(network.graph.inputs[0]), "output": int(network.graph.outputs[0]), "variables": len(network.variables),
    }
    save_file(network.arrays, folder / f"{name}.safetensors", {"network": json.dumps(description)})

    with_outputs, outputs = with_all_outputs(content)
    inputs = {
        "sound": (np.round(sound / np.float32(tensors[0]["scale"]) - 128).astype(np.int8).reshape(-1, 1, 3, 40), [sound.shape[0] // 3]),
        "random": (random_codes(RANDOM_STEPS[-1] * 120).reshape(-1, 1, 3, 40), RANDOM_STEPS),
    }
    recorded = []
    for source, (steps, checkpoints) in inputs.items():
        for kernels, resolver in KERNELS.items():
            taken, last = digests(LiteRt(with_outputs, resolver), steps, checkpoints)
            if kernels == "built-in":
                assert (taken, last) == digests(Library(with_outputs), steps, checkpoints), "the package's library"
                assert last == digests(Library(content), steps, checkpoints)[1], "as it is shipped"
            run = {"kernels": kernels, "features": source, "steps": checkpoints, "digests": taken}
            recorded.append(run | ({"outputs": last} if source == "sound" else {}))
    head = json.dumps({
        "about": "What TensorFlow Lite made of features: of every tensor SHA-256, its first 8 bytes, of all steps' codes. record.py made it.",
        "litert": version("ai-edge-litert"), "library": Library.api.TfLiteVersion().decode(), "tensors": outputs,
        "logistic": logistic(content),
    })
    runs = ",\n".join(json.dumps(run) for run in recorded)
    (folder / f"{name}.json").write_text(f'{head[:-1]}, "runs": [\n{runs}\n]}}\n')
    (folder / f"{name}.safetensors").chmod(0o644)
    return inputs["sound"][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    features = spoken()
    features = features[: len(features) // 3 * 3].astype(np.float32)
    sounds = [record(name, features, folder) for name in NETWORKS]
    assert all(np.array_equal(sounds[0], sound) for sound in sounds), "one quantization of features"
    save_file({"sound": sounds[0].reshape(-1, 3, 40)}, folder / "features.safetensors", {"said": f"espeak-ng, {VOICE}: {SAID}"})
    (folder / "features.safetensors").chmod(0o644)


main()
