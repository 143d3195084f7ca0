//! The crate `gemm`: f32, for context. It packs on every call.

use gemm::{Parallelism, gemm};

use super::{Multiply, Peer, into};
use crate::problem::{Problem, Workload};
use crate::shapes::Shape;

/// f32 × f32 → f32.
pub struct Gemm;

impl Peer for Gemm {
    fn name(&self) -> String {
        "gemm (f32)".into()
    }

    fn version(&self) -> String {
        "0.19".into()
    }

    fn prepare<'p>(&'p self, workload: Workload, problem: &'p Problem) -> Option<Box<dyn Multiply + 'p>> {
        if workload != Workload::U8i8 {
            return None;
        }
        let Shape { m, n, k } = problem.shape;
        let a: Vec<f32> = problem.a.iter().map(|&a| a.into()).collect();
        let b: Vec<f32> = problem.b.iter().map(|&b| b.into()).collect();
        into(m * n, move |out: &mut [f32]| {
            let (a_stride, b_stride) = (k as isize, n as isize);
            // SAFETY: the strides are those of row-major M × K, K × N and M × N slices, which have that many elements.
            unsafe {
                gemm(
                    m,
                    n,
                    k,
                    out.as_mut_ptr(),
                    1,
                    b_stride,
                    false,
                    a.as_ptr(),
                    1,
                    a_stride,
                    b.as_ptr(),
                    1,
                    b_stride,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    Parallelism::None,
                );
            }
        })
    }
}
