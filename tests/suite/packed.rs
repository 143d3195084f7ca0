//! Packed codes are the codes of their unpacked forms, two or four a byte, on every ISA.

use crate::common::{Ranges, bits, every_isa, guarded, streams, tensors};
use proptest::prelude::*;
use zeropoint::{
    ByteCode, CodeRange, Error, Granularity, PackedCodes, PackedCodesMut, QuantParams, Rounding, Stream, dequantize,
    quantize, raw, reference,
};

/// Element 0 in the lowest of so many bits.
fn packed<C: ByteCode>(code_bits: usize, codes: &[C], pad: i32) -> Vec<u8> {
    let low = |code: i32| code & ((1 << code_bits) - 1);
    let byte = |codes: &[C]| {
        let code = |i: usize| low(codes.get(i).map_or(pad, |&code| code.into())) << (i * code_bits);
        (0..8 / code_bits).map(code).sum::<i32>() as u8
    };
    codes.chunks(8 / code_bits).map(byte).collect()
}

fn source<C: ByteCode>(code_bits: usize, bytes: &[u8], length: usize) -> Result<PackedCodes<'_, C>, Error> {
    if code_bits == 2 { PackedCodes::two_bits(bytes, length) } else { PackedCodes::four_bits(bytes, length) }
}

fn destination<C: ByteCode>(code_bits: usize, bytes: &mut [u8], length: usize) -> Result<PackedCodesMut<'_, C>, Error> {
    if code_bits == 2 { PackedCodesMut::two_bits(bytes, length) } else { PackedCodesMut::four_bits(bytes, length) }
}

fn everything_equals_reference<C: Ranges + ByteCode>(
    code_bits: usize,
    x: &[f32],
    params: &QuantParams<C>,
    stream: Stream,
) {
    let n = x.len();
    let (nearest, stochastic) = (reference::quantize(x, params), reference::quantize_stochastic(x, params, stream));
    let pad = n.checked_sub(1).map_or(0, |last| params.zero_points()[params.granularity().group_of(last)]);
    let (want, want_stochastic) = (packed(code_bits, &nearest, pad), packed(code_bits, &stochastic, pad));
    let real = bits(&reference::dequantize(&nearest, params));
    every_isa(|isa| {
        let bytes = guarded(want.len(), 3, 0x5a, |out| {
            quantize(isa, x, params, Rounding::Nearest, destination(code_bits, out, n).unwrap()).unwrap()
        });
        assert_eq!(bytes, want, "{isa}");
        let bytes = guarded(want.len(), 1, 0x5a, |out| {
            quantize(isa, x, params, stream, destination(code_bits, out, n).unwrap()).unwrap()
        });
        assert_eq!(bytes, want_stochastic, "{isa}");
        let source = source::<C>(code_bits, &want, n).unwrap();
        let out = guarded(n, 2, -9.75, |out| dequantize(isa, source, params, out).unwrap());
        assert_eq!(bits(&out), real, "{isa}");
        let codes = guarded(n, 1, C::MAX, |out| raw::unpack_codes(isa, source, out).unwrap());
        assert_eq!(codes, nearest, "{isa}");
        let pad = C::try_from(pad).ok().unwrap();
        let bytes = guarded(want.len(), 1, 0x5a, |out| {
            raw::pack_codes(isa, &nearest, pad, destination(code_bits, out, n).unwrap()).unwrap();
        });
        assert_eq!(bytes, want, "{isa}");
    });
}

/// The code ranges of few bits, also those that are not of n bits.
fn within<C: Ranges + ByteCode>(min: i32, max: i32) -> Vec<CodeRange<C>> {
    let fits = |codes: &CodeRange<C>| codes.min().into() >= min && codes.max().into() <= max;
    C::all().into_iter().filter(fits).collect()
}

fn of_range<C: Ranges + ByteCode>((x, params): (Vec<f32>, QuantParams<C>), codes: CodeRange<C>, stream: Stream) {
    let (min, max): (i32, i32) = (codes.min().into(), codes.max().into());
    let zero_points = params.zero_points().iter().map(|z| z.rem_euclid(max - min + 1) + min).collect();
    let params = QuantParams::new(codes, params.granularity(), params.scales().to_vec(), zero_points).unwrap();
    everything_equals_reference(4, &x, &params, stream);
    let two_bits = if C::MIN.into() < 0 { -2..=1 } else { 0..=3 };
    if two_bits.contains(&min) && two_bits.contains(&max) {
        everything_equals_reference(2, &x, &params, stream);
    }
}

proptest! {
    #![proptest_config(crate::common::cases(200))]

    #[test]
    fn unsigned(tensor in tensors::<u8>(), codes in prop::sample::select(within(0, 15)), stream in streams(1000)) {
        of_range(tensor, codes, stream);
    }

    #[test]
    fn signed(tensor in tensors::<i8>(), codes in prop::sample::select(within(-8, 7)), stream in streams(1000)) {
        of_range(tensor, codes, stream);
    }
}

