//! The kinds of linear layers that are compared.

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Result, Tensor};
use candle_nn::VarBuilder;
use zeropoint::Exec;
use zeropoint_candle::{LinearScheme, linear};

use crate::bert::{Bert, Layer};
use crate::model::Model;

/// A kind of linear layers.
pub struct Candidate {
    /// Its name in tables.
    pub name: &'static str,
    /// Whether its speed is measured, too.
    pub is_timed: bool,
    kind: Kind,
    /// The least cosine to candle's f32 that is aimed at.
    pub aim: Option<f64>,
}

enum Kind {
    Candle,
    CandleQuantized(GgmlDType),
    Zeropoint(fn() -> Result<LinearScheme>),
    /// A constant in place of every linear layer: the time of everything else.
    Constant,
}

/// All of them, candle's f32 first.
pub const CANDIDATES: [Candidate; 11] = [
    candidate("candle f32", true, Kind::Candle, None),
    candidate("candle Q8_0", true, Kind::CandleQuantized(GgmlDType::Q8_0), None),
    candidate("candle Q4_0", true, Kind::CandleQuantized(GgmlDType::Q4_0), None),
    candidate("candle Q4_1", false, Kind::CandleQuantized(GgmlDType::Q4_1), None),
    candidate("candle Q5_0", false, Kind::CandleQuantized(GgmlDType::Q5_0), None),
    candidate("int8", true, Kind::Zeropoint(|| Ok(LinearScheme::int8())), Some(0.995)),
    candidate("int8, asymmetric", false, Kind::Zeropoint(|| Ok(LinearScheme::int8().asymmetric())), Some(0.995)),
    candidate("8 bits in 32", true, Kind::Zeropoint(|| in_groups(8)), Some(0.995)),
    candidate("5 bits in 32", false, Kind::Zeropoint(|| in_groups(5)), Some(0.98)),
    candidate("4 bits in 32", true, Kind::Zeropoint(|| in_groups(4)), Some(0.98)),
    candidate("no linear layers", true, Kind::Constant, None),
];

const fn candidate(name: &'static str, is_timed: bool, kind: Kind, aim: Option<f64>) -> Candidate {
    Candidate { name, is_timed, kind, aim }
}

/// Weights and activations in groups of 32.
fn in_groups(bits: u32) -> Result<LinearScheme> {
    Ok(LinearScheme::groups(bits, 32)?.activations_in_groups(32))
}

impl Candidate {
    /// Whether its embeddings depend on the sentence: those without linear layers do not.
    pub fn has_embeddings(&self) -> bool {
        !matches!(self.kind, Kind::Constant)
    }

    /// The model with such layers, on the threads of the rayon pool.
    pub fn bert(&self, model: &Model) -> Result<Bert> {
        let exec = Exec::best().map_err(candle_core::Error::wrap)?.rayon();
        model.bert(&|inputs, outputs, vb| self.layer(inputs, outputs, vb, exec))
    }

    fn layer(&self, inputs: usize, outputs: usize, vb: VarBuilder<'_>, exec: Exec<'static>) -> Result<Layer> {
        Ok(match self.kind {
            Kind::Candle => Box::new(candle_nn::linear(inputs, outputs, vb)?),
            Kind::CandleQuantized(dtype) => {
                let weight = QTensor::quantize(&vb.get((outputs, inputs), "weight")?, dtype)?;
                Box::new(Quantized { weight: QMatMul::from_qtensor(weight)?, bias: vb.get(outputs, "bias")? })
            }
            Kind::Constant => Box::new(Constant::new(outputs)?),
            Kind::Zeropoint(scheme) => Box::new(linear(inputs, outputs, vb, scheme()?.on(exec))?),
        })
    }
}

/// A stand-in for a linear layer: one row, whatever the input, in the shape of the layer's results.
struct Constant {
    row: Tensor,
}

impl Constant {
    fn new(outputs: usize) -> Result<Self> {
        // Values of some spread, since the time of an activation depends on its argument.
        let row: Vec<f32> = (0..outputs).map(|j| 3.0 * (j as f32).sin()).collect();
        Ok(Constant { row: Tensor::from_vec(row, outputs, &Device::Cpu)? })
    }
}

impl Module for Constant {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        shape.pop();
        shape.push(self.row.dims1()?);
        self.row.broadcast_as(shape)?.contiguous()
    }
}

/// A linear layer with candle's quantized product.
struct Quantized {
    weight: QMatMul,
    bias: Tensor,
}

impl Module for Quantized {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.weight.forward(x)?.broadcast_add(&self.bias)
    }
}
