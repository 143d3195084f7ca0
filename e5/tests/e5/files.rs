//! Files that are no models.

use e5::{Encoder, Error, ModelFile, Scales, Text, Tokenizer, embed};
use zeropoint::Isa;

use crate::malformed;
use crate::synthetic::{model, place_of};

/// Loads a model, and embeds a text with every kind of token.
fn load(bytes: &[u8]) -> Result<(), Error> {
    let file = ModelFile::parse(bytes)?;
    let (tokenizer, encoder) = (Tokenizer::new(&file)?, Encoder::new(Isa::best()?, &file, Scales::Groups)?);
    embed(&tokenizer, &encoder, &[Text::Query("the ﬁrst für 日本, x y z")]).map(drop)
}

fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    changed(&model().0, at, bytes)
}

fn changed(good: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    [&good[..at], bytes, &good[at + bytes.len()..]].concat()
}

/// What is wrong is an error: nothing panics, whatever a byte before the tensors is, and wherever the file ends.
#[test]
fn any_byte_may_be_wrong() {
    let (good, tensors) = model();
    load(&good).unwrap();
    let other = |at: usize| [0, 0xff, good[at].wrapping_add(1)].map(|byte| (at, Some(byte)));
    let faults = (0..tensors).flat_map(|at| other(at).into_iter().chain([(at, None)]));
    let files = malformed::sample(faults.collect()).into_iter().map(|(at, byte)| match byte {
        Some(byte) => changed(&good, at, &[byte]),
        None => good[..at].to_vec(),
    });
    let files = files.chain(malformed::sample(malformed::of_bytes(&good)));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let refused: Vec<bool> = pool.install(|| files.map(|file| load(&file).is_err()).collect());
    let count = refused.iter().filter(|&&refused| refused).count();
    // Some bytes are padding, or numbers of which any will do.
    assert!((1..refused.len()).contains(&count), "{count} of {}", refused.len());
}

#[test]
fn errors_say_what_is_wrong() {
    let (good, _) = model();
    let refuses = |bytes: &[u8], why: &str| assert_eq!(load(bytes).expect_err(why).to_string(), why);
    refuses(b"", "no model: it does not begin with E5S1");
    refuses(&[&b"GGUF"[..], &good[4..]].concat(), "no model: it does not begin with E5S1");
    refuses(&good[..20], "the file ends inside the sizes");
    refuses(&good[..100], "the file ends inside the vocabulary");
    refuses(&with(4, &[2]), "the version: 2 is not 1");
    refuses(&with(8, &33_i32.to_le_bytes()), "the width: 33 is not whole blocks of 32");
    refuses(&with(8, &(-64_i32).to_le_bytes()), "the sizes: -64 is negative");
    refuses(&with(16, &[3]), "the heads: 3 do not divide the width");
    refuses(&with(16, &[0]), "the heads: 0 do not divide the width");
    refuses(&with(40, &[16]), "the values of a block: 16 are not 32");
    // Sizes whose products leave 64 bits on paper, and memory in practice.
    let huge = (i32::MAX - 31).to_le_bytes();
    refuses(&with(8, &huge), "tensor `emb.pos` has another size than the model");
    refuses(&with(24, &huge), "tensor `emb.word` has another size than the model");
    refuses(&with(28, &huge), "tensor `emb.pos` has another size than the model");
    refuses(&with(12, &huge), "tensor `l2.q.w` is missing");
    refuses(&with(44, &huge), "the pieces: 2147483616 are more than words that have an embedding");
    refuses(&with(48, &[42]), "the index of a special token: 42 has no embedding");
    refuses(&with(64, &[0xff; 8]), "the file ends inside the vocabulary");
    refuses(&with(76, &[0xff; 4]), "a piece: 0 is not within the pieces");

    let scales = place_of(&good, "l1.fi.w");
    assert!(matches!(load(&with(scales, &[0, 0x7c])), Err(Error::Zeropoint(_))), "an infinite scale of weights");
    let value = place_of(&good, "l0.aln.b");
    refuses(&with(value, &f32::NAN.to_le_bytes()), "tensor `l0.aln.b` contains NaN or infinity");
    let large = [f32::MAX.to_le_bytes(); 2].concat();
    let position = place_of(&good, "emb.pos");
    assert!(matches!(load(&with(position, &large)), Err(Error::Zeropoint(_))), "a sum of activations is infinite");
    refuses(&with(place_of(&good, "l1.oln.b"), &large), "input 0 has no embedding: it leaves the range of f32");
    let kind = good.windows(8).position(|name| name == b"l0.aln.b").unwrap() + 8;
    refuses(&with(kind, &[1]), "tensor `l0.aln.b` is not of f32");
    refuses(&with(kind + 1, &[65]), "tensor `l0.aln.b` has another size than the model");
    refuses(&with(kind + 5, &u64::MAX.to_le_bytes()), "tensor `l0.aln.b` is not within the file");
    refuses(&with(kind + 5, &good.len().to_le_bytes()), "tensor `l0.aln.b` is not within the file");
    refuses(&with(kind + 13, &[0xff; 8]), "tensor `l0.aln.b` has another size than the model");
    refuses(&with(kind - 8, b"l0.aln.c"), "tensor `l0.aln.b` is missing");
}

#[test]
fn sequences_are_checked() {
    let (bytes, _) = model();
    let file = ModelFile::parse(&bytes).unwrap();
    let encoder = Encoder::new(Isa::best().unwrap(), &file, Scales::Groups).unwrap();
    let refuses = |sequence: Vec<u32>, why: &str| {
        assert_eq!(encoder.encode(&[vec![0, 2], sequence]).expect_err(why).to_string(), why);
    };
    refuses(vec![], "input 1 has no tokens");
    refuses(vec![0; 13], "input 1 has more tokens than the model has positions");
    refuses(vec![42], "input 1 has a token without an embedding");
    assert!(encoder.encode(&[]).unwrap().is_empty());
}
