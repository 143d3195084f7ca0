//! A BERT encoder with the parts of candle-nn, and linear layers of any kind.

use candle_core::{D, DType, Device, Module, Result, Tensor};
use candle_nn::ops::softmax_last_dim;
use candle_nn::{Embedding, LayerNorm, VarBuilder, embedding, layer_norm};

/// A linear layer of some kind.
pub type Layer = Box<dyn Module>;

/// Makes linear layers: of so many inputs and outputs, from these weights.
pub type MakeLayer<'a> = &'a dyn Fn(usize, usize, VarBuilder<'_>) -> Result<Layer>;

/// The sizes of a model.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub vocabulary: usize,
    pub positions: usize,
    pub types: usize,
    pub width: usize,
    /// Of the hidden layer between two linear layers.
    pub intermediate: usize,
    pub heads: usize,
    pub layers: usize,
    /// Added to the variance of a layer norm.
    pub epsilon: f64,
}

/// The encoder: embeddings of words, positions and types, and blocks of attention and two linear layers.
pub struct Bert {
    words: Embedding,
    /// Of every position, that of type 0 added.
    positions: Tensor,
    norm: LayerNorm,
    blocks: Vec<Block>,
}

struct Block {
    attention: Attention,
    attended: LayerNorm,
    widen: Layer,
    narrow: Layer,
    norm: LayerNorm,
}

struct Attention {
    query: Layer,
    key: Layer,
    value: Layer,
    output: Layer,
    heads: usize,
}

impl Bert {
    /// A model with the tensors of Hugging Face's names.
    pub fn new(sizes: &Sizes, vb: &VarBuilder<'_>, layer: MakeLayer<'_>) -> Result<Self> {
        let Sizes { width, epsilon, .. } = *sizes;
        let embeddings = vb.pp("embeddings");
        let of_type = embedding(sizes.types, width, embeddings.pp("token_type_embeddings"))?;
        let of_position = embedding(sizes.positions, width, embeddings.pp("position_embeddings"))?;
        let blocks = (0..sizes.layers).map(|i| Block::new(sizes, &vb.pp("encoder.layer").pp(i), layer));
        Ok(Bert {
            words: embedding(sizes.vocabulary, width, embeddings.pp("word_embeddings"))?,
            positions: of_position.embeddings().broadcast_add(&of_type.embeddings().get(0)?)?,
            norm: layer_norm(width, epsilon, embeddings.pp("LayerNorm"))?,
            blocks: blocks.collect::<Result<_>>()?,
        })
    }

    /// The embeddings `[batch, width]` of tokens `[batch, length]`: the means of their last hidden states, of length 1.
    pub fn embed(&self, tokens: &Tensor) -> Result<Tensor> {
        let positions = self.positions.narrow(0, 0, tokens.dim(D::Minus1)?)?;
        let mut x = self.norm.forward(&self.words.forward(tokens)?.broadcast_add(&positions)?)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        let mean = x.mean(1)?;
        mean.broadcast_div(&mean.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)
    }

    /// The embeddings of sequences of one length, as floats.
    pub fn embed_all(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let length = sequences.first().map_or(0, |sequence| sequence.len());
        let tokens = Tensor::from_vec(sequences.concat(), (sequences.len(), length), &Device::Cpu)?;
        self.embed(&tokens)?.to_dtype(DType::F32)?.to_vec2()
    }
}

impl Block {
    fn new(sizes: &Sizes, vb: &VarBuilder<'_>, layer: MakeLayer<'_>) -> Result<Self> {
        let Sizes { width, intermediate, epsilon, .. } = *sizes;
        Ok(Block {
            attention: Attention::new(sizes, &vb.pp("attention"), layer)?,
            attended: layer_norm(width, epsilon, vb.pp("attention.output.LayerNorm"))?,
            widen: layer(width, intermediate, vb.pp("intermediate.dense"))?,
            narrow: layer(intermediate, width, vb.pp("output.dense"))?,
            norm: layer_norm(width, epsilon, vb.pp("output.LayerNorm"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.attended.forward(&(self.attention.forward(x)? + x)?)?;
        let y = self.narrow.forward(&self.widen.forward(&x)?.gelu_erf()?)?;
        self.norm.forward(&(y + x)?)
    }
}

impl Attention {
    fn new(sizes: &Sizes, vb: &VarBuilder<'_>, layer: MakeLayer<'_>) -> Result<Self> {
        let layer = |name: &str| layer(sizes.width, sizes.width, vb.pp(name));
        Ok(Attention {
            query: layer("self.query")?,
            key: layer("self.key")?,
            value: layer("self.value")?,
            output: layer("output.dense")?,
            heads: sizes.heads,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, length, width) = x.dims3()?;
        let depth = width / self.heads;
        let by_head = |layer: &Layer| {
            let x = layer.forward(x)?.reshape((batch, length, self.heads, depth))?;
            x.transpose(1, 2)?.contiguous()
        };
        let query = (by_head(&self.query)? * (depth as f64).powf(-0.5))?;
        let weights = softmax_last_dim(&query.matmul(&by_head(&self.key)?.t()?)?)?;
        let attended = weights.matmul(&by_head(&self.value)?)?.transpose(1, 2)?;
        self.output.forward(&attended.reshape((batch, length, width))?)
    }
}
