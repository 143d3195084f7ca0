//! The operations that are measured, their shapes, and calls of them.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;

use clap::ValueEnum;
use zeropoint::random::fill_words;
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::{
    Accumulators, CodeRange, Error, Exec, Isa, Matrix, MatrixMut, QuantParams, Rounding, Rule, Stream, dequantize,
    fake_quantize, min_max, quantize, raw,
};

use harness::limits::Traffic;

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Operation {
    /// u8 × i8 to i32, weights packed before
    Matmul,
    /// u8 × i8 to u8: zero points, bias, a float multiplier for every column
    MatmulRequantize,
    /// u8 × i8 to i32, weights unpacked
    MatmulUnpacked,
    /// f32 to u8, to nearest
    Quantize,
    /// f32 to u8, stochastically
    QuantizeStochastic,
    /// u8 to f32
    Dequantize,
    /// f32 to f32, as if through u8
    FakeQuantize,
    /// The range of f32
    MinMax,
    /// 32 random bits each
    Words,
}

/// M × N × K, or a number of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A product of M × K and K × N values.
    Product {
        /// Rows of the left operand.
        m: usize,
        /// Columns of the right operand.
        n: usize,
        /// Columns of the left operand, rows of the right one.
        k: usize,
    },
    /// The elements of a tensor.
    Elements(usize),
}

use Shape::{Elements, Product};

const fn product(m: usize, n: usize, k: usize) -> Shape {
    Product { m, n, k }
}

/// Cubes for the curve; a row and a few rows over large weights, a convolution, odd sizes, a batch of tokens.
const PRODUCTS: [Shape; 14] = [
    product(16, 16, 16),
    product(32, 32, 32),
    product(64, 64, 64),
    product(128, 128, 128),
    product(256, 256, 256),
    product(512, 512, 512),
    product(1024, 1024, 1024),
    product(1, 4096, 4096),
    product(4, 4096, 4096),
    product(784, 128, 1152),
    product(49, 512, 4608),
    product(17, 33, 65),
    product(10, 84, 120),
    product(128, 4096, 4096),
];

const QUICK_PRODUCTS: [Shape; 3] = [product(64, 64, 64), product(256, 256, 256), product(1, 4096, 4096)];

const QUICK_ELEMENTS: [Shape; 3] = [Elements(4 << 10), Elements(64 << 10), Elements(1 << 20)];

