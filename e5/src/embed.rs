//! Texts to embeddings.

use std::ops::Range;

use rayon::prelude::*;

use crate::encoder::Encoder;
use crate::error::Error;
use crate::tokenizer::Tokenizer;

/// A text, and what it is for: the model was trained with a word before each that tells.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// What is searched with.
    Query(&'a str),
    /// What is found.
    Passage(&'a str),
}

impl Text<'_> {
    /// The text as the tokenizer takes it.
    fn prefixed(&self) -> String {
        match self {
            Text::Query(text) => format!("query: {text}"),
            Text::Passage(text) => format!("passage: {text}"),
        }
    }
}

/// Embeddings of length 1, `[texts, width]`.
#[derive(Clone, PartialEq, Debug)]
pub struct Embeddings {
    /// Values of an embedding.
    pub width: usize,
    /// All of them.
    pub values: Vec<f32>,
    /// The tokens that each text is, with those that begin and end it.
    pub tokens: Vec<usize>,
}

impl Embeddings {
    /// The embedding of a text.
    ///
    /// # Panics
    /// Without a text of this index.
    #[must_use]
    pub fn of(&self, index: usize) -> &[f32] {
        &self.values[index * self.width..][..self.width]
    }

    /// The cosine of the angle between an embedding and one of the same or other ones.
    ///
    /// # Panics
    /// Without texts of these indices.
    #[must_use]
    pub fn cosine(&self, index: usize, others: &Embeddings, other: usize) -> f64 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
        let (a, b) = (self.of(index), others.of(other));
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }
}

/// The sequences of tokens that texts are, and which of them belong to each text: more than one where a text has more
/// tokens than the model has positions.
#[must_use]
pub fn sequences(tokenizer: &Tokenizer, positions: usize, texts: &[Text<'_>]) -> (Vec<Vec<u32>>, Vec<Range<usize>>) {
    let tokens: Vec<Vec<u32>> = texts.par_iter().map(|text| tokenizer.tokens(&text.prefixed())).collect();
    let (mut sequences, mut of_texts) = (Vec::new(), Vec::new());
    for tokens in tokens {
        let start = sequences.len();
        sequences.extend(tokens.chunks(positions - 2).map(|tokens| tokenizer.sequence(tokens)));
        of_texts.push(start..sequences.len());
    }
    (sequences, of_texts)
}

/// Embeds texts: the mean of the last hidden states, scaled to length 1. Of a text of several sequences it is the mean
/// of their means, weighted by their tokens. Runs on the threads of the current rayon pool; the bytes of a text do not
/// depend on the others.
///
/// # Errors
/// [`Error::Sequence`] and [`Error::NonFinite`] as from [`Encoder::encode`], whose indices count sequences;
/// [`Error::NonFinite`] with the index of a text whose embedding has the length 0.
pub fn embed(tokenizer: &Tokenizer, encoder: &Encoder, texts: &[Text<'_>]) -> Result<Embeddings, Error> {
    let width = encoder.sizes().width;
    let (sequences, of_texts) = sequences(tokenizer, encoder.sizes().positions, texts);
    let means = encoder.encode(&sequences)?;
    let mut embeddings = Embeddings { width, values: Vec::with_capacity(texts.len() * width), tokens: Vec::new() };
    for (index, range) in of_texts.into_iter().enumerate() {
        let content = |sequence: usize| sequences[sequence].len() - 2;
        let mut embedding = vec![0.0; width];
        for sequence in range.clone() {
            let mean = &means[sequence * width..][..width];
            embedding.iter_mut().zip(mean).for_each(|(sum, mean)| *sum += content(sequence) as f32 * mean);
        }
        let length = embedding.iter().fold(0.0, |sum, x| sum + x * x).sqrt();
        if !(length > 0.0 && length.is_finite()) {
            return Err(Error::NonFinite { index });
        }
        embeddings.values.extend(embedding.iter().map(|x| x / length));
        embeddings.tokens.push(2 + range.map(content).sum::<usize>());
    }
    Ok(embeddings)
}
