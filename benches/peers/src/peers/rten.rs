//! The crate `rten-gemm`: u8 × i8 → i32.

use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions, QuantParams};
use rten_tensor::NdTensorView;

use super::{Multiply, Peer, into};
use crate::problem::{Problem, Workload};
use crate::shapes::Shape;

/// The executor with the kernel of this CPU.
#[derive(Default)]
pub struct Rten {
    executor: GemmExecutor<u8, i8, i32>,
}

impl Peer for Rten {
    fn name(&self) -> String {
        "rten-gemm".into()
    }

    fn version(&self) -> String {
        format!("0.27, kernel {}", self.executor.kernel_name())
    }

    /// It says yes, but 0.27 packs the first panel's zero points into every whole panel of B, so that they are right only
    /// where all are the same.
    /// Zero points of B are of no effect once it is prepacked, so it is not where there are any. One row has a routine
    /// of its own that reads B as it lies: it takes the place of prepacking there.
    fn prepare<'p>(&'p self, workload: Workload, problem: &'p Problem) -> Option<Box<dyn Multiply + 'p>> {
        let Shape { m, n, k } = problem.shape;
        let a = NdTensorView::from_data([m, k], problem.a.as_slice());
        let b = NdTensorView::from_data([k, n], problem.b.as_slice());
        let packed = match workload {
            Workload::U8i8 if m > 1 => Some(self.executor.prepack_b(b)),
            Workload::U8i8 | Workload::Unpacked | Workload::ZeroPoints => None,
            _ => return None,
        };
        let with_zero_points = workload.has_zero_points();
        let a_zero_points = vec![problem.a_zero_point; m];
        let b_zero_points = vec![problem.b_zero_point; n];
        into(m * n, move |out| {
            let options = GemmOptions {
                a_quant: with_zero_points.then_some(QuantParams { zero_point: &a_zero_points }),
                b_quant: with_zero_points.then_some(QuantParams { zero_point: &b_zero_points }),
                ..GemmOptions::default()
            };
            let b = packed.as_ref().map_or(GemmInputB::Unpacked(b), GemmInputB::Packed);
            self.executor.gemm(out, GemmInputA::Unpacked(a), b, options).expect("shapes go together");
        })
    }
}
