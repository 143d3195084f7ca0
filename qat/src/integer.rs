//! Training in integers: the products of the forward pass, of ∂x and of ∂W are sums of products of 8-bit codes in i32.
//!
//! ```text
//! forward   y  = S_x·S_w · Σ qx·qw + b
//! ∂x           = S_g·S_w · Σ qg·qw           g: the gradient of y, quantized to 8 bits
//! ∂W           = S_g·S_x · Σ qg·qx
//! ∂b           = S_g · Σ qg
//! ```
//!
//! All operands are symmetric with one scale each, from the largest magnitude of the tensor. Operands of the forward pass
//! are rounded to nearest; gradients stochastically, or to nearest for comparison. Sums are exact, so that their order does
//! not matter. In float are: scales, pooling, the cross entropy, and the optimizer with the weights that it adds to. A
//! convolution is a product of its windows, and the gradients of windows are added up in float, in order. Gradients pass
//! straight through the rounding; nothing is clamped.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::{CpuStorage, CustomOp3, Device, Error, Layout, Result, Shape, Tensor};
use zeropoint::{
    Accumulators, CodeRange, Exec, Granularity, Matrix, MatrixMut, PackedMatrix, QuantParams, Quantized, Rounding,
    Scheme, Stream, matmul, quantize,
};

use crate::ops::{values, windows};
use crate::products::transposed;

/// Where integer products run, and how gradients are rounded.
pub struct Integers {
    exec: Exec<'static>,
    /// Where the next stochastic rounding begins; `None` rounds to nearest.
    stream: Option<Mutex<Stream>>,
}

/// The codes of a matrix, row-major, with one scale.
struct Codes {
    codes: Vec<i8>,
    rows: usize,
    columns: usize,
    params: QuantParams<i8>,
}

impl Codes {
    fn new(
        exec: Exec<'_>,
        x: &[f32],
        [rows, columns]: [usize; 2],
        rounding: Rounding,
    ) -> std::result::Result<Self, zeropoint::Error> {
        let range = CodeRange::narrow(8)?;
        let fitted = QuantParams::fit(exec, x, range, Scheme::SYMMETRIC, Granularity::Tensor)?;
        // Parameters for either rounding: no value is beyond the largest magnitude, whose code is 127, so that stochastic
        // rounding needs no headroom.
        let params = QuantParams::per_tensor(range, fitted.scales()[0], 0)?;
        let mut codes = vec![0; x.len()];
        quantize(exec, x, &params, rounding, &mut codes)?;
        Ok(Codes { codes, rows, columns, params })
    }

    fn transposed(&self) -> Self {
        Codes {
            codes: transposed(&self.codes, self.rows, self.columns),
            rows: self.columns,
            columns: self.rows,
            params: self.params.clone(),
        }
    }

    fn scale(&self) -> f32 {
        self.params.scales()[0]
    }

    /// `self · otherᵀ` of two matrices with rows of one length: the sums, times both scales.
    fn product(&self, exec: Exec<'_>, other: &Codes) -> std::result::Result<Vec<f32>, zeropoint::Error> {
        let right = Quantized::new(Matrix::new(&other.codes, other.rows, other.columns)?, &other.params)?;
        let right: PackedMatrix<i8, i8> = PackedMatrix::pack(exec, right)?;
        let left = Quantized::new(Matrix::new(&self.codes, self.rows, self.columns)?, &self.params)?;
        let mut sums = vec![0; self.rows * other.rows];
        matmul(exec, left, &right, &Accumulators, MatrixMut::new(&mut sums, self.rows, other.rows)?)?;
        let scale = self.scale() * other.scale();
        Ok(sums.into_iter().map(|sum| sum as f32 * scale).collect())
    }
}

impl Integers {
    /// Gradients are rounded stochastically, by the stream of this seed, or to nearest.
    #[must_use]
    pub fn new(exec: Exec<'static>, seed: Option<u64>) -> Self {
        Integers { exec, stream: seed.map(|seed| Mutex::new(Stream::new(seed))) }
    }

