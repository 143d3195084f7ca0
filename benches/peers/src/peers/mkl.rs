//! Intel's MKL, loaded at run time: `cblas_gemm_s8u8s32`.
//!
//! Its left operand is i8 and its right one u8. A row-major matrix is a column-major one transposed, so Cᵀ = Bᵀ · Aᵀ in
//! column-major order is what was asked, with B on the left.

use std::ffi::{c_char, c_int, c_void};
use std::path::Path;

use super::wheels::{self, Lines, functions};
use super::{Multiply, Peer, into};
use crate::problem::{Problem, Workload};
use crate::shapes::Shape;

const COLUMN_MAJOR: c_int = 102;
const AS_IT_LIES: c_int = 111;
const PACKED: c_int = 151;
const LEFT: c_int = 161;
const ONE_OFFSET: c_int = 173;
const SEQUENTIAL: c_int = 1;

functions! {
    /// With 32-bit sizes.
    Functions {
        fn MKL_Set_Threading_Layer(layer: c_int) -> c_int;
        fn MKL_Get_Version_String(text: *mut c_char, length: c_int);
        fn cblas_gemm_s8u8s32(
            layout: c_int, a_form: c_int, b_form: c_int, c_offsets: c_int, m: c_int, n: c_int, k: c_int, alpha: f32,
            a: *const c_void, a_stride: c_int, a_offset: i8, b: *const c_void, b_stride: c_int, b_offset: i8, beta: f32,
            c: *mut i32, c_stride: c_int, c_offset: *const i32,
        );
        fn cblas_gemm_s8u8s32_pack_get_size(operand: c_int, m: c_int, n: c_int, k: c_int) -> usize;
        fn cblas_gemm_s8u8s32_pack(
            layout: c_int, operand: c_int, form: c_int, m: c_int, n: c_int, k: c_int, source: *const c_void,
            stride: c_int, packed: *mut c_void,
        );
        fn cblas_gemm_s8u8s32_compute(
            layout: c_int, a_form: c_int, b_form: c_int, c_offsets: c_int, m: c_int, n: c_int, k: c_int, alpha: f32,
            a: *const c_void, a_stride: c_int, a_offset: i8, b: *const c_void, b_stride: c_int, b_offset: i8, beta: f32,
            c: *mut i32, c_stride: c_int, c_offset: *const i32,
        );
    }
}

/// MKL on one thread.
pub struct Mkl {
    functions: Functions,
}

impl Mkl {
    /// Opens the library.
    pub fn load(path: Option<&Path>) -> Result<Self, String> {
        let library = wheels::open(path, &["libmkl_rt.so.3", "libmkl_rt.so.2", "libmkl_rt.so"])?;
        let functions = Functions::of(library)?;
        // SAFETY: it takes one of the layers' numbers, before any other function is called.
        unsafe { (functions.MKL_Set_Threading_Layer)(SEQUENTIAL) };
        Ok(Mkl { functions })
    }
}

impl Peer for Mkl {
    fn name(&self) -> String {
        "MKL".into()
    }

    fn version(&self) -> String {
        let mut text = [0_u8; 200];
        // SAFETY: the text has room for the length named.
        unsafe { (self.functions.MKL_Get_Version_String)(text.as_mut_ptr().cast(), text.len() as c_int) };
        String::from_utf8_lossy(&text).trim_matches([' ', '\0']).to_owned()
    }

    fn prepare<'p>(&'p self, workload: Workload, problem: &'p Problem) -> Option<Box<dyn Multiply + 'p>> {
        let Shape { m, n, k } = problem.shape;
        let [rows, columns, depth] = [m, n, k].map(|size| size as c_int);
        if !matches!(workload, Workload::U8i8 | Workload::ZeroPoints | Workload::Unpacked) {
            return None;
        }
        // Offsets are added.
        let (a_offset, b_offset) = match workload.has_zero_points() {
            true => (i8::try_from(-i32::from(problem.a_zero_point)).ok()?, -problem.b_zero_point),
            false => (0, 0),
        };
        let packed = (workload != Workload::Unpacked).then(|| {
            // SAFETY: a function of numbers.
            let size = unsafe { (self.functions.cblas_gemm_s8u8s32_pack_get_size)(LEFT, columns, rows, depth) };
            let mut packed = Lines::new(size);
            // SAFETY: column-major Bᵀ is N × K with N from a column to the next, as many elements as `b` has; the
            // destination has the size asked for.
            unsafe {
                (self.functions.cblas_gemm_s8u8s32_pack)(
                    COLUMN_MAJOR,
                    LEFT,
                    AS_IT_LIES,
                    columns,
                    rows,
                    depth,
                    problem.b.as_ptr().cast(),
                    columns,
                    packed.as_mut_ptr().cast(),
                );
            }
            packed
        });
        into(m * n, move |out: &mut [i32]| {
            let (gemm, b_form, b) = match &packed {
                Some(packed) => (self.functions.cblas_gemm_s8u8s32_compute, PACKED, packed.as_ptr().cast()),
                None => (self.functions.cblas_gemm_s8u8s32, AS_IT_LIES, problem.b.as_ptr().cast()),
            };
            // SAFETY: column-major Bᵀ is N × K (or packed as such), Aᵀ K × M, Cᵀ N × M: the slices have as many elements;
            // there is one offset of C.
            unsafe {
                gemm(
                    COLUMN_MAJOR,
                    b_form,
                    AS_IT_LIES,
                    ONE_OFFSET,
                    columns,
                    rows,
                    depth,
                    1.0,
                    b,
                    columns,
                    b_offset,
                    problem.a.as_ptr().cast(),
                    depth,
                    a_offset,
                    0.0,
                    out.as_mut_ptr(),
                    columns,
                    &0,
                );
            }
        })
    }
}
