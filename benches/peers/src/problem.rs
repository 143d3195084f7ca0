//! What is multiplied: the workloads, and the operands of one shape.

use clap::ValueEnum;
use zeropoint::random::fill_words;
use zeropoint::{Error, Isa, Stream};

use crate::real::Groups;
use crate::shapes::Shape;

/// What is computed, and what of it may be prepared before the clock runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// u8 × i8 → i32, B prepacked.
    U8i8,
    /// i8 × i8 → i32, B prepacked.
    I8i8,
    /// u8 × i8 → i32 with a zero point of A and of B (one for every column of B where the peer can), B prepacked where
    /// the peer can.
    ZeroPoints,
    /// u8 × i8 → u8: zero points of A, B and the result, bias, a multiplier for every column, B prepacked.
    Requantize,
    /// u8 × i8 → i32, B as it lies: packing is counted.
    Unpacked,
    /// f32 × 4 bits in groups of 32 → f32: activations are quantized in the call, weights prepacked.
    Groups4,
    /// f32 × 4 bits in groups of 128 → f32.
    Groups4By128,
    /// f32 × 8 bits in groups of 32 → f32.
    Groups8,
}

impl Workload {
    /// As in the headings.
    pub fn title(self) -> &'static str {
        match self {
            Workload::U8i8 => "u8×i8→i32, B prepacked",
            Workload::I8i8 => "i8×i8→i32, B prepacked",
            Workload::ZeroPoints => "u8×i8→i32 with zero points on both sides",
            Workload::Requantize => "u8×i8→u8: zero points, bias, multiplier per column; B prepacked",
            Workload::Unpacked => "u8×i8→i32, B not prepacked",
            Workload::Groups4 => "f32 × 4 bits in groups of 32 → f32, activations quantized in the call",
            Workload::Groups4By128 => "f32 × 4 bits in groups of 128 → f32, activations quantized in the call",
            Workload::Groups8 => "f32 × 8 bits in groups of 32 → f32, activations quantized in the call",
        }
    }

    /// How its weights are kept, where they are in groups and the activations are reals.
    pub fn groups(self) -> Option<Groups> {
        match self {
            Workload::Groups4 => Some(Groups { bits: 4, length: 32 }),
            Workload::Groups4By128 => Some(Groups { bits: 4, length: 128 }),
            Workload::Groups8 => Some(Groups { bits: 8, length: 32 }),
            _ => None,
        }
    }

    /// Do its operands have zero points?
    pub fn has_zero_points(self) -> bool {
        matches!(self, Workload::ZeroPoints | Workload::Requantize)
    }
}

/// Which codes the operands consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    /// Every value of the types.
    Full,
    /// 7 bits of A and of B: no sum of two products leaves 16 bits.
    Narrow,
}

/// The operands of a shape, the same in every run.
pub struct Problem {
    /// M, N, K.
    pub shape: Shape,
    /// A, M × K, as u8.
    pub a: Vec<u8>,
    /// A with the same bits as i8.
    pub signed_a: Vec<i8>,
    /// B, K × N.
    pub b: Vec<i8>,
    /// The zero point of A.
    pub a_zero_point: u8,
    /// The zero point of B, where it has one only.
    pub b_zero_point: i8,
    /// The zero points of the columns of B.
    pub b_zero_points: Vec<i8>,
    /// What is added to the sums of each column before they are requantized.
    pub bias: Vec<i32>,
    /// From sums to codes.
    pub multipliers: Vec<f32>,
    /// The zero point of codes that are made of sums.
    pub out_zero_point: u8,
}

impl Problem {
    /// Random operands.
    pub fn new(shape: Shape, codes: Codes) -> Result<Self, Error> {
        let isa = Isa::best()?;
        let bytes = |seed, count: usize| {
            let mut words = vec![0; count.div_ceil(4)];
            fill_words(isa, Stream::new(seed), &mut words)?;
            let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
            bytes.truncate(count);
            Ok(bytes)
        };
        let narrow = codes == Codes::Narrow;
        let unsigned = |byte: u8| if narrow { byte >> 1 } else { byte };
        let signed = |byte: u8| if narrow { byte as i8 >> 1 } else { byte as i8 };
        let Shape { m, n, k } = shape;
        let a: Vec<u8> = bytes(1, m * k)?;
        // The sums of full-range codes have about this standard deviation.
        let deviation = 5461.0 * (k as f32).sqrt();
        let jitter: Vec<f32> = bytes(3, n)?.into_iter().map(|byte| f32::from(byte) / 128.0 - 1.0).collect();
        Ok(Problem {
            shape,
            signed_a: a.iter().map(|&byte| signed(byte)).collect(),
            a: a.into_iter().map(unsigned).collect(),
            b: bytes(2, n * k)?.into_iter().map(signed).collect(),
            // (The negative of a zero point of A has to be an i8 for MKL.)
            a_zero_point: 113,
            b_zero_point: -7,
            b_zero_points: bytes(4, n)?.into_iter().map(|byte| byte as i8 / 16).collect(),
            bias: jitter.iter().map(|jitter| (jitter * deviation) as i32).collect(),
            multipliers: jitter.iter().map(|jitter| (1.0 + jitter / 2.0) * 50.0 / deviation).collect(),
            out_zero_point: 121,
        })
    }
}
