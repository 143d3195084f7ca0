//! Does a peer compute what was asked? Its result beside the reference's.

use std::fmt;

use serde::Serialize;
use zeropoint::raw::ZeroPoints;
use zeropoint::{Code, Matrix, reference};

use crate::peers::Output;
use crate::problem::{Problem, Workload};
use crate::shapes::Shape;

/// Multiplications up to which the whole result is checked; of larger products, a sample is.
const WHOLE: f64 = 20e6;

/// Elements of a sample.
const SAMPLE: usize = 512;

/// What the comparison found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Verdict {
    /// Nothing to compare: floats.
    Unchecked,
    /// Equal everywhere.
    Exact,
    /// Codes that round differently, by one step at most.
    Rounds {
        /// Elements that differ.
        differ: usize,
        /// Elements that were compared.
        of: usize,
    },
    /// Reals as near to the exact product as such weights allow.
    Near {
        /// The root mean square of the error, relative to that of the product.
        error: f64,
    },
    /// Reals that are not.
    Far {
        /// As of those that are near.
        error: f64,
    },
    /// Equal for 7-bit codes, different for full-range ones.
    Saturates {
        /// The largest difference.
        largest: u64,
    },
    /// Different.
    Disagrees {
        /// The largest difference.
        largest: u64,
    },
}

impl Verdict {
    /// May the result be used in place of the reference's?
    pub fn is_right(self) -> bool {
        !matches!(self, Verdict::Saturates { .. } | Verdict::Disagrees { .. } | Verdict::Far { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Unchecked => write!(f, "not checked"),
            Verdict::Exact => write!(f, "exact"),
            Verdict::Rounds { differ, of } => write!(f, "rounds differently by one step in {differ} of {of} elements"),
            Verdict::Near { error } => write!(f, "relative error {:.2} %", error * 100.0),
            Verdict::Far { error } => write!(f, "too far from the product, relative error {:.2} %", error * 100.0),
            Verdict::Saturates { largest } => write!(f, "saturates on full-range data, by up to {largest}"),
            Verdict::Disagrees { largest } => write!(f, "disagrees, by up to {largest}"),
        }
    }
}

/// The elements of a result that are compared: their indices, sums (with zero points and bias), and codes.
pub struct Expected {
    elements: Vec<(usize, i64, u8)>,
}

impl Expected {
    /// Computes them. `per_column`: B has a zero point for every column.
    pub fn new(problem: &Problem, workload: Workload, per_column: bool) -> Self {
        match workload {
            Workload::I8i8 => Expected::of(problem, workload, &problem.signed_a, per_column),
            _ => Expected::of(problem, workload, &problem.a, per_column),
        }
    }

    fn of<A: Code>(problem: &Problem, workload: Workload, a: &[A], per_column: bool) -> Self {
        let Shape { m, n, k } = problem.shape;
        let zero_points = match workload.has_zero_points() {
            true if per_column => problem.b_zero_points.iter().map(|&zero_point| zero_point.into()).collect(),
            true => vec![problem.b_zero_point.into(); n],
            false => vec![0; n],
        };
        let a_zero_point = if workload.has_zero_points() { problem.a_zero_point.into() } else { 0 };
        let bias = (workload == Workload::Requantize).then_some(problem.bias.as_slice());

        let sums: Vec<(usize, i64)> = if problem.shape.macs() <= WHOLE {
            let a = Matrix::new(a, m, k).expect("A is M × K");
            let b = Matrix::new(&problem.b, k, n).expect("B is K × N");
            let zero_points = ZeroPoints::Each(&zero_points);
            reference::matmul(a, a_zero_point.into(), b, zero_points, bias).into_iter().enumerate().collect()
        } else {
            let sum = |element: usize| {
                let (row, column) = (element / n, element % n);
                let product = |k_: usize| {
                    let (a, b): (i32, i32) = (a[row * k + k_].into(), problem.b[k_ * n + column].into());
                    i64::from(a - a_zero_point) * i64::from(b - zero_points[column])
                };
                (0..k).map(product).sum::<i64>() + bias.map_or(0, |bias| i64::from(bias[column]))
            };
            // A stride without a common divisor with most widths, and the last element.
            let stride = (m * n / SAMPLE) | 1;
            (0..m * n).step_by(stride).chain([m * n - 1]).map(|element| (element, sum(element))).collect()
        };
        let code = |element: usize, sum: i64| {
            let real = sum as f32 * problem.multipliers[element % n];
            (real.round_ties_even() + f32::from(problem.out_zero_point)).clamp(0.0, 255.0) as u8
        };
        Expected { elements: sums.into_iter().map(|(element, sum)| (element, sum, code(element, sum))).collect() }
    }

    /// Compares.
    pub fn compare(&self, output: Output<'_>) -> Verdict {
        let difference = |&(element, sum, code): &(usize, i64, u8)| match output {
            Output::Sums(sums) => i64::from(sums[element]).abs_diff(sum),
            Output::Codes(codes) => codes[element].abs_diff(code).into(),
            Output::Reals(_) => 0,
        };
        let differ = self.elements.iter().filter(|&element| difference(element) > 0).count();
        let largest = self.elements.iter().map(difference).max().unwrap_or(0);
        match (output, largest) {
            (Output::Reals(_), _) => Verdict::Unchecked,
            (_, 0) => Verdict::Exact,
            (Output::Codes(_), 1) => Verdict::Rounds { differ, of: self.elements.len() },
            _ => Verdict::Disagrees { largest },
        }
    }
}
