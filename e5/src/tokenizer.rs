//! Texts to tokens, as SentencePiece's Unigram model does it: of all ways to cut a text into pieces of the vocabulary,
//! the one whose scores (logarithms of probabilities) have the largest sum. (T. Kudo, Subword Regularization, 2018.)
//!
//! Before, characters are replaced by a table of the model (compatibility forms, controls, kinds of spaces), runs of
//! spaces become one, the text begins with a space, and U+2581 stands for spaces.

use std::collections::HashMap;

use crate::error::Error;
use crate::file::{ModelFile, Vocabulary};
use crate::reader::Reader;

/// What stands for a space in pieces.
const SPACE: char = '\u{2581}';

/// How much less likely than the least likely piece an unknown character is.
const UNKNOWN_PENALTY: f32 = 10.0;

/// The tokenizer of a model.
pub struct Tokenizer {
    /// `<s>`, `</s>`.
    ends: [u32; 2],
    unknown: u32,
    unknown_score: f32,
    replacements: HashMap<char, Box<str>>,
    /// The pieces as a trie: the node that a character leads to from another.
    children: HashMap<(u32, char), u32>,
    /// The pieces that end at every node.
    pieces: Vec<Option<Piece>>,
}

#[derive(Clone, Copy)]
struct Piece {
    index: u32,
    score: f32,
}

/// The best way to cut the characters before a place.
#[derive(Clone, Copy)]
struct Cut {
    score: f32,
    /// The last piece, and where it begins.
    index: u32,
    start: usize,
}

impl Tokenizer {
    /// The tokenizer of a model file.
    ///
    /// # Errors
    /// [`Error::Value`] for pieces and replacements that are out of order, out of bounds or no Unicode, and scores that
    /// are not finite; [`Error::Truncated`].
    pub fn new(file: &ModelFile<'_>) -> Result<Self, Error> {
        let Vocabulary { begin, end, unknown, .. } = file.vocabulary;
        let mut tokenizer = Tokenizer {
            ends: [begin as u32, end as u32],
            unknown: unknown as u32,
            unknown_score: 0.0,
            replacements: replacements(&file.vocabulary)?,
            children: HashMap::with_capacity(2 * file.vocabulary.scores.len()),
            pieces: vec![None],
        };
        tokenizer.add_pieces(&file.vocabulary)?;
        Ok(tokenizer)
    }

    fn add_pieces(&mut self, vocabulary: &Vocabulary<'_>) -> Result<(), Error> {
        let wrong = |index: usize, why| Error::Value { what: "a piece", found: index as i64, why };
        let mut lowest = f32::INFINITY;
        for (index, &score) in vocabulary.scores.iter().enumerate() {
            let [start, end] = [index, index + 1].map(|i| u32::from_le_bytes(vocabulary.offsets[i]) as usize);
            let piece = vocabulary.bytes.get(start..end).ok_or(wrong(index, "is not within the pieces"))?;
            let piece = std::str::from_utf8(piece).map_err(|_| wrong(index, "is no UTF-8"))?;
            let score = f32::from_le_bytes(score);
            if !score.is_finite() {
                return Err(wrong(index, "has a score that is not finite"));
            }
            lowest = lowest.min(score);
            if piece.is_empty() || index as u32 == self.unknown {
                continue;
            }
            let mut node = 0;
            for character in piece.chars() {
                let next = self.pieces.len() as u32;
                node = *self.children.entry((node, character)).or_insert(next);
                if node == next {
                    self.pieces.push(None);
                }
            }
            self.pieces[node as usize].get_or_insert(Piece { index: index as u32, score });
        }
        self.unknown_score = if lowest.is_finite() { lowest - UNKNOWN_PENALTY } else { 0.0 };
        Ok(())
    }

    /// The tokens of a text, without the two that sequences begin and end with.
    #[must_use]
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        let characters = self.normalized(text);
        let none = Cut { score: f32::NEG_INFINITY, index: self.unknown, start: 0 };
        let mut cuts = vec![none; characters.len() + 1];
        cuts[0].score = 0.0;
        for start in 0..characters.len() {
            let before = cuts[start].score;
            let mut offer = |end: usize, index, score: f32| {
                if before + score > cuts[end].score {
                    cuts[end] = Cut { score: before + score, index, start };
                }
            };
            let mut node = 0;
            for (i, &character) in characters[start..].iter().enumerate() {
                match self.children.get(&(node, character)) {
                    Some(&next) => node = next,
                    None => break,
                }
                if let Some(Piece { index, score }) = self.pieces[node as usize] {
                    offer(start + i + 1, index, score);
                }
            }
            offer(start + 1, self.unknown, self.unknown_score);
        }
        let mut tokens = Vec::new();
        let mut end = characters.len();
        while end > 0 {
            tokens.push(cuts[end].index);
            end = cuts[end].start;
        }
        tokens.reverse();
        tokens
    }

    /// A sequence of tokens as the encoder takes it.
    pub(crate) fn sequence(&self, tokens: &[u32]) -> Vec<u32> {
        let [begin, end] = self.ends;
        [&[begin], tokens, &[end]].concat()
    }

    fn normalized(&self, text: &str) -> Vec<char> {
        let mut characters = vec![' '];
        let mut push = |character| {
            if character != ' ' || characters.last() != Some(&' ') {
                characters.push(character);
            }
        };
        for character in text.chars() {
            match self.replacements.get(&character) {
                Some(replacement) => replacement.chars().for_each(&mut push),
                None => push(character),
            }
        }
        for character in &mut characters {
            *character = if *character == ' ' { SPACE } else { *character };
        }
        characters
    }
}

/// The characters that others replace.
fn replacements(vocabulary: &Vocabulary<'_>) -> Result<HashMap<char, Box<str>>, Error> {
    const WHAT: &str = "the replacements";
    let mut reader = Reader(vocabulary.replacement_bytes);
    let character = |reader: &mut Reader<'_>| {
        let found = reader.u32(WHAT)?;
        char::from_u32(found).ok_or(Error::Value { what: WHAT, found: found.into(), why: "is no character" })
    };
    let mut replacements = HashMap::new();
    for _ in 0..vocabulary.replacements {
        let replaced = character(&mut reader)?;
        let count = reader.u8(WHAT)?;
        let by: String = (0..count).map(|_| character(&mut reader)).collect::<Result<_, _>>()?;
        replacements.insert(replaced, by.into_boxed_str());
    }
    Ok(replacements)
}
