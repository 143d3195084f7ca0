"""Records unigram.json: what the Unigram model of Hugging Face's tokenizers cuts texts into.

    pip install tokenizers && python unigram.py > unigram.json

It makes one token of neighbouring unknown characters, so that no text has two. Scores are multiples of 2⁻¹⁰, so that sums
are exact.
"""

import json
import random

import tokenizers
from tokenizers import Tokenizer, models

random.seed(5)
ALPHABET = "▁abcdeéßжи日本𝄞"
UNKNOWN = "xyzЖ語"
pieces = {piece: 0.0 for piece in ["<s>", "<pad>", "</s>", "<unk>"]}
for letter in ALPHABET:
    pieces[letter] = -random.randrange(6 << 10, 12 << 10) / 1024
while len(pieces) < 120:
    length = random.choice([2, 2, 2, 3, 3, 4, 6])
    piece = "".join(random.choice(ALPHABET[1:]) for _ in range(length))
    piece = random.choice(["", "▁"]) + piece
    pieces[piece] = -random.randrange(5 << 10, (7 + 4 * length) << 10) / 1024
unigram = Tokenizer(models.Unigram(list(pieces.items()), unk_id=3))

texts = []
for _ in range(80):
    text = ""
    for _ in range(random.randrange(1, 8)):
        text += random.choice([random.choice(list(pieces)[4:]), random.choice(ALPHABET)])
        text += random.choice(["", "", random.choice(ALPHABET) + random.choice(UNKNOWN) + random.choice(ALPHABET)])
    # A text begins with a space, and has no two of them.
    while "▁▁" in text:
        text = text.replace("▁▁", "▁")
    text = text.replace("▁", " ").strip()
    texts.append([text, unigram.encode("▁" + text.replace(" ", "▁")).ids])
print(json.dumps({"tokenizers": tokenizers.__version__, "pieces": list(pieces.items()), "texts": texts}, ensure_ascii=False))
