//! Scales and offsets of groups, in every type that the library takes. The fuzz targets have this file, too.

use zeropoint::groups::Reals;
use zeropoint::{Halves, reference};

/// The type of scales and offsets.
#[derive(Clone, Copy, Debug)]
pub enum RealType {
    F32,
    F16,
    Bf16,
    E8m0,
}

impl RealType {
    pub const ALL: [RealType; 4] = [RealType::F32, RealType::F16, RealType::Bf16, RealType::E8m0];
}

/// Values of a type, as their bits, and as f32.
#[derive(Clone, Debug)]
pub struct StoredReals {
    pub of: RealType,
    pub reals: Vec<f32>,
    pub halves: Vec<u16>,
    pub exponents: Vec<u8>,
}

impl StoredReals {
    /// Numbers, rounded to a type: to E8M0 by their exponent alone.
    pub fn new(of: RealType, given: &[f32]) -> Self {
        let (mut halves, mut exponents) = (Vec::new(), Vec::new());
        let reals = match of {
            RealType::F32 => given.to_vec(),
            RealType::F16 => {
                halves = reference::narrow_to_f16(given);
                reference::widen(Halves::f16(&halves))
            }
            RealType::Bf16 => {
                halves = reference::narrow_to_bf16(given);
                reference::widen(Halves::bf16(&halves))
            }
            RealType::E8m0 => {
                exponents = given.iter().map(|x| (x.to_bits() >> 23) as u8).collect();
                let real = |e: &u8| if *e == 255 { f32::NAN } else { 2_f64.powi(i32::from(*e) - 127) as f32 };
                exponents.iter().map(real).collect()
            }
        };
        StoredReals { of, reals, halves, exponents }
    }

    /// The view that the library takes.
    pub fn given(&self) -> Reals<'_> {
        match self.of {
            RealType::F32 => Reals::from(&self.reals),
            RealType::F16 => Halves::f16(&self.halves).into(),
            RealType::Bf16 => Halves::bf16(&self.halves).into(),
            RealType::E8m0 => Reals::e8m0(&self.exponents),
        }
    }
}
