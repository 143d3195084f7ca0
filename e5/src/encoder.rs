//! The encoder: from tokens to the mean of their last hidden states.

use std::ops::Range;

use rayon::prelude::*;
use zeropoint::formats::{BlockFormat, decode_blocks};
use zeropoint::groups::{Activations, PackedWeights, RealStage, matmul};
use zeropoint::{Exec, Isa, Matrix, Scheme};

use crate::attention::Attention;
use crate::error::Error;
use crate::file::{ModelFile, Sizes};
use crate::float::{Norm, gelu};

/// Tokens that go through the layers together: so many that products of matrices are fast, and so few that what is
/// inside a layer nearly stays in a level-2 cache.
const PASS: usize = 256;

/// Tokens of a piece of work on norms and GELU, at most: a tenth of a millisecond, which is worth waking a thread for.
const PIECE: usize = 64;

/// Which activations share a scale when a linear layer quantizes them to i8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scales {
    /// The 32 that meet a block of weights.
    Groups,
    /// All of a token.
    Rows,
}

/// A model's encoder, packed for an ISA.
pub struct Encoder {
    isa: Isa,
    sizes: Sizes,
    scales: Scales,
    /// The embeddings of all words, in blocks.
    words: Vec<u8>,
    /// What is added to them at every position.
    positions: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

struct Layer {
    /// Queries, keys and values side by side.
    qkv: Linear,
    output: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    norm: Norm,
}

/// `y = x · wᵀ + b`
struct Linear {
    weights: PackedWeights,
    stage: RealStage,
}

impl Encoder {
    /// Packs the weights of a model for an ISA.
    ///
    /// # Errors
    /// [`Error::Tensor`] for what is missing, of another size, or not finite; the errors of
    /// [`from_format`](PackedWeights::from_format).
    pub fn new(isa: Isa, file: &ModelFile<'_>, scales: Scales) -> Result<Self, Error> {
        let sizes @ Sizes { width, positions, .. } = file.sizes();
        let values = positions.saturating_mul(width);
        let mut positions = file.floats("emb.pos", values)?;
        let of_type = file.first_type()?;
        for position in positions.chunks_exact_mut(width) {
            position.iter_mut().zip(&of_type).for_each(|(x, of_type)| *x += of_type);
        }
        Ok(Encoder {
            isa,
            sizes,
            scales,
            words: file.blocks("emb.word", sizes.words, width)?.to_vec(),
            positions,
            norm: Norm::new(file, "emb.ln")?,
            layers: (0..sizes.layers).map(|i| Layer::new(isa, file, i)).collect::<Result<_, _>>()?,
        })
    }

    /// The sizes of the encoder.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// The mean of the last hidden states of every sequence, `[sequences, width]`, on the threads of the current rayon
    /// pool. The bytes of a sequence do not depend on the others.
    ///
    /// # Errors
    /// [`Error::Sequence`] for one without tokens, or with more than there are positions, or with one that the model
    /// does not have; [`Error::NonFinite`] and errors of [`matmul`] where a model's values leave the range of f32.
    pub fn encode(&self, sequences: &[Vec<u32>]) -> Result<Vec<f32>, Error> {
        for (index, sequence) in sequences.iter().enumerate() {
            let unknown = sequence.iter().any(|&token| token as usize >= self.sizes.words);
            let why = match sequence.len() {
                0 => "has no tokens",
                length if length > self.sizes.positions => "has more tokens than the model has positions",
                _ if unknown => "has a token without an embedding",
                _ => continue,
            };
            return Err(Error::Sequence { index, why });
        }
        let passes = passes(sequences, rayon::current_num_threads());
        // Threads that have a pass each need not wait for each other in every layer.
        let exec = Exec::from(self.isa);
        let exec = if passes.len() == 1 { exec.rayon() } else { exec };
        let results: Vec<_> = passes.par_iter().map(|pass| self.pass(exec, pass)).collect();
        let means = results.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        match means.iter().position(|mean| !mean.is_finite()) {
            Some(place) => Err(Error::NonFinite { index: place / self.sizes.width }),
            None => Ok(means),
        }
    }

