//! All 2³² floats through the quantizer, on every ISA or the one that `ZEROPOINT_ISA` names. Half a minute natively, so
//! only on request: `cargo test --test exhaustive -- --ignored`.
#![cfg(feature = "rayon")]

use rayon::prelude::*;
use zeropoint::{Code, CodeRange, ISA_VARIABLE, Isa, QuantParams, quantize, reference};

fn all_floats<C: Code>(params: &QuantParams<C>) {
    const CHUNK: u32 = 1 << 14;
    let isas = if std::env::var_os(ISA_VARIABLE).is_some() { vec![Isa::best().unwrap()] } else { Isa::supported() };
    (0..=u32::MAX / CHUNK).into_par_iter().for_each(|chunk| {
        let x: Vec<f32> = (0..CHUNK).map(|i| f32::from_bits(chunk * CHUNK + i)).collect();
        let want = reference::quantize(&x, params);
        let mut out = vec![C::MIN; x.len()];
        for &isa in &isas {
            out.fill(C::MIN);
            quantize(isa, &x, params, &mut out).unwrap();
            if out != want {
                let at = out.iter().zip(&want).position(|(out, want)| out != want).unwrap();
                panic!("{isa}: the code of {:?} ({:#x}) is {:?}, not {:?}", x[at], x[at].to_bits(), out[at], want[at]);
            }
        }
    });
}

#[test]
#[ignore = "2³² inputs"]
fn every_float_to_u8() {
    // A scale with an odd mantissa: 3.7 / 255.
    all_floats(&QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 3.7 / 255.0, 77).unwrap());
}

#[test]
#[ignore = "2³² inputs"]
fn every_float_to_i8() {
    all_floats(&QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 5.0 / 255.0, -5).unwrap());
}
