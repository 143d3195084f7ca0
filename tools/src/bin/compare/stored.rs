//! Weights as they are stored: in groups along the depth, in block formats and in FP8, each with its true bits a weight.

use indicatif::ProgressBar;
use rayon::prelude::*;
use zeropoint::formats::{BlockFormat, decode_blocks, encode_blocks};
use zeropoint::fp8::{Fp8, Fp8Params, decode, encode};
use zeropoint::groups::{GroupScheme, StoredWeights};
use zeropoint::report::{ErrorReport, reconstruction_error};
use zeropoint::{Error, Granularity, Isa, Matrix, Rounding};

use crate::grid::Sharing;
use zeropoint_tools::tensors::Tensor;

/// What is tried on a tensor of more than one axis, whose first one counts the outputs.
pub struct Storage<'a> {
    pub isa: Isa,
    pub bits: &'a [u32],
    /// The lengths of groups; none for no groups.
    pub lengths: &'a [usize],
    /// Whether formats are tried.
    pub formats: bool,
}

/// A way to store weights.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Way {
    /// Scales of f16.
    Groups {
        bits: u32,
        length: usize,
        zero_points: bool,
        least_error: bool,
    },
    Blocks(BlockFormat),
    /// Scales of f32.
    Fp8(Fp8, Sharing),
}

impl Way {
    /// The bits of a code, of groups and of FP8. (Formats have codes of their own.)
    pub fn bits(self) -> Option<u32> {
        match self {
            Way::Groups { bits, .. } => Some(bits),
            Way::Blocks(_) => None,
            Way::Fp8(..) => Some(8),
        }
    }

    /// The weights of a scale, where their number is fixed.
    pub fn length(self) -> Option<usize> {
        match self {
            Way::Groups { length, .. } => Some(length),
            Way::Blocks(format) => Some(format.block_length()),
            Way::Fp8(..) => None,
        }
    }

    /// The name of a format.
    pub fn format(self) -> Option<String> {
        match self {
            Way::Groups { .. } => None,
            Way::Blocks(format) => Some(format!("{format:?}")),
            Way::Fp8(format, sharing) => Some(format!("{format:?} per {}", sharing.name())),
        }
    }
}

/// A way, and what it made of the tensor.
pub struct Stored {
    pub way: Way,
    pub bits_per_weight: f64,
    pub error: ErrorReport,
    /// No other way with as few bits a weight, or fewer, has less noise.
    pub best: bool,
}

impl Storage<'_> {
    /// What a tensor takes, in numbers that are quantized.
    pub fn work(&self, tensor: &Tensor) -> u64 {
        (self.ways(tensor).len() * tensor.x.len()) as u64
    }

    /// Those that its rows can have.
    fn ways(&self, tensor: &Tensor) -> Vec<Way> {
        let mut ways = Vec::new();
        let [_, depth] = rows_of(tensor);
        if tensor.shape.len() < 2 {
            return ways;
        }
        // Groups that are longer than a row are all the same.
        let longer = self.lengths.iter().position(|&length| length >= depth).map_or(self.lengths.len(), |i| i + 1);
        for &length in &self.lengths[..longer] {
            for zero_points in [false, true] {
                for least_error in [false, true] {
                    ways.extend(self.bits.iter().map(|&bits| Way::Groups { bits, length, zero_points, least_error }));
                }
            }
        }
        if self.formats {
            let whole = |format: &BlockFormat| depth.is_multiple_of(format.block_length());
            ways.extend(BlockFormat::ALL.into_iter().filter(whole).map(Way::Blocks));
            for format in Fp8::ALL {
                ways.extend([Sharing::Tensor, Sharing::Channel].map(|sharing| Way::Fp8(format, sharing)));
            }
        }
        ways
    }

    /// All ways that can hold the tensor: a scale may be too large for f16.
    pub fn run(&self, tensor: &Tensor, progress: &ProgressBar) -> Result<Vec<Stored>, Error> {
        let stored = self.ways(tensor).into_par_iter().map(|way| {
            let stored = self.store(tensor, way);
            progress.inc(tensor.x.len() as u64);
            match stored {
                Err(Error::Range { .. }) => Ok(None),
                stored => stored.map(Some),
            }
        });
        let stored: Vec<Option<Stored>> = stored.collect::<Result<_, Error>>()?;
        let mut stored: Vec<Stored> = stored.into_iter().flatten().collect();
        for i in 0..stored.len() {
            let (this, sse) = (&stored[i], stored[i].error.sse());
            let is_less = |other: &Stored| {
                other.bits_per_weight <= this.bits_per_weight && other.error.sse() < sse
                    || other.bits_per_weight < this.bits_per_weight && other.error.sse() <= sse
            };
            stored[i].best = !stored.iter().any(is_less);
        }
        Ok(stored)
    }

    fn store(&self, tensor: &Tensor, way: Way) -> Result<Stored, Error> {
        let (isa, x, [outputs, depth]) = (self.isa, &tensor.x[..], rows_of(tensor));
        let mut real = vec![0.0; x.len()];
        let bits_per_weight = match way {
            Way::Groups { bits, length, zero_points, least_error } => {
                let of = if zero_points { GroupScheme::with_zero_points } else { GroupScheme::symmetric };
                let scheme = of(bits, length)?.f16_scales();
                let scheme = if least_error { scheme.least_error() } else { scheme };
                real = StoredWeights::quantize(isa, Matrix::new(x, outputs, depth)?, scheme)?.values();
                scheme.bits_per_weight(depth)
            }
            Way::Blocks(format) => {
                let mut bytes = vec![0; format.bytes(x.len())?];
                encode_blocks(isa, format, x, &mut bytes)?;
                decode_blocks(isa, format, &bytes, &mut real)?;
                8.0 * bytes.len() as f64 / x.len() as f64
            }
            Way::Fp8(format, sharing) => {
                let granularity = match sharing {
                    Sharing::Channel => Granularity::channel(&[outputs, depth], 0)?,
                    Sharing::Tensor | Sharing::Block => Granularity::Tensor,
                };
                let params = Fp8Params::fit(isa, x, format, granularity)?;
                let mut codes = vec![0; x.len()];
                encode(isa, x, &params, Rounding::Nearest, &mut codes)?;
                decode(isa, &codes, &params, &mut real)?;
                8.0 + 32.0 * params.scales().len() as f64 / x.len() as f64
            }
        };
        let error = reconstruction_error(isa, x, &real)?;
        Ok(Stored { way, bits_per_weight, error, best: false })
    }
}

/// Outputs and depth.
fn rows_of(tensor: &Tensor) -> [usize; 2] {
    let outputs = tensor.shape.first().copied().unwrap_or(1);
    [outputs, tensor.x.len() / outputs.max(1)]
}