    /// All layers for some sequences.
    fn pass(&self, exec: Exec<'_>, sequences: &[Vec<u32>]) -> Result<Vec<f32>, Error> {
        let Sizes { width, heads, hidden, .. } = self.sizes;
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for sequence in sequences {
            let start = ranges.last().map_or(0, |range| range.end);
            ranges.push(start..start + sequence.len());
        }
        let rows = ranges.last().map_or(0, |range| range.end);
        let mut x = self.embed(sequences, rows)?;
        let (mut qkv, mut up) = (vec![0.0; rows * 3 * width], vec![0.0; rows * hidden]);
        let (mut seen, mut y) = (vec![0.0; rows * width], vec![0.0; rows * width]);
        let multiply = |linear: &Linear, x: &[f32], y: &mut [f32]| {
            let x = Activations::reals(Matrix::new(x, rows, x.len() / rows)?, Scheme::SYMMETRIC);
            let x = match self.scales {
                Scales::Groups => x.in_groups(BlockFormat::Q4_0.block_length())?,
                Scales::Rows => x,
            };
            matmul(exec, &x, &linear.weights, &linear.stage, y)
        };
        for layer in &self.layers {
            multiply(&layer.qkv, &x, &mut qkv)?;
            Attention { width, heads }.apply(&qkv, &ranges, &mut seen);
            multiply(&layer.output, &seen, &mut y)?;
            self.add_norm(&layer.attention_norm, &mut x, &y);
            multiply(&layer.up, &x, &mut up)?;
            up.par_chunks_mut(PIECE * hidden).for_each(gelu);
            multiply(&layer.down, &up, &mut y)?;
            self.add_norm(&layer.norm, &mut x, &y);
        }
        let mut means = Vec::with_capacity(sequences.len() * width);
        for range in ranges {
            let (mut mean, tokens) = (vec![0.0; width], range.len() as f32);
            for row in x[range.start * width..range.end * width].chunks_exact(width) {
                mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x);
            }
            means.extend(mean.iter().map(|sum| sum / tokens));
        }
        Ok(means)
    }

    /// The tokens of sequences as the first layer takes them.
    fn embed(&self, sequences: &[Vec<u32>], rows: usize) -> Result<Vec<f32>, Error> {
        let width = self.sizes.width;
        let bytes = BlockFormat::Q4_0.bytes(width)?;
        let mut x = vec![0.0; rows * width];
        let tokens = sequences.iter().flat_map(|sequence| sequence.iter().zip(self.positions.chunks_exact(width)));
        for ((&token, position), x) in tokens.zip(x.chunks_exact_mut(width)) {
            let word = &self.words[token as usize * bytes..][..bytes];
            decode_blocks(self.isa, BlockFormat::Q4_0, word, x)?;
            self.norm.add(x, position);
        }
        Ok(x)
    }

    fn add_norm(&self, norm: &Norm, x: &mut [f32], y: &[f32]) {
        let width = self.sizes.width;
        x.par_chunks_mut(PIECE * width).zip(y.par_chunks(PIECE * width)).for_each(|(x, y)| {
            x.chunks_exact_mut(width).zip(y.chunks_exact(width)).for_each(|(x, y)| norm.add(x, y));
        });
    }
}

/// Sequences divided into as many passes for every thread, with about as many tokens each, some [`PASS`] at most.
fn passes(sequences: &[Vec<u32>], threads: usize) -> Vec<&[Vec<u32>]> {
    let tokens: usize = sequences.iter().map(Vec::len).sum();
    let count = tokens.div_ceil(PASS).next_multiple_of(threads);
    let wanted = tokens.div_ceil(count.max(1));
    let (mut passes, mut rest) = (Vec::new(), sequences);
    while !rest.is_empty() {
        // A sequence belongs to the pass in which its middle is.
        let mut tokens = 0;
        let fitting = rest.iter().take_while(|sequence| {
            tokens += sequence.len();
            tokens - sequence.len() / 2 <= wanted
        });
        let (pass, later) = rest.split_at(fitting.count().max(1));
        passes.push(pass);
        rest = later;
    }
    passes
}

impl Layer {
    fn new(isa: Isa, file: &ModelFile<'_>, index: usize) -> Result<Self, Error> {
        let Sizes { width, hidden, .. } = file.sizes();
        let name = |part: &str| format!("l{index}.{part}");
        let linear = |parts: &[&str], outputs, depth| {
            let names: Vec<String> = parts.iter().map(|part| name(part)).collect();
            Linear::new(isa, file, &names, outputs, depth)
        };
        Ok(Layer {
            qkv: linear(&["q", "k", "v"], width, width)?,
            output: linear(&["ao"], width, width)?,
            attention_norm: Norm::new(file, &name("aln"))?,
            up: linear(&["fi"], hidden, width)?,
            down: linear(&["fo"], width, hidden)?,
            norm: Norm::new(file, &name("oln"))?,
        })
    }
}

impl Linear {
    /// Layers of the same input side by side, each with so many outputs.
    fn new(isa: Isa, file: &ModelFile<'_>, names: &[String], outputs: usize, depth: usize) -> Result<Self, Error> {
        let (mut blocks, mut bias) = (Vec::new(), Vec::new());
        for name in names {
            blocks.extend_from_slice(file.blocks(&format!("{name}.w"), outputs, depth)?);
            bias.extend(file.floats(&format!("{name}.b"), outputs)?);
        }
        let weights = PackedWeights::from_format(isa, BlockFormat::Q4_0, &blocks, bias.len(), depth)?;
        Ok(Linear { weights, stage: RealStage::new().with_bias(&bias)? })
    }
}

impl Norm {
    fn new(file: &ModelFile<'_>, name: &str) -> Result<Self, Error> {
        let Sizes { width, epsilon, .. } = file.sizes();
        let values = |part: &str| file.floats(&format!("{name}.{part}"), width);
        Ok(Norm { weights: values("w")?, bias: values("b")?, epsilon })
    }
}
