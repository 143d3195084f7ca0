//! Packed weights in files: packed once, mapped by every process that needs them, and multiplied where they are.
//!
//! An [`Archive`] has weights by name, each packed for one ISA or for several. Opening one reads its index, not its weights, so
//! that it takes no longer for a file of a gigabyte; and the pages of a mapped file are shared by all processes. Weights keep
//! the file as long as they live.
//!
//! ```
//! use zeropoint::files::{Archive, ArchiveWriter};
//! use zeropoint::groups::{GroupScheme, PackedWeights, StoredWeights};
//! use zeropoint::{Exec, Isa, Matrix};
//! let exec = Exec::best()?;
//! let w: Vec<f32> = (0..64 * 256).map(|i| (i as f32 * 0.37).sin()).collect();
//! let w = StoredWeights::quantize(exec, Matrix::new(&w, 64, 256)?, GroupScheme::symmetric(4, 32)?)?;
//! let packed = PackedWeights::pack(exec, &w.weights())?;
//! let for_others = packed.repack(Isa::named("portable")?)?; // what any machine can pack again
//!
//! let mut writer = ArchiveWriter::new();
//! writer.add("layer.0", &packed)?;
//! if exec.isa() != for_others.isa() {
//!     writer.add("layer.0", &for_others)?;
//! }
//! let mut file = Vec::new();
//! writer.write(&mut file)?; // a file, usually
//!
//! // Archive::open(mapping) for a mapped file: what a crate like `memmap2` gives.
//! let archive = Archive::copied(&file)?;
//! let there: PackedWeights = archive.get(exec, "layer.0")?; // no byte of its codes is copied, or read
//! archive.verify()?; // all of them, if that is wanted
//! # assert_eq!(there.outputs(), 64);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # The file
//!
//! All numbers are little-endian; so are the values of groups, and targets that are not have [`Error::File`](crate::Error::File).
//!
//! ```text
//!  0  the magic "ZPWeight"      8  version, 1
//! 16  bytes of the file        24  where the index begins
//! 32  bytes of the index       40  XXH64 of the index
//! 48  zeros
//! 64  sections: codes and values as kernels read them, each from a multiple of 64 on, padded with zeros
//!     index: for every entry its name, type and ISA, the layout's fingerprint, where its sections begin, their lengths and
//!     checksums (XXH64), and its head: shape, scales, zero points, bias
//! ```
//!
//! The fingerprint is the checksum of a small operand that is packed anew whenever it is asked for. So no layout has a number that
//! somebody has to remember: where one has changed, weights of an older file are [`Error::File`](crate::Error::File), never
//! wrong products. Nothing depends on time or place: the same weights make the same file.
//!
//! Whatever bytes a file has, reading it is safe, and what its index and lengths say is held against each other. Codes and
//! values themselves are verified on request alone ([`Archive::verify`]), for that reads all of the file.

mod archive;
pub(crate) mod checksum;
pub(crate) mod fields;
pub(crate) mod sections;

pub use archive::{Archive, ArchiveWriter, Entry};
