//! multilingual-e5-small with weights of four bits: sentences in about a hundred languages become 384 numbers each, and
//! those of sentences that mean the same point in the same direction.
//!
//! Every linear layer is a product of [`zeropoint::groups`]: Q4_0 blocks by activations of f32, which the call
//! quantizes. Embeddings, layer norms, attention and GELU are plain f32 in a fixed order. So a sentence has the same
//! bytes on every ISA, for every number of threads, alone or in a batch.
//!
//! ```no_run
//! use e5::{Encoder, ModelFile, Scales, Text, Tokenizer, embed};
//! let bytes = std::fs::read("e5-small-q4.bin")?;
//! let file = ModelFile::parse(&bytes)?;
//! let tokenizer = Tokenizer::new(&file)?;
//! let encoder = Encoder::new(zeropoint::Isa::best()?, &file, Scales::Groups)?;
//! let texts = [Text::Query("how to bake bread"), Text::Passage("Knead the dough.")];
//! let embeddings = embed(&tokenizer, &encoder, &texts)?;
//! println!("{}", embeddings.cosine(0, &embeddings, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attention;
mod embed;
mod encoder;
mod error;
mod file;
mod float;
mod reader;
pub mod reference;
mod tokenizer;

pub use embed::{Embeddings, Text, embed, sequences};
pub use encoder::{Encoder, Scales};
pub use error::Error;
pub use file::{ModelFile, Sizes};
pub use float::{gelu, softmax};
pub use tokenizer::Tokenizer;