/// More than one piece, whose ends lie inside groups.
#[test]
fn pieces() {
    let length = 3 * (4096 + 100);
    let x: Vec<f32> = (0..length as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 4e6 - 2.0).collect();
    for granularity in [
        Granularity::channel(&[length / 3, 3], 1).unwrap(),
        Granularity::block(&[3, length / 3], 100).unwrap(),
        Granularity::block_along(&[length / 4, 4], 0, 100).unwrap(),
        Granularity::block_along(&[4, length / 4], 0, 3).unwrap(),
    ] {
        let groups = granularity.groups(length).unwrap();
        let scales = (0..groups).map(|group| 0.2 + group as f32 * 1e-3).collect();
        let zero_points = (0..groups).map(|group| group as i32 % 16 - 8).collect();
        let params = QuantParams::new(CodeRange::signed(4).unwrap(), granularity, scales, zero_points).unwrap();
        everything_equals_reference(4, &x, &params, Stream { seed: 3, offset: 16_384 - 500 });
        let (scales, zero_points) = (params.scales().to_vec(), (0..groups).map(|group| group as i32 % 4).collect());
        let params = QuantParams::new(CodeRange::unsigned(2).unwrap(), granularity, scales, zero_points).unwrap();
        everything_equals_reference(2, &x, &params, Stream { seed: 3, offset: 16_384 - 501 });
    }
}

#[test]
fn what_does_not_fit() {
    every_isa(|isa| {
        let mut bytes = [0x5a; 20];
        for (at, code) in [(0, 8), (17, -9), (38, 127), (39, -128)] {
            let mut codes = [7_i8; 40];
            codes[at] = code;
            let refused = raw::pack_codes(isa, &codes, 0, PackedCodesMut::four_bits(&mut bytes, 40).unwrap());
            assert_eq!(refused, Err(Error::Code { index: at, code: code.into(), min: -8, max: 7 }), "{isa}");
        }
        assert_eq!(
            raw::pack_codes(isa, &[16_u8], 0, PackedCodesMut::four_bits(&mut bytes[..1], 1).unwrap()),
            Err(Error::Code { index: 0, code: 16, min: 0, max: 15 })
        );
        assert_eq!(
            raw::pack_codes(isa, &[1_u8], 99, PackedCodesMut::four_bits(&mut bytes[..1], 1).unwrap()),
            Err(Error::Code { index: 1, code: 99, min: 0, max: 15 })
        );
        for (code, pad, index, wrong) in [(4_u8, 0, 0, 4), (3, 4, 1, 4)] {
            assert_eq!(
                raw::pack_codes(isa, &[code], pad, PackedCodesMut::two_bits(&mut bytes[..1], 1).unwrap()),
                Err(Error::Code { index, code: wrong, min: 0, max: 3 })
            );
        }
        assert_eq!(
            raw::pack_codes(isa, &[1_i8; 3], 0, PackedCodesMut::two_bits(&mut bytes[..1], 4).unwrap()),
            Err(Error::Length { what: "the codes", expected: 4, found: 3 })
        );
        assert!(raw::unpack_codes(isa, PackedCodes::four_bits(&bytes[..1], 2).unwrap(), &mut [0_u8; 3]).is_err());
        let three_bits = QuantParams::per_tensor(CodeRange::signed(3).unwrap(), 1.0, 0).unwrap();
        assert!(matches!(
            quantize(
                isa,
                &[1.0; 80],
                &three_bits,
                Rounding::Nearest,
                PackedCodesMut::two_bits(&mut bytes, 80).unwrap()
            ),
            Err(Error::Codes { min: -4, max: 3, .. })
        ));
        let wide = QuantParams::per_tensor(CodeRange::unsigned(5).unwrap(), 1.0, 0).unwrap();
        assert!(matches!(
            quantize(isa, &[1.0; 40], &wide, Rounding::Nearest, PackedCodesMut::four_bits(&mut bytes, 40).unwrap()),
            Err(Error::Codes { min: 0, max: 31, .. })
        ));
        assert!(dequantize(isa, PackedCodes::four_bits(&bytes, 40).unwrap(), &wide, &mut [0.0; 40]).is_err());
        let params = QuantParams::per_tensor(CodeRange::unsigned(4).unwrap(), 1.0, 0).unwrap();
        let short = Err(Error::Length { what: "the packed codes", expected: 21, found: 20 });
        assert_eq!(PackedCodesMut::<u8>::four_bits(&mut bytes, 41).map(drop), short);
        let short = Err(Error::Length { what: "the packed codes", expected: 21, found: 20 });
        assert_eq!(PackedCodes::<u8>::two_bits(&bytes, 81).map(drop), short);
        let one_less = PackedCodesMut::four_bits(&mut bytes, 40).unwrap();
        assert!(quantize(isa, &[1.0; 41], &params, Rounding::Nearest, one_less).is_err());
        let late = Stream { seed: 0, offset: u64::MAX };
        assert!(matches!(
            quantize(isa, &[1.0; 40], &params, late, PackedCodesMut::four_bits(&mut bytes, 40).unwrap()),
            Err(Error::Stream { .. })
        ));
        assert_eq!(bytes, [0x5a; 20], "untouched");
    });
}