    fn gradient(&self, gradient: &[f32], shape: [usize; 2]) -> std::result::Result<Codes, zeropoint::Error> {
        let rounding = match &self.stream {
            None => Rounding::Nearest,
            Some(stream) => {
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                let here = *stream;
                *stream = stream.skip(gradient.len() as u64)?;
                here.into()
            }
        };
        Codes::new(self.exec, gradient, shape, rounding)
    }
}

/// `x · wᵀ + b` of `[rows, inputs]`, `[outputs, inputs]` and `[outputs]`, with all products in integers.
///
/// # Errors
/// Other shapes and types; values that are not finite.
pub fn linear(integers: &Arc<Integers>, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op3(&w.contiguous()?, b, Product { integers: integers.clone(), forward: OnceLock::new() })
}

/// The convolution of `[images, channels, height, width]` with `[outputs, channels, window, window]` plus a bias
/// `[outputs]`, with all products in integers.
///
/// # Errors
/// Other shapes and types; values that are not finite.
pub fn conv2d(integers: &Arc<Integers>, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (images, _, height, width) = x.dims4()?;
    let (outputs, _, window, _) = w.dims4()?;
    let y = linear(integers, &windows(x, window)?, &w.flatten_from(1)?, b)?;
    y.reshape((images, height + 1 - window, width + 1 - window, outputs))?.permute((0, 3, 1, 2))?.contiguous()
}

struct Product {
    integers: Arc<Integers>,
    /// The codes of x and w, for the backward pass.
    forward: OnceLock<[Codes; 2]>,
}

impl CustomOp3 for Product {
    fn name(&self) -> &'static str {
        "integer product"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((rows, inputs), (outputs, w_inputs)) = (x_layout.shape().dims2()?, w_layout.shape().dims2()?);
        if inputs != w_inputs {
            return Err(Error::msg(format!("{}: {inputs} and {w_inputs} inputs", self.name())).bt());
        }
        let (x, w) = (values(self.name(), x, x_layout)?, values(self.name(), w, w_layout)?);
        let exec = self.integers.exec;
        let run = || {
            let x = Codes::new(exec, x, [rows, inputs], Rounding::Nearest)?;
            let w = Codes::new(exec, w, [outputs, inputs], Rounding::Nearest)?;
            Ok((x.product(exec, &w)?, [x, w]))
        };
        let (mut out, codes) = run().map_err(|error: zeropoint::Error| Error::wrap(error))?;
        let b = values(self.name(), b, b_layout)?;
        for row in out.chunks_exact_mut(outputs) {
            row.iter_mut().zip(b).for_each(|(y, b)| *y += b);
        }
        self.forward.set(codes).map_err(|_| Error::msg("a call is one forward pass").bt())?;
        Ok((CpuStorage::F32(out), (rows, outputs).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [x_codes, w_codes] = self.forward.get().ok_or_else(|| Error::msg("backward before forward").bt())?;
        let gradient: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
        let exec = self.integers.exec;
        let needs_dx = x.track_op();
        let run = || {
            let g = self.integers.gradient(&gradient, [x_codes.rows, w_codes.rows])?;
            let dx = if needs_dx { Some(g.product(exec, &w_codes.transposed())?) } else { None };
            let dw = g.transposed().product(exec, &x_codes.transposed())?;
            let mut sums = vec![0_i32; g.columns];
            for row in g.codes.chunks_exact(g.columns) {
                sums.iter_mut().zip(row).for_each(|(sum, &code)| *sum += i32::from(code));
            }
            let db: Vec<f32> = sums.into_iter().map(|sum| sum as f32 * g.scale()).collect();
            Ok((dx, dw, db))
        };
        let (dx, dw, db) = run().map_err(|error: zeropoint::Error| Error::wrap(error))?;
        debug_assert_eq!(y.elem_count(), gradient.len());
        let dx = dx.map(|dx| Tensor::from_vec(dx, x.shape(), &Device::Cpu)).transpose()?;
        let dw = Tensor::from_vec(dw, w.shape(), &Device::Cpu)?;
        Ok((dx, Some(dw), Some(Tensor::from_vec(db, b.shape(), &Device::Cpu)?)))
    }
}
