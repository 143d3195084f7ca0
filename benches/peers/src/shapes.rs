//! The shapes that are measured: M × N × K.

use std::fmt;
use std::str::FromStr;

use zeropoint_tools::operations;

/// A is M × K, B is K × N.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows of A.
    pub m: usize,
    /// Columns of B.
    pub n: usize,
    /// The depth.
    pub k: usize,
}

/// Cubes, thin shapes over large weights, convolutions of a residual network, odd ones, and a batch of tokens.
pub const ALL: [Shape; 21] = [
    shape(64, 64, 64),
    shape(128, 128, 128),
    shape(256, 256, 256),
    shape(512, 512, 512),
    shape(1024, 1024, 1024),
    shape(2048, 2048, 2048),
    shape(1, 4096, 4096),
    shape(2, 4096, 4096),
    shape(4, 4096, 4096),
    shape(8, 4096, 4096),
    shape(1, 11008, 4096),
    shape(2, 11008, 4096),
    shape(4, 11008, 4096),
    shape(8, 11008, 4096),
    shape(3136, 64, 576),
    shape(784, 128, 1152),
    shape(196, 256, 2304),
    shape(49, 512, 4608),
    shape(17, 33, 65),
    shape(10, 84, 120),
    shape(128, 4096, 4096),
];

/// A few of each kind, for a first look.
pub const QUICK: [Shape; 6] = [
    shape(64, 64, 64),
    shape(256, 256, 256),
    shape(1, 4096, 4096),
    shape(8, 4096, 4096),
    shape(196, 256, 2304),
    shape(17, 33, 65),
];

const fn shape(m: usize, n: usize, k: usize) -> Shape {
    Shape { m, n, k }
}

impl Shape {
    /// Multiplications, each with an addition.
    pub fn macs(self) -> f64 {
        (self.m * self.n * self.k) as f64
    }

    /// Bytes of B: what has to be read at least once.
    pub fn weights(self) -> usize {
        self.n * self.k
    }

    /// A few rows by so many weights that the time is that of reading the weights.
    pub fn is_thin(self) -> bool {
        self.m <= 8 && self.weights() >= 4 << 20
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}x{}x{}", self.m, self.n, self.k))
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse()? {
            operations::Shape::Product { m, n, k } => Ok(shape(m, n, k)),
            operations::Shape::Elements(_) => Err("not of the form MxNxK".into()),
        }
    }
}
