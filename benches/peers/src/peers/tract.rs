//! The crate `tract-linalg`: i8 × i8 → i32.

use tract_data::prelude::{DatumType, Tensor};
use tract_linalg::MmmDispatch;
use tract_linalg::mmm::{AsInputValue, FusedSpec, MMMInputValue, MatMatMul, ScratchSpace};

use super::{Multiply, Output, Peer};
use crate::problem::{Problem, Workload};
use crate::shapes::Shape;

/// The kernel that the crate prefers for a shape.
pub struct Tract;

/// The packing of i8 operands of every i32 kernel.
const I8I8: usize = 1;

struct Call {
    kernel: Box<dyn MatMatMul>,
    scratch: Box<dyn ScratchSpace>,
    shape: Shape,
    a: Tensor,
    b: Box<dyn MMMInputValue>,
    c: Tensor,
}

impl Peer for Tract {
    fn name(&self) -> String {
        "tract-linalg".into()
    }

    fn version(&self) -> String {
        let kernel = MmmDispatch::native().preferred_kernel(DatumType::I32, Some(256), Some(256), Some(256));
        format!("0.23, kernel {}", kernel.as_ref().map_or("none", |kernel| kernel.name()))
    }

    fn prepare<'p>(&'p self, workload: Workload, problem: &'p Problem) -> Option<Box<dyn Multiply + 'p>> {
        if workload != Workload::I8i8 {
            return None;
        }
        let Shape { m, n, k } = problem.shape;
        let kernel = MmmDispatch::native().preferred_kernel(DatumType::I32, Some(m), Some(k), Some(n))?;
        let a = Tensor::from_shape(&[m, k], &problem.signed_a).ok()?;
        let b = Tensor::from_shape(&[k, n], &problem.b).ok()?;
        let b = kernel.packings().get(I8I8)?.1.prepare_one(&b, 0, 1).ok()?;
        let c = Tensor::zero::<i32>(&[m, n]).ok()?;
        // SAFETY: it makes an empty scratch space, which belongs to this kernel.
        let scratch = unsafe { kernel.allocate_scratch_space() };
        Some(Box::new(Call { kernel, scratch, shape: problem.shape, a, b, c }))
    }
}

impl Multiply for Call {
    /// A is packed here: the crate's kernels read nothing else.
    fn multiply(&mut self) {
        let a = self.kernel.packings()[I8I8].0.prepare_one(&self.a, 1, 0).expect("A is a matrix of i8");
        // SAFETY: `c` is an M × N tensor of i32 with its rows on axis 0; the operands are packed for this kernel, with
        // the packing named; the scratch space is this kernel's.
        unsafe {
            let store = self.kernel.c_view(Some(0), Some(1)).wrap(&self.c.view_mut());
            let operands = FusedSpec::AddMatMul {
                a: AsInputValue::Borrowed(&*a),
                b: AsInputValue::Borrowed(&*self.b),
                packing: I8I8,
            };
            let specs = [operands, FusedSpec::Store(store)];
            self.kernel.run_with_scratch_space(self.shape.m, self.shape.n, &mut *self.scratch, &specs)
        }
        .expect("packed for this kernel");
    }

    fn result(&self) -> Output<'_> {
        Output::Sums(self.c.view().as_slice().expect("a dense tensor of i32"))
    }
}