impl Operation {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().expect("none is hidden").get_name().to_owned()
    }

    /// Its line of help.
    pub fn help(self) -> String {
        self.to_possible_value().expect("none is hidden").get_help().expect("all have one").to_string()
    }

    /// Whether it multiplies matrices; all others go through the elements of a tensor.
    pub fn is_product(self) -> bool {
        matches!(self, Operation::Matmul | Operation::MatmulRequantize | Operation::MatmulUnpacked)
    }

    /// The shapes of the operation's kind among those that were asked for; the default list if none were.
    pub fn shapes(self, asked: &[Shape], quick: bool) -> Vec<Shape> {
        let of_kind = |shape: &Shape| matches!(shape, Product { .. }) == self.is_product();
        match (asked.is_empty(), quick, self.is_product()) {
            (false, ..) => asked.iter().copied().filter(of_kind).collect(),
            (true, true, true) => QUICK_PRODUCTS.to_vec(),
            (true, true, false) => QUICK_ELEMENTS.to_vec(),
            (true, false, true) => PRODUCTS.to_vec(),
            (true, false, false) => (8..=24).step_by(2).map(|log2| Elements(1 << log2)).collect(),
        }
    }

    /// The ratio of bytes read to bytes written.
    pub fn traffic(self) -> Traffic {
        match self {
            Operation::Quantize | Operation::QuantizeStochastic => Traffic::ReadFourWriteOne,
            Operation::Dequantize => Traffic::ReadOneWriteFour,
            Operation::FakeQuantize => Traffic::Copy,
            Operation::MinMax => Traffic::Read,
            Operation::Words => Traffic::Write,
            Operation::Matmul | Operation::MatmulRequantize | Operation::MatmulUnpacked => Traffic::Read,
        }
    }

    /// Bytes that have to be read and written: for a product only the RHS, which dominates where the LHS has few rows.
    pub fn bytes(self, shape: Shape) -> usize {
        match (self.traffic(), shape) {
            (_, Product { n, k, .. }) => n * k,
            (Traffic::ReadFourWriteOne | Traffic::ReadOneWriteFour, Elements(n)) => 5 * n,
            (Traffic::Copy, Elements(n)) => 8 * n,
            (Traffic::Read | Traffic::Write, Elements(n)) => 4 * n,
        }
    }

    /// A call on data of its own, to be repeated; on the threads of the current rayon pool if `shared`.
    pub fn prepare(self, shape: Shape, isa: Isa, shared: bool) -> Result<Box<dyn FnMut() + Send>, Error> {
        match shape {
            Product { m, n, k } => self.prepare_product([m, n, k], isa, shared),
            Elements(length) => self.prepare_elements(length, isa, shared),
        }
    }

    fn prepare_product(
        self,
        shape @ [_, n, k]: [usize; 3],
        isa: Isa,
        shared: bool,
    ) -> Result<Box<dyn FnMut() + Send>, Error> {
        let exec = if shared { Exec::from(isa).rayon() } else { isa.into() };
        let b = Aligned::of(bytes(k * n).map(|byte| byte as i8));
        if self == Operation::MatmulUnpacked {
            return repeat(shape, move |a, out| {
                let b = raw::unpacked::<u8, i8>(isa, Matrix::new(&b, k, n)?, 0.into())?;
                raw::matmul(exec, a, 0.into(), &b, &Accumulators, out)
            });
        }
        let b = Matrix::new(&b, k, n)?;
        if self == Operation::MatmulRequantize {
            let multipliers: Vec<f64> = (0..n).map(|j| (1.0 + j as f64 / n as f64) / 4096.0).collect();
            let stage = raw::requantize(Rule::Float, &multipliers, 3, 0_u8..=255)?;
            let zero_points: Vec<i32> = (0..n as i32).map(|j| j % 17 - 8).collect();
            let packed = raw::pack(isa, b, zero_points.as_slice().into())?.with_accumulator_bias(&vec![77; n])?;
            repeat(shape, move |a, out| raw::matmul(exec, a, 131.into(), &packed, &stage, out))
        } else {
            let packed = raw::pack::<u8, i8>(isa, b, 0.into())?;
            repeat(shape, move |a, out| raw::matmul(exec, a, 0.into(), &packed, &Accumulators, out))
        }
    }

    fn prepare_elements(self, length: usize, isa: Isa, shared: bool) -> Result<Box<dyn FnMut() + Send>, Error> {
        let x = match self {
            Operation::Words | Operation::Dequantize => Aligned::default(),
            _ => Aligned::of(bytes(length).map(|byte| f32::from(byte) / 64.0 - 2.0)),
        };
        let params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.0129, 117)?;
        let exec = if shared { Exec::from(isa).rayon() } else { isa.into() };
        let expect = |result: Result<(), Error>| result.expect("the lengths go together");
        Ok(match self {
            Operation::Quantize | Operation::QuantizeStochastic => {
                let stochastic = Rounding::Stochastic(Stream::new(42));
                let rounding = if self == Operation::Quantize { Rounding::Nearest } else { stochastic };
                let mut codes = Aligned::<u8>::zeros(length);
                Box::new(move || expect(quantize(exec, &*x, &params, rounding, &mut *codes)))
            }
            Operation::Dequantize => {
                let (codes, mut out) = (Aligned::of(bytes(length)), Aligned::<f32>::zeros(length));
                Box::new(move || expect(dequantize(exec, &*codes, &params, &mut *out)))
            }
            Operation::FakeQuantize => {
                let mut out = Aligned::<f32>::zeros(length);
                Box::new(move || expect(fake_quantize(exec, &*x, &params, Rounding::Nearest, &mut *out)))
            }
            Operation::MinMax => Box::new(move || {
                std::hint::black_box(min_max(exec, &x).expect("finite numbers"));
            }),
            _ => {
                let mut out = Aligned::<u32>::zeros(length);
                Box::new(move || {
                    fill_words(exec, Stream::new(42), &mut out).expect("the stream has as many words");
                })
            }
        })
    }
}

