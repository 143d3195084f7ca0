//! This library.

use zeropoint::groups::{Activations, GroupScheme, PackedWeights, RealStage, StoredWeights, matmul};
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::{Accumulators, Error, Isa, Matrix, MatrixMut, Rule, Scheme, raw};

use super::{Element, Multiply, Peer, into};
use crate::problem::{Problem, Workload};
use crate::real::RealProblem;
use crate::shapes::Shape;

/// This library on an ISA.
pub struct Zeropoint {
    /// The ISA.
    pub isa: Isa,
}

impl Peer for Zeropoint {
    fn name(&self) -> String {
        format!("zeropoint {}", self.isa)
    }

    fn version(&self) -> String {
        format!("of this repository, kernel {}", self.isa.kernel())
    }

    fn column_zero_points(&self) -> bool {
        true
    }

    fn prepare_real<'p>(&'p self, problem: &'p RealProblem) -> Option<Box<dyn Multiply + 'p>> {
        real_product(self.isa, problem).ok()?
    }

    fn prepare<'p>(&'p self, workload: Workload, problem: &'p Problem) -> Option<Box<dyn Multiply + 'p>> {
        let Shape { m, n, k } = problem.shape;
        let isa = self.isa;
        let b = Matrix::new(&problem.b, k, n).ok()?;
        let a = Matrix::new(&problem.a, m, k).ok()?;
        let a_zero_point = i32::from(problem.a_zero_point);
        let zero_points: Vec<i32> = problem.b_zero_points.iter().map(|&zero_point| zero_point.into()).collect();
        match workload {
            Workload::U8i8 => {
                let packed = raw::pack(isa, b, 0.into()).ok()?;
                product(m, n, move |c| raw::matmul(isa, a, 0.into(), &packed, &Accumulators, c))
            }
            Workload::I8i8 => {
                let a = Matrix::new(&problem.signed_a, m, k).ok()?;
                let packed = raw::pack(isa, b, 0.into()).ok()?;
                product(m, n, move |c| raw::matmul(isa, a, 0.into(), &packed, &Accumulators, c))
            }
            Workload::ZeroPoints => {
                let packed = raw::pack(isa, b, zero_points[..].into()).ok()?;
                product(m, n, move |c| raw::matmul(isa, a, a_zero_point.into(), &packed, &Accumulators, c))
            }
            Workload::Requantize => {
                let packed = raw::pack(isa, b, zero_points[..].into()).ok()?;
                let packed = packed.with_accumulator_bias(&problem.bias).ok()?;
                let multipliers: Vec<f64> = problem.multipliers.iter().map(|&m| m.into()).collect();
                let zero_point = problem.out_zero_point.into();
                let stage = raw::requantize(Rule::Float, &multipliers, zero_point, 0..=u8::MAX).ok()?;
                product(m, n, move |c| raw::matmul(isa, a, a_zero_point.into(), &packed, &stage, c))
            }
            Workload::Unpacked => {
                let b = raw::unpacked(isa, b, 0.into()).ok()?;
                product(m, n, move |c| raw::matmul(isa, a, 0.into(), &b, &Accumulators, c))
            }
            Workload::Groups4 | Workload::Groups4By128 | Workload::Groups8 => None,
        }
    }
}

/// A product of reals by weights with f16 scales, as ggml's types have them.
fn real_product<'p>(isa: Isa, problem: &'p RealProblem) -> Result<Option<Box<dyn Multiply + 'p>>, Error> {
    let Shape { m, n, k } = problem.shape;
    let scheme = GroupScheme::symmetric(problem.groups.bits, problem.groups.length)?.f16_scales();
    let weights = StoredWeights::quantize(isa, Matrix::new(&problem.weights, n, k)?, scheme)?;
    let packed = PackedWeights::pack(isa, &weights.weights())?;
    let x = Activations::reals(Matrix::new(&problem.x, m, k)?, Scheme::SYMMETRIC);
    Ok(into(m * n, move |out: &mut [f32]| matmul(isa, &x, &packed, &RealStage::new(), out).expect("the shapes fit")))
}

/// A product that is repeated into the same result; `None` if it is refused.
fn product<'p, T: Element + 'p>(
    m: usize,
    n: usize,
    mut multiply: impl FnMut(MatrixMut<'_, T>) -> Result<(), Error> + 'p,
) -> Option<Box<dyn Multiply + 'p>> {
    multiply(MatrixMut::new(&mut vec![T::default(); m * n], m, n).ok()?).ok()?;
    into(m * n, move |c: &mut [T]| MatrixMut::new(c, m, n).and_then(&mut multiply).expect("it was not refused"))
}
