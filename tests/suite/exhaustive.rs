//! All 2³² floats through the quantizer, on every ISA or the one that `ZEROPOINT_ISA` names. Minutes, so only
//! on request: `cargo test --test suite -- --ignored`. With `ZEROPOINT_TEST_FRACTION=32` every 32nd chunk of them, of every exponent.

use crate::common::fraction;
use rayon::prelude::*;
use zeropoint::fp8::{Fp8, Fp8Params, encode};
use zeropoint::{Code, CodeRange, Error, ISA_VARIABLE, Isa, QuantParams, Rounding, Stream, quantize, reference};

/// `plain` and `fast` on consecutive floats, whose first one has these bits; `one_code` is the code of all floats between two,
/// if it is known to be one.
fn all_floats<C: Code>(
    plain: impl Fn(&[f32], u32) -> Vec<C> + Sync,
    one_code: impl Fn(f32, f32) -> Option<C> + Sync,
    fast: impl Fn(Isa, &[f32], u32, &mut [C]) -> Result<(), Error> + Sync,
) {
    const CHUNK: u32 = 1 << 14;
    let isas = if std::env::var_os(ISA_VARIABLE).is_some() { vec![Isa::best().unwrap()] } else { Isa::supported() };
    // These add products to another ISA, and run its kernels for elements.
    let tiers = ["avxvnni", "avx512vnni", "neon-dotprod", "neon-i8mm"];
    let isas: Vec<Isa> = isas.into_iter().filter(|isa| !tiers.contains(&isa.name())).collect();
    assert!(!isas.is_empty());
    // The mantissas of an exponent are 512 chunks, of which every exponent has others tested.
    let (fraction, mantissas) = (fraction(), (1 << 23) / CHUNK);
    let is_tested = |chunk: &u32| (chunk / mantissas + chunk % mantissas).is_multiple_of(fraction);
    (0..=u32::MAX / CHUNK).into_par_iter().filter(is_tested).for_each(|chunk| {
        let x: Vec<f32> = (0..CHUNK).map(|i| f32::from_bits(chunk * CHUNK + i)).collect();
        let (first, last) = (x[0], x[x.len() - 1]);
        let one_code = if first.is_nan() || last.is_nan() { None } else { one_code(first.min(last), first.max(last)) };
        let want = one_code.map_or_else(|| plain(&x, chunk * CHUNK), |code| vec![code; x.len()]);
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

/// The code of two floats, if they have the same to nearest. All floats between them have it too: division by a positive
/// number, rounding, addition and clamping each keep the order of their operands.
fn same_code<C: Code>(params: &QuantParams<C>, lower: f32, upper: f32) -> Option<C> {
    let codes = reference::quantize(&[lower, upper], params);
    (codes[0] == codes[1]).then_some(codes[0])
}

fn nearest<C: Code>(params: &QuantParams<C>) {
    all_floats(
        |x, _| reference::quantize(x, params),
        |lower, upper| same_code(params, lower, upper),
        |isa, x, _, out| quantize(isa, x, params, Rounding::Nearest, out),
    );
}

#[test]
#[ignore = "2³² inputs"]
fn every_float_to_u8() {
    // A scale with an odd mantissa: 3.7 / 255.
    let params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 3.7 / 255.0, 77).unwrap();
    // Natively by the plain rule for each.
    let one_isa = std::env::var_os(ISA_VARIABLE).is_some();
    all_floats(
        |x, _| reference::quantize(x, &params),
        |lower, upper| same_code(&params, lower, upper).filter(|_| one_isa),
        |isa, x, _, out| quantize(isa, x, &params, Rounding::Nearest, out),
    );
}

#[test]
#[ignore = "2³² inputs"]
fn every_float_to_i8() {
    nearest(&QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 5.0 / 255.0, -5).unwrap());
}

/// Without a fast path.
#[test]
#[ignore = "2³² inputs"]
fn every_float_to_i16() {
    nearest(&QuantParams::per_tensor(CodeRange::signed16(16).unwrap(), 5.0 / 65_535.0, -1234).unwrap());
}

/// A scale whose reciprocal is just sure enough: the 24 bits of its mantissa are 32 above a multiple of 2¹⁶.
#[test]
#[ignore = "2³² inputs"]
fn every_float_by_a_doubtful_reciprocal() {
    nearest(&QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), f32::from_bits(0x3c5b_0020), 255).unwrap());
}

/// Every float takes the word that its bits number. The code of x is none below the nearest one of x − S and none above that of
/// x + S.
#[test]
#[ignore = "2³² inputs"]
fn every_float_stochastically() {
    let params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 3.7 / 255.0, -5).unwrap();
    let stream = |first: u32| Stream { seed: 42, offset: first.into() };
    all_floats(
        |x, first| reference::quantize_stochastic(x, &params, stream(first)),
        |lower, upper| same_code(&params, lower - params.scales()[0], upper + params.scales()[0]),
        |isa, x, first, out| quantize(isa, x, &params, stream(first), out),
    );
}

/// Of both formats, saturated and not.
#[test]
#[ignore = "2³² inputs"]
fn every_float_to_fp8() {
    for (format, scale) in [(Fp8::E4M3, 1.0), (Fp8::E5M2, 3.7 / 57_344.0)] {
        let params = Fp8Params::per_tensor(format, scale).unwrap();
        for params in [params.clone(), params.without_saturation()] {
            let same_code = |lower, upper| {
                let codes = reference::encode_fp8(&[lower, upper], &params);
                (codes[0] == codes[1]).then_some(codes[0])
            };
            all_floats(
                |x, _| reference::encode_fp8(x, &params),
                same_code,
                |isa, x, _, out| encode(isa, x, &params, Rounding::Nearest, out),
            );
        }
    }
}
