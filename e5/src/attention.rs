//! Scaled dot-product attention in f32, every sequence by itself.

use std::ops::Range;

use rayon::prelude::*;

use crate::float::{multiply_row, softmax};

/// Tokens of a piece of work, at most: some milliseconds in the longest sequences.
const PIECE: usize = 64;

/// Attention of one layer.
pub struct Attention {
    pub width: usize,
    pub heads: usize,
}

/// Some tokens of a sequence, which look at all of it.
struct Piece<'a> {
    tokens: Range<usize>,
    sequence: Range<usize>,
    out: &'a mut [f32],
}

impl Attention {
    /// From queries, keys and values `[tokens, 3, width]` of sequences to what their tokens see, `[tokens, width]`, on
    /// the threads of the current pool.
    pub fn apply(&self, qkv: &[f32], sequences: &[Range<usize>], mut out: &mut [f32]) {
        let mut pieces = Vec::new();
        for sequence in sequences {
            for start in sequence.clone().step_by(PIECE) {
                let tokens = start..sequence.end.min(start + PIECE);
                let (piece, rest) = out.split_at_mut(tokens.len() * self.width);
                out = rest;
                pieces.push(Piece { tokens, sequence: sequence.clone(), out: piece });
            }
        }
        pieces.into_par_iter().for_each(|piece| self.look(qkv, piece));
    }

    fn look(&self, qkv: &[f32], Piece { tokens, sequence, out }: Piece<'_>) {
        let (width, head) = (self.width, self.width / self.heads);
        let scale = 1.0 / (head as f32).sqrt();
        let values = |token: usize, part: usize, at: usize| &qkv[token * 3 * width + part * width + at..];
        // The keys of a head with neighbouring tokens side by side, padded to whole vectors.
        let stride = sequence.len().next_multiple_of(16);
        let (mut keys, mut scores) = (vec![0.0; head * stride], vec![0.0; stride]);
        for at in (0..width).step_by(head) {
            for (j, token) in sequence.clone().enumerate() {
                for (i, key) in values(token, 1, at)[..head].iter().enumerate() {
                    keys[i * stride + j] = *key;
                }
            }
            for (token, out) in tokens.clone().zip(out.chunks_exact_mut(width)) {
                multiply_row(&values(token, 0, at)[..head], &keys, stride, &mut scores);
                let scores = &mut scores[..sequence.len()];
                for score in scores.iter_mut() {
                    *score *= scale;
                }
                softmax(scores);
                let out = &mut out[at..at + head];
                multiply_row(scores, values(sequence.start, 2, at), 3 * width, out);
            }
        }
    }
}
