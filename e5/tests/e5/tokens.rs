//! Tokens beside those of another library, and beside every way to cut a text.

use e5::{ModelFile, Tokenizer};
use serde_json::Value;

use crate::synthetic::{PIECES, model, model_of};

const UNKNOWN: u32 = 3;

fn tokenizer() -> Tokenizer {
    Tokenizer::new(&ModelFile::parse(&model().0).unwrap()).unwrap()
}

fn pieces(tokens: &[u32]) -> Vec<&'static str> {
    tokens.iter().map(|&token| PIECES[token as usize].0).collect()
}

/// The score of a piece; that of unknown characters is ten less than the lowest.
fn score(piece: &str) -> Option<f32> {
    let known = PIECES.iter().position(|(known, _)| *known == piece).filter(|&index| index as u32 != UNKNOWN);
    let lowest = PIECES.iter().map(|(_, score)| *score).fold(0.0, f32::min);
    known.map(|index| PIECES[index].1).or((piece.chars().count() == 1).then_some(lowest - 10.0))
}

/// The best score of all ways to cut.
fn best(text: &[char]) -> f32 {
    if text.is_empty() {
        return 0.0;
    }
    let cut = |end: usize| score(&text[..end].iter().collect::<String>()).map(|score| score + best(&text[end..]));
    (1..=text.len()).filter_map(cut).fold(f32::NEG_INFINITY, f32::max)
}

/// The tokens that `golden/unigram.py` recorded.
#[test]
fn tokens_are_those_of_tokenizers() {
    let golden: Value = serde_json::from_str(include_str!("golden/unigram.json")).expect("JSON");
    let pieces: Vec<(String, f32)> = serde_json::from_value(golden["pieces"].clone()).expect("pieces and scores");
    let pieces: Vec<(&str, f32)> = pieces.iter().map(|(piece, score)| (&**piece, *score)).collect();
    let texts: Vec<(String, Vec<u32>)> = serde_json::from_value(golden["texts"].clone()).expect("texts and tokens");
    let tokenizer = Tokenizer::new(&ModelFile::parse(&model_of(&pieces).0).unwrap()).unwrap();
    for (text, tokens) in &texts {
        assert_eq!(tokenizer.tokens(text), *tokens, "{text}");
    }
    assert!(texts.len() >= 80);
}

#[test]
fn tokens_are_the_best_way_to_cut() {
    let tokenizer = tokenizer();
    for text in ["abc", "the abc", "abcabc ab", "testing", "für日本本", "string the", "xa\u{301}b", "<s>", ""] {
        let tokens = tokenizer.tokens(text);
        let characters: Vec<char> = format!("▁{}", text.replace(' ', "▁")).chars().collect();
        let mut given = 0.0;
        let mut rest = &characters[..];
        for &token in &tokens {
            let length = if token == UNKNOWN { 1 } else { PIECES[token as usize].0.chars().count() };
            let (piece, later) = rest.split_at(length);
            given += score(&piece.iter().collect::<String>()).expect("a piece of the text");
            assert!(token == UNKNOWN || piece.iter().collect::<String>() == PIECES[token as usize].0, "{text}");
            rest = later;
        }
        assert!(rest.is_empty(), "{text}: {tokens:?}");
        // (All scores are quarters: sums are exact.)
        assert_eq!(given, best(&characters), "{text}: {:?}", pieces(&tokens));
    }
}

#[test]
fn texts_are_normalized() {
    let tokenizer = tokenizer();
    for (text, same) in [("a\tb", "a b"), (" a  \u{a0}　 b ", "a b "), ("ﬁＡ\u{1}", "fia"), ("\u{1} a", "a")] {
        assert_eq!(tokenizer.tokens(text), tokenizer.tokens(same), "{text:?}");
    }
    assert_eq!(pieces(&tokenizer.tokens("the fi")), ["▁the", "▁", "fi"]);
    assert_eq!(pieces(&tokenizer.tokens("a ")), ["▁a", "▁"]);
    assert_eq!(pieces(&tokenizer.tokens("zz")), ["▁", "<unk>", "<unk>"]);
    // It is no space of the text, but what stands for one.
    assert_eq!(pieces(&tokenizer.tokens("▁a")), ["▁", "▁a"]);
}
