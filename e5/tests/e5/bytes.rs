//! Embeddings have equal bytes on every ISA, for every number of threads, alone and in a batch; and are near plain loops.

use e5::reference::Reference;
use e5::{Embeddings, Encoder, ModelFile, Scales, Text, Tokenizer, embed, sequences};
use sha2::{Digest, Sha256};
use zeropoint::Isa;

use crate::synthetic::model;

/// SHA-256 of all embeddings of [`texts`], its first eight bytes, on any CPU.
const DIGEST: &str = "5d688cfd44e8f722";

/// Short texts, unknown characters, texts of several sequences; more tokens than go through the layers together.
fn texts() -> Vec<Text<'static>> {
    let some = [
        Text::Query("the abc"),
        Text::Passage("Für 日本"),
        Text::Passage(""),
        Text::Query("testing the ﬁrst bad cabinet in the tent, für the best of 日本 and all the rest"),
        Text::Passage("a b c d e f i n r s t a b c d e f i n r s t"),
    ];
    some.repeat(4)
}

fn embedded(tokenizer: &Tokenizer, encoder: &Encoder, threads: usize, texts: &[Text<'_>]) -> Embeddings {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| embed(tokenizer, encoder, texts)).unwrap()
}

#[test]
fn embeddings_are_the_same_on_every_isa_and_thread_count() {
    let (bytes, _) = model();
    let file = ModelFile::parse(&bytes).unwrap();
    let tokenizer = Tokenizer::new(&file).unwrap();
    for scales in [Scales::Groups, Scales::Rows] {
        let encoder = |isa| Encoder::new(isa, &file, scales).unwrap();
        let expected = embedded(&tokenizer, &encoder(Isa::named("scalar").unwrap()), 1, &texts());
        for isa in Isa::supported() {
            let encoder = encoder(isa);
            for threads in [1, 2, 3] {
                let found = embedded(&tokenizer, &encoder, threads, &texts());
                assert_eq!(found, expected, "{isa}, {threads}, {scales:?}");
            }
        }
        if scales == Scales::Groups {
            let mut hash = Sha256::new();
            expected.values.iter().for_each(|value| hash.update(value.to_bits().to_le_bytes()));
            let digest: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digest, DIGEST);
        }
    }
}

#[test]
fn a_text_does_not_depend_on_its_batch() {
    let (bytes, _) = model();
    let file = ModelFile::parse(&bytes).unwrap();
    let tokenizer = Tokenizer::new(&file).unwrap();
    let (encoder, texts) = (Encoder::new(Isa::best().unwrap(), &file, Scales::Groups).unwrap(), texts());
    let batch = embedded(&tokenizer, &encoder, 2, &texts);
    assert!(batch.tokens.iter().sum::<usize>() > 256 && batch.tokens.iter().max() > Some(&12), "{:?}", batch.tokens);
    for (i, text) in texts.iter().enumerate().take(5) {
        let alone = embedded(&tokenizer, &encoder, 1 + i % 2, std::slice::from_ref(text));
        assert_eq!((alone.of(0), alone.tokens[0]), (batch.of(i), batch.tokens[i]), "{text:?}");
    }
}

#[test]
fn embeddings_are_near_those_of_plain_loops() {
    let (bytes, _) = model();
    let file = ModelFile::parse(&bytes).unwrap();
    let (reference, tokenizer) = (Reference::new(&file).unwrap(), Tokenizer::new(&file).unwrap());
    let width = file.sizes().width;
    for (scales, least) in [(Scales::Groups, 0.9995), (Scales::Rows, 0.999)] {
        let texts = &texts()[..5];
        let encoder = Encoder::new(Isa::best().unwrap(), &file, scales).unwrap();
        let embeddings = embedded(&tokenizer, &encoder, 1, texts);
        let (sequences, of_texts) = sequences(&tokenizer, file.sizes().positions, texts);
        assert!(of_texts.iter().any(|range| range.len() > 1));
        for (i, range) in of_texts.into_iter().enumerate() {
            let mut exact = vec![0.0; width];
            for sequence in &sequences[range] {
                let mean = reference.encode(sequence);
                exact.iter_mut().zip(mean).for_each(|(sum, x)| *sum += (sequence.len() - 2) as f64 * x);
            }
            let values = exact.into_iter().map(|x| x as f32).collect();
            let cosine = embeddings.cosine(i, &Embeddings { width, values, tokens: Vec::new() }, 0);
            assert!(cosine >= least, "{scales:?}, {:?}: {cosine}", texts[i]);
            let length: f32 = embeddings.of(i).iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-5, "{length}");
        }
    }
}
