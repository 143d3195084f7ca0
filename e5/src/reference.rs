//! The encoder as plain loops in f64 over decoded weights: what quantized activations are compared with.

use zeropoint::Isa;
use zeropoint::formats::{BlockFormat, decode_blocks};

use crate::error::Error;
use crate::file::{ModelFile, Sizes};

/// A model's encoder with weights in f32.
pub struct Reference {
    sizes: Sizes,
    words: Vec<f32>,
    positions: Vec<f32>,
    of_type: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

struct Layer {
    qkv: [Linear; 3],
    output: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    norm: Norm,
}

/// Weights `[depth, outputs]`, so that all sums of a token advance together.
struct Linear {
    weights: Vec<f64>,
    bias: Vec<f64>,
}

struct Norm {
    weights: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f64,
}

impl Reference {
    /// Decodes the weights of a model.
    ///
    /// # Errors
    /// [`Error::Tensor`].
    pub fn new(file: &ModelFile<'_>) -> Result<Self, Error> {
        let sizes @ Sizes { width, hidden, words, positions, .. } = file.sizes();
        let norm = |name: String| {
            let values = |part| file.floats(&format!("{name}.{part}"), width);
            Ok::<_, Error>(Norm { weights: values("w")?, bias: values("b")?, epsilon: sizes.epsilon.into() })
        };
        let linear = |name: String, outputs: usize, depth: usize| {
            let weights = decoded(file, &format!("{name}.w"), outputs, depth)?;
            let column = |k: usize| weights.iter().skip(k).step_by(depth).map(|&weight| f64::from(weight));
            let bias = file.floats(&format!("{name}.b"), outputs)?.into_iter().map(f64::from).collect();
            Ok::<_, Error>(Linear { weights: (0..depth).flat_map(column).collect(), bias })
        };
        let layer = |i: usize| {
            let square = |part: &str| linear(format!("l{i}.{part}"), width, width);
            Ok::<_, Error>(Layer {
                qkv: [square("q")?, square("k")?, square("v")?],
                output: square("ao")?,
                attention_norm: norm(format!("l{i}.aln"))?,
                up: linear(format!("l{i}.fi"), hidden, width)?,
                down: linear(format!("l{i}.fo"), width, hidden)?,
                norm: norm(format!("l{i}.oln"))?,
            })
        };
        Ok(Reference {
            sizes,
            words: decoded(file, "emb.word", words, width)?,
            positions: file.floats("emb.pos", positions * width)?,
            of_type: file.first_type()?,
            norm: norm("emb.ln".to_owned())?,
            layers: (0..sizes.layers).map(layer).collect::<Result<_, _>>()?,
        })
    }

    /// The mean of the last hidden states of a sequence.
    ///
    /// # Panics
    /// For a sequence that is no input of the model.
    #[must_use]
    pub fn encode(&self, sequence: &[u32]) -> Vec<f64> {
        let Sizes { width, heads, .. } = self.sizes;
        let mut x: Vec<Vec<f64>> = Vec::new();
        for (position, &token) in sequence.iter().enumerate() {
            let (word, position) = (&self.words[token as usize * width..], &self.positions[position * width..]);
            let value = |i: usize| f64::from(word[i]) + f64::from(position[i]) + f64::from(self.of_type[i]);
            x.push(self.norm.apply((0..width).map(value).collect()));
        }
        for layer in &self.layers {
            let [queries, keys, values] = layer.qkv.each_ref().map(|linear| linear.apply_all(&x));
            let mut seen = vec![vec![0.0; width]; x.len()];
            for (seen, query) in seen.iter_mut().zip(&queries) {
                for head in (0..width).step_by(width / heads).map(|start| start..start + width / heads) {
                    let dot = |key: &Vec<f64>| head.clone().map(|i| query[i] * key[i]).sum::<f64>();
                    let scores: Vec<f64> = keys.iter().map(|key| dot(key) / (head.len() as f64).sqrt()).collect();
                    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = scores.iter().map(|score| (score - max).exp()).sum();
                    for (score, value) in scores.iter().zip(&values) {
                        head.clone().for_each(|i| seen[i] += (score - max).exp() / sum * value[i]);
                    }
                }
            }
            x = layer.attention_norm.add(&x, &layer.output.apply_all(&seen));
            let mut hidden = layer.up.apply_all(&x);
            hidden.iter_mut().flatten().for_each(|x| *x = gelu(*x));
            x = layer.norm.add(&x, &layer.down.apply_all(&hidden));
        }
        (0..width).map(|i| x.iter().map(|x| x[i]).sum::<f64>() / x.len() as f64).collect()
    }
}

impl Linear {
    fn apply_all(&self, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
        x.iter().map(|x| self.apply(x)).collect()
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let mut sums = self.bias.clone();
        for (x, weights) in x.iter().zip(self.weights.chunks_exact(sums.len())) {
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += x * weight);
        }
        sums
    }
}

impl Norm {
    fn add(&self, x: &[Vec<f64>], y: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let sum = |(x, y): (&Vec<f64>, &Vec<f64>)| x.iter().zip(y).map(|(x, y)| x + y).collect();
        x.iter().zip(y).map(|rows| self.apply(sum(rows))).collect()
    }

    fn apply(&self, mut x: Vec<f64>) -> Vec<f64> {
        let length = x.len() as f64;
        let mean = x.iter().sum::<f64>() / length;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / length;
        for (i, x) in x.iter_mut().enumerate() {
            let normal = (*x - mean) / (variance + self.epsilon).sqrt();
            *x = normal * f64::from(self.weights[i]) + f64::from(self.bias[i]);
        }
        x
    }
}

/// `x · Φ(x)`, by the series `erf(x) = 2/√π · exp(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1 · 3 · … · (2n + 1))`, whose terms have one
/// sign.
#[must_use]
pub fn gelu(x: f64) -> f64 {
    let z = x * std::f64::consts::FRAC_1_SQRT_2;
    if z.abs() > 6.0 {
        return x.max(0.0);
    }
    let (mut term, mut sum, mut n) = (z, z, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        term *= 2.0 * z * z / (2.0 * n + 1.0);
        sum += term;
        n += 1.0;
    }
    0.5 * x * (1.0 + std::f64::consts::FRAC_2_SQRT_PI * (-z * z).exp() * sum)
}

fn decoded(file: &ModelFile<'_>, name: &str, outputs: usize, depth: usize) -> Result<Vec<f32>, Error> {
    let blocks = file.blocks(name, outputs, depth)?;
    let mut values = vec![0.0; outputs * depth];
    decode_blocks(Isa::named("scalar")?, BlockFormat::Q4_0, blocks, &mut values)?;
    Ok(values)
}
