//! All 2³² floats through the quantizer, on every ISA or the one that `ZEROPOINT_ISA` names. Half a minute natively, so
//! only on request: `cargo test --test suite -- --ignored`.

use rayon::prelude::*;
use zeropoint::{Code, CodeRange, Error, ISA_VARIABLE, Isa, QuantParams, Rounding, Stream, quantize, reference};

/// `plain` and `fast` on consecutive floats, whose first one has these bits.
fn all_floats<C: Code>(
    plain: impl Fn(&[f32], u32) -> Vec<C> + Sync,
    fast: impl Fn(Isa, &[f32], u32, &mut [C]) -> Result<(), Error> + Sync,
) {
    const CHUNK: u32 = 1 << 14;
    let isas = if std::env::var_os(ISA_VARIABLE).is_some() { vec![Isa::best().unwrap()] } else { Isa::supported() };
    (0..=u32::MAX / CHUNK).into_par_iter().for_each(|chunk| {
        let x: Vec<f32> = (0..CHUNK).map(|i| f32::from_bits(chunk * CHUNK + i)).collect();
        let want = plain(&x, chunk * CHUNK);
        let mut out = vec![C::MIN; x.len()];
        for &isa in &isas {
            out.fill(C::MIN);
            fast(isa, &x, chunk * CHUNK, &mut out).unwrap();
            if out != want {
                let at = out.iter().zip(&want).position(|(out, want)| out != want).unwrap();
                panic!("{isa}: the code of {:?} ({:#x}) is {:?}, not {:?}", x[at], x[at].to_bits(), out[at], want[at]);
            }
        }
    });
}

fn nearest<C: Code>(params: &QuantParams<C>) {
    let one_isa = std::env::var_os(ISA_VARIABLE).is_some();
    let plain = |x: &[f32], _| {
        // Codes follow the order of floats. So a chunk whose ends have one code has no other, which is checked for all chunks
        // where all ISAs run; an emulator is spared the plain computation.
        let ends = reference::quantize(&[x[0], x[x.len() - 1]], params);
        let same = ends[0] == ends[1] && !x[0].is_nan() && !x[x.len() - 1].is_nan();
        if same && one_isa {
            return vec![ends[0]; x.len()];
        }
        let want = reference::quantize(x, params);
        assert!(!same || want.iter().all(|&code| code == ends[0]), "codes follow the order of floats");
        want
    };
    all_floats(plain, |isa, x, _, out| quantize(isa, x, params, Rounding::Nearest, out));
}

#[test]
#[ignore = "2³² inputs"]
fn every_float_to_u8() {
    // A scale with an odd mantissa: 3.7 / 255.
    nearest(&QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 3.7 / 255.0, 77).unwrap());
}

#[test]
#[ignore = "2³² inputs"]
fn every_float_to_i8() {
    nearest(&QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 5.0 / 255.0, -5).unwrap());
}

/// A scale whose reciprocal is just sure enough: the 24 bits of its mantissa are 32 above a multiple of 2¹⁶.
#[test]
#[ignore = "2³² inputs"]
fn every_float_by_a_doubtful_reciprocal() {
    nearest(&QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), f32::from_bits(0x3c5b_0020), 255).unwrap());
}

/// Every float takes the word that its bits number.
#[test]
#[ignore = "2³² inputs"]
fn every_float_stochastically() {
    let params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 3.7 / 255.0, -5).unwrap();
    let stream = |first: u32| Stream { seed: 42, offset: first.into() };
    all_floats(
        |x, first| reference::quantize_stochastic(x, &params, stream(first)),
        |isa, x, first, out| quantize(isa, x, &params, stream(first), out),
    );
}
