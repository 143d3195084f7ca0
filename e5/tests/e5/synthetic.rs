//! Makes a model file, of a fixed seed.

use zeropoint::Isa;
use zeropoint::formats::{BlockFormat, encode_blocks};

pub const WIDTH: usize = 64;
pub const HIDDEN: usize = 96;
pub const LAYERS: usize = 2;
pub const POSITIONS: usize = 12;

/// Pieces and their scores. The first four are `<s>`, `<pad>`, `</s>` and `<unk>`.
pub const PIECES: [(&str, f32); 40] = [
    ("<s>", 0.0),
    ("<pad>", 0.0),
    ("</s>", 0.0),
    ("<unk>", 0.0),
    ("▁", -3.5),
    ("▁query", -4.25),
    ("▁passage", -4.5),
    (":", -3.0),
    ("a", -5.5),
    ("b", -5.75),
    ("c", -6.0),
    ("d", -6.25),
    ("e", -5.0),
    ("f", -7.0),
    ("i", -5.25),
    ("n", -6.5),
    ("r", -6.0),
    ("s", -5.5),
    ("t", -5.25),
    ("ab", -7.5),
    ("abc", -12.5),
    ("bc", -7.25),
    ("▁a", -4.0),
    ("▁ab", -8.5),
    ("▁b", -6.0),
    ("er", -6.5),
    ("in", -6.5),
    ("ing", -9.0),
    ("▁the", -4.0),
    ("th", -7.0),
    ("he", -7.5),
    ("st", -7.0),
    ("▁st", -7.5),
    ("ü", -9.0),
    ("für", -8.0),
    ("▁für", -6.0),
    ("日", -9.5),
    ("日本", -8.0),
    ("本", -9.25),
    ("fi", -9.0),
];

/// Characters and what replaces them.
const REPLACEMENTS: [(char, &str); 6] =
    [('\u{1}', ""), ('\t', " "), ('\u{a0}', " "), ('ﬁ', "fi"), ('Ａ', "a"), ('　', " ")];

/// A xorshift generator.
struct Random(u64);

impl Random {
    /// Between −1 and 1.
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn values(&mut self, count: usize, middle: f32, radius: f32) -> Vec<f32> {
        (0..count).map(|_| middle + radius * self.next()).collect()
    }
}

struct Tensor {
    name: String,
    kind: u8,
    values: usize,
    bytes: Vec<u8>,
}

fn floats(name: &str, values: &[f32]) -> Tensor {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor { name: name.to_owned(), kind: 0, values: values.len(), bytes }
}

fn blocks(name: &str, values: &[f32]) -> Tensor {
    let mut bytes = vec![0; BlockFormat::Q4_0.bytes(values.len()).unwrap()];
    encode_blocks(Isa::named("scalar").unwrap(), BlockFormat::Q4_0, values, &mut bytes).unwrap();
    Tensor { name: name.to_owned(), kind: 1, values: values.len(), bytes }
}

fn tensors(words: usize) -> Vec<Tensor> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let norm = |name: &str, random: &mut Random| {
        let (weights, bias) = (random.values(WIDTH, 1.0, 0.5), random.values(WIDTH, 0.0, 0.25));
        [floats(&format!("{name}.w"), &weights), floats(&format!("{name}.b"), &bias)]
    };
    let linear = |name: &str, outputs: usize, depth: usize, random: &mut Random| {
        let weights = random.values(outputs * depth, 0.0, 3.0 / (depth as f32).sqrt());
        [blocks(&format!("{name}.w"), &weights), floats(&format!("{name}.b"), &random.values(outputs, 0.0, 0.25))]
    };
    let mut all = vec![
        blocks("emb.word", &random.values(words * WIDTH, 0.0, 1.0)),
        floats("emb.pos", &random.values(POSITIONS * WIDTH, 0.0, 0.5)),
        floats("emb.type", &random.values(2 * WIDTH, 0.0, 0.25)),
    ];
    all.extend(norm("emb.ln", &mut random));
    for layer in 0..LAYERS {
        let name = |part: &str| format!("l{layer}.{part}");
        for part in ["q", "k", "v", "ao"] {
            all.extend(linear(&name(part), WIDTH, WIDTH, &mut random));
        }
        all.extend(norm(&name("aln"), &mut random));
        all.extend(linear(&name("fi"), HIDDEN, WIDTH, &mut random));
        all.extend(linear(&name("fo"), WIDTH, HIDDEN, &mut random));
        all.extend(norm(&name("oln"), &mut random));
    }
    all
}

/// The file, and the length of what is before its tensors.
pub fn model() -> (Vec<u8>, usize) {
    model_of(&PIECES)
}

/// The file with other pieces, of which the first four are special. There are two words more than pieces.
pub fn model_of(pieces: &[(&str, f32)]) -> (Vec<u8>, usize) {
    let words = pieces.len() + 2;
    let mut file = b"E5S1".to_vec();
    let word = |value: usize| (value as u32).to_le_bytes();
    for value in [1, WIDTH, LAYERS, 2, HIDDEN, words, POSITIONS, 2] {
        file.extend(word(value));
    }
    file.extend(1e-6_f32.to_le_bytes());
    file.extend(word(32));
    for value in [pieces.len(), 0, 2, 1, 3] {
        file.extend(word(value));
    }
    let bytes: String = pieces.iter().map(|(piece, _)| *piece).collect();
    file.extend((bytes.len() as u64).to_le_bytes());
    let mut offset = 0;
    file.extend(word(0));
    for (piece, _) in pieces {
        offset += piece.len();
        file.extend(word(offset));
    }
    file.extend(pieces.iter().flat_map(|(_, score)| score.to_le_bytes()));
    file.extend(bytes.bytes());
    let mut replacements = Vec::new();
    for (character, by) in REPLACEMENTS {
        replacements.extend(word(character as usize));
        replacements.push(by.chars().count() as u8);
        replacements.extend(by.chars().flat_map(|by| word(by as usize)));
    }
    file.extend(word(REPLACEMENTS.len()));
    file.extend(word(replacements.len()));
    file.extend(replacements);

    let tensors = tensors(words);
    let entry = |tensor: &Tensor| 2 + tensor.name.len() + 1 + 4 + 8 + 8;
    let begin = file.len() + 4 + tensors.iter().map(entry).sum::<usize>();
    let mut offset = begin;
    file.extend(word(tensors.len()));
    for Tensor { name, kind, values, bytes } in &tensors {
        file.extend((name.len() as u16).to_le_bytes());
        file.extend(name.bytes());
        file.push(*kind);
        file.extend(word(*values));
        file.extend((offset as u64).to_le_bytes());
        file.extend((bytes.len() as u64).to_le_bytes());
        offset += bytes.len();
    }
    assert_eq!(file.len(), begin);
    file.extend(tensors.iter().flat_map(|tensor| &tensor.bytes));
    (file, begin)
}

/// The place of a tensor in the file.
pub fn place_of(file: &[u8], name: &str) -> usize {
    let entry = [&(name.len() as u16).to_le_bytes(), name.as_bytes()].concat();
    let at = file.windows(entry.len()).position(|bytes| bytes == entry).expect("it is in the list") + entry.len() + 5;
    u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize
}
