//! Learned scales, by LSQ (Esser et al., "Learned step size quantization", 2020).

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Device, Error, Layout, Result, Shape, Tensor, Var};
use zeropoint::training::{Gradients, fake_quantize_gradients, lsq_factor};
use zeropoint::{Code, Exec, QuantParams, Rounding};

use super::quantizer::{Params, Quantizer};
use crate::error::{LibraryResult, wrapped};
use crate::input::only_f32;

const OP: &str = "zeropoint-learned-scales";

/// The scales of a quantizer, and the zero points that its first tensor gave it.
#[derive(Clone, Debug)]
pub(super) struct Learned {
    pub scales: Var,
    pub zero_points: Vec<i32>,
}

impl Learned {
    /// LSQ's first scales: twice the mean magnitude of a group, over the square root of the largest code; zero points are
    /// those of the scheme.
    pub fn new(x: &[f32], scheme: &Params) -> Result<Self> {
        let zero_points = scheme.zero_points().to_vec();
        let (granularity, max) = match scheme {
            Params::Signed(params) => (params.granularity(), i32::from(params.codes().max())),
            Params::Unsigned(params) => (params.granularity(), i32::from(params.codes().max())),
        };
        let mut sums = vec![(0.0_f64, 0_usize); zero_points.len()];
        for (i, &x) in x.iter().enumerate() {
            let (sum, count) = &mut sums[granularity.group_of(i)];
            *sum += f64::from(x.abs());
            *count += 1;
        }
        let scale = |(&(sum, count), scale): (&(f64, usize), &f32)| {
            let learned = (2.0 * sum / (count as f64 * f64::from(max).sqrt())) as f32;
            // A group of zeros has no magnitude: it begins with the scale of the scheme.
            if learned > 0.0 { learned } else { *scale }
        };
        let scales: Vec<f32> = sums.iter().zip(scheme.scales()).map(scale).collect();
        let count = scales.len();
        Ok(Learned { scales: Var::from_tensor(&Tensor::from_vec(scales, count, &Device::Cpu)?)?, zero_points })
    }
}

/// One call of a quantizer whose scales are learned, with these scales as its second operand.
pub(super) struct FakeQuantizeLearned {
    quantizer: Quantizer,
    train: bool,
    forward: OnceLock<(Params, Rounding)>,
}

impl FakeQuantizeLearned {
    pub fn new(quantizer: Quantizer, train: bool) -> Self {
        FakeQuantizeLearned { quantizer, train, forward: OnceLock::new() }
    }
}

impl CustomOp2 for FakeQuantizeLearned {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        scales: &CpuStorage,
        scales_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, scales) = (only_f32(OP, x, x_layout)?, only_f32(OP, scales, scales_layout)?);
        let run = || {
            let params = self.quantizer.learned_params(&scales, x_layout.dims())?;
            let rounding = if self.train { self.quantizer.take_rounding(x.len())? } else { Rounding::Nearest };
            let out = params.fake(self.quantizer.exec(), &x, rounding)?.0;
            Ok((out, (params, rounding)))
        };
        let (out, forward) = run().map_err(wrapped(OP))?;
        self.forward.set(forward).map_err(|_| Error::msg(format!("{OP}: a call is one forward pass")).bt())?;
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scales: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let backward = || Error::msg(format!("{OP}: backward before forward")).bt();
        let (params, rounding) = self.forward.get().ok_or_else(backward)?;
        let exec = self.quantizer.exec();
        let ds = OnceLock::new();
        let dx =
            gradient.apply_op2_no_bwd(&x.detach(), &Backward { exec, params, rounding: *rounding, scales: &ds })?;
        let ds = ds.into_inner().unwrap_or_default();
        Ok((Some(dx), Some(Tensor::from_vec(ds, scales.shape(), &Device::Cpu)?)))
    }
}

/// Maps the gradient of the result and x to the gradient of x. The gradient of the scales, times LSQ's factor, is left in
/// `scales`.
struct Backward<'a> {
    exec: Exec<'static>,
    params: &'a Params,
    rounding: Rounding,
    scales: &'a OnceLock<Vec<f32>>,
}

impl Backward<'_> {
    fn run<C: Code>(&self, x: &[f32], gradient: &[f32], params: &QuantParams<C>) -> LibraryResult<Vec<f32>> {
        let (mut dx, mut ds) = (vec![0.0; x.len()], vec![0.0; params.scales().len()]);
        let gradients = Gradients { x: &mut dx, scales: &mut ds, zero_points: None };
        fake_quantize_gradients(self.exec, x, gradient, params, self.rounding, gradients)?;
        let factor = lsq_factor(params.codes(), (x.len() / ds.len()).max(1));
        self.scales.get_or_init(|| ds.iter().map(|gradient| (gradient * factor) as f32).collect());
        Ok(dx)
    }
}

impl CustomOp2 for Backward<'_> {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, gradient) = (only_f32(OP, x, x_layout)?, only_f32(OP, gradient, gradient_layout)?);
        let dx = match self.params {
            Params::Signed(params) => self.run(&x, &gradient, params),
            Params::Unsigned(params) => self.run(&x, &gradient, params),
        };
        Ok((CpuStorage::F32(dx.map_err(wrapped(OP))?), x_layout.shape().clone()))
    }
}

/// Makes the scales of a tensor that no call has seen yet.
pub(super) struct Begin<'a>(pub &'a Quantizer);

impl CustomOp1 for Begin<'_> {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = only_f32(OP, storage, layout)?;
        self.0.begin_learning(&x, layout.dims())?;
        Ok((CpuStorage::F32(Vec::new()), 0.into()))
    }
}