/// A product with an LHS and a result of its own.
fn repeat<T: Copy + Default + Send + 'static>(
    [m, n, k]: [usize; 3],
    mut multiply: impl FnMut(Matrix<'_, u8>, MatrixMut<'_, T>) -> Result<(), Error> + Send + 'static,
) -> Result<Box<dyn FnMut() + Send>, Error> {
    let (a, mut out) = (Aligned::of(bytes(m * k)), Aligned::<T>::zeros(m * n));
    let mut rows = move |m| multiply(Matrix::new(&a[..m * k], m, k)?, MatrixMut::new(&mut out[..m * n], m, n)?);
    // A depth beyond the accumulators is an error of one row, too.
    rows(1)?;
    Ok(Box::new(move || rows(m).expect("the shapes go together")))
}

/// Bytes of every value, the same in every run.
fn bytes(count: usize) -> impl ExactSizeIterator<Item = u8> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
}

/// Elements aligned to a cache line, so that alignment is the same for every candidate and in every run.
#[derive(Default)]
struct Aligned<T> {
    memory: Vec<T>,
    start: usize,
    length: usize,
}

impl<T: Copy + Default> Aligned<T> {
    const LINE: usize = 64;

    fn zeros(length: usize) -> Self {
        let memory = vec![T::default(); length + Self::LINE];
        let start = memory.as_ptr().align_offset(Self::LINE);
        Aligned { memory, start, length }
    }

    fn of(elements: impl ExactSizeIterator<Item = T>) -> Self {
        let mut aligned = Aligned::zeros(elements.len());
        aligned.iter_mut().zip(elements).for_each(|(to, element)| *to = element);
        aligned
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.memory[self.start..][..self.length]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory[self.start..][..self.length]
    }
}

impl Shape {
    /// Multiply-accumulates, or elements.
    pub fn work(self) -> f64 {
        match self {
            Product { m, n, k } => (m * n * k) as f64,
            Elements(length) => length as f64,
        }
    }

    /// The unit of its rate.
    pub fn unit(self) -> &'static str {
        match self {
            Product { .. } => "GMAC/s",
            Elements(_) => "Gelem/s",
        }
    }

    /// The size of a cube.
    pub fn cube(self) -> Option<usize> {
        match self {
            Product { m, n, k } if m == n && n == k => Some(m),
            _ => None,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Product { m, n, k } => f.pad(&format!("{m}x{n}x{k}")),
            Elements(length) if length % (1 << 20) == 0 => f.pad(&format!("{} Mi", length >> 20)),
            Elements(length) if length % (1 << 10) == 0 => f.pad(&format!("{} Ki", length >> 10)),
            Elements(length) => f.pad(&length.to_string()),
        }
    }
}

/// The most values of a matrix or a tensor that are measured.
const MOST: usize = 1 << 28;

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes = text.split(['x', '×']).map(|size| size.parse().ok().filter(|&size| size > 0));
        let (shape, values) = match sizes.collect::<Option<Vec<usize>>>().as_deref() {
            Some(&[m, n, k]) => (product(m, n, k), [m.checked_mul(k), n.checked_mul(k), m.checked_mul(n)]),
            Some(&[length]) => (Elements(length), [Some(length); 3]),
            _ => return Err("not MxNxK, nor a number".into()),
        };
        match values.iter().all(|values| values.is_some_and(|values| values <= MOST)) {
            true => Ok(shape),
            false => Err(format!("more than {MOST} values")),
        }
    }
}
