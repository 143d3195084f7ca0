//! Reals of 16 bits: conversions against the plain ones, and every operation against itself on f32.

use proptest::prelude::*;
use zeropoint::{
    CodeRange, Destination, Exec, FakeDestination, Halves, HalvesMut, Isa, PackedCodes, PackedCodesMut, QuantParams,
    Rounding, Source, Stream, dequantize, fake_quantize, fake_quantize_in_place, quantize, raw, reference,
    straight_through, straight_through_in_place,
};

use crate::common::{bits, every_isa, guarded, reals, streams, tensors};

/// f16 or bf16: how the library sees its bits, and the plain conversion.
#[derive(Clone, Copy, Debug)]
struct Kind {
    halves: fn(&[u16]) -> Halves<'_>,
    halves_mut: fn(&mut [u16]) -> HalvesMut<'_>,
    narrow: fn(&[f32]) -> Vec<u16>,
}

const KINDS: [Kind; 2] = [
    Kind { halves: |x| Halves::f16(x), halves_mut: |x| HalvesMut::f16(x), narrow: reference::narrow_to_f16 },
    Kind { halves: |x| Halves::bf16(x), halves_mut: |x| HalvesMut::bf16(x), narrow: reference::narrow_to_bf16 },
];

/// The bits, but one NaN for all: that of a widened NaN may be any.
fn numbers(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| if x.is_nan() { f32::NAN } else { *x }.to_bits()).collect()
}

/// Every real of 16 bits; and back, with all middles between two of them and what is beside.
#[test]
fn every_half() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    for kind in KINDS {
        let values = reference::widen((kind.halves)(&all));
        let middles = all.windows(2).filter_map(|pair| {
            let [a, b] = [pair[0], pair[1]].map(|i| values[usize::from(i)]);
            (a.is_finite() && !b.is_nan()).then(|| if b.is_finite() { (a / 2.0) + (b / 2.0) } else { a * 1.000_244_2 })
        });
        let mut x: Vec<f32> = middles.flat_map(|x| [-1, 0, 1].map(|ulps| crate::common::nudge(x, ulps))).collect();
        x.extend(&values);
        x.extend([
            65_519.996,
            65_520.0,
            65_536.0,
            f32::MAX,
            f32::MIN,
            f32::NAN,
            -f32::NAN,
            f32::from_bits(0x7f80_0001),
        ]);
        let (want, mut first) = ((kind.narrow)(&x), None::<Vec<u32>>);
        every_isa(|isa| {
            let wide = guarded(all.len(), 1, 1.5, |out| raw::widen(isa, (kind.halves)(&all), out).unwrap());
            assert_eq!(numbers(&wide), numbers(&values), "{isa}");
            // NaN have the same bits on every ISA, too.
            let wide = crate::common::bits(&wide);
            assert!(*first.get_or_insert_with(|| wide.clone()) == wide, "{isa}: NaN of other bits");
            let narrow = guarded(x.len(), 1, 7, |out| raw::narrow(isa, &x, (kind.halves_mut)(out)).unwrap());
            assert_eq!(narrow, want, "{isa}");
        });
    }
    // Against the encodings of IEEE 754 and of f32.
    assert_eq!(reference::widen(Halves::f16(&[0x0001, 0x3555, 0x7bff])), [5.960_464_5e-8, 0.333_251_95, 65_504.0]);
    assert_eq!(reference::narrow_to_f16(&[1.0, -2.0, 65_519.0, 65_520.0]), [0x3c00, 0xc000, 0x7bff, 0x7c00]);
    for high in all.into_iter().filter(|&high| high & 0x7fff <= 0x7f80) {
        let wide = f32::from_bits(u32::from(high) << 16);
        assert_eq!(numbers(&reference::widen(Halves::bf16(&[high]))), numbers(&[wide]));
        assert_eq!(reference::narrow_to_bf16(&[wide]), [high]);
    }
}

/// Writes `length` elements of a kind into a guarded slice.
fn written(kind: Kind, length: usize, write: impl FnOnce(HalvesMut<'_>)) -> Vec<u16> {
    guarded(length, 1, 0x5a5a, |out| write((kind.halves_mut)(out)))
}

/// All operations on `x`, a gradient, and what they make: of 16 bits here, of f32 there.
fn everything_equals_f32(
    kind: Kind,
    (x, gradient): (&[u16], &[u16]),
    params: &QuantParams<i8>,
    rounding: Rounding,
    exec: Exec<'_>,
) {
    let n = x.len();
    let [wide, wide_gradient] = [x, gradient].map(|x| reference::widen((kind.halves)(x)));
    let mut codes = vec![0; n];
    quantize(exec, &wide, params, rounding, &mut codes).unwrap();
    let found = guarded(n, 1, 77, |out| quantize(exec, (kind.halves)(x), params, rounding, out).unwrap());
    assert_eq!(found, codes);

    let mut real = vec![0.0; n];
    dequantize(exec, &codes, params, &mut real).unwrap();
    let found = written(kind, n, |out| dequantize(exec, &codes, params, out).unwrap());
    assert_eq!(found, (kind.narrow)(&real));

    let (mut fake, mut mask) = (vec![0.0; n], vec![0; n]);
    fake_quantize(exec, &wide, params, rounding, (&mut fake, &mut mask)).unwrap();
    let narrow_fake = (kind.narrow)(&fake);
    let mut found_mask = vec![9; n];
    let found = written(kind, n, |out| {
        fake_quantize(exec, (kind.halves)(x), params, rounding, (out, &mut found_mask)).unwrap();
    });
    assert_eq!((found, found_mask), (narrow_fake.clone(), mask));
    // From 16 bits to f32, and from f32 to 16 bits.
    let found = guarded(n, 1, 1.5, |out| fake_quantize(exec, (kind.halves)(x), params, rounding, out).unwrap());
    assert_eq!(bits(&found), bits(&fake));
    assert_eq!(written(kind, n, |out| fake_quantize(exec, &wide, params, rounding, out).unwrap()), narrow_fake);
    let in_place = guarded(n, 1, 0x5a5a, |out| {
        out.copy_from_slice(x);
        fake_quantize_in_place(exec, (kind.halves_mut)(out), params, rounding).unwrap();
    });
    assert_eq!(in_place, narrow_fake);

    let mut product = vec![0.0; n];
    straight_through(exec, &wide, &wide_gradient, params, &mut product).unwrap();
    let narrow_product = (kind.narrow)(&product);
    let found = written(kind, n, |out| {
        straight_through(exec, (kind.halves)(x), (kind.halves)(gradient), params, out).unwrap();
    });
    assert_eq!(found, narrow_product);
    let in_place = guarded(n, 1, 0x5a5a, |out| {
        out.copy_from_slice(gradient);
        straight_through_in_place(exec, &wide, (kind.halves_mut)(out), params).unwrap();
    });
    assert_eq!(in_place, narrow_product);
    // A gradient of f32 in place, at an x of 16 bits.
    let in_place = guarded(n, 1, 1.5, |out| {
        out.copy_from_slice(&wide_gradient);
        straight_through_in_place(exec, (kind.halves)(x), out, params).unwrap();
    });
    assert_eq!(numbers(&in_place), numbers(&product));
}

proptest! {
    #![proptest_config(crate::common::cases(200))]

    #[test]
    fn operations((x, params) in tensors::<i8>(), gradient in prop::collection::vec(reals(1.0), 200), stream in streams(1000)) {
        for kind in KINDS {
            let x = (kind.narrow)(&x);
            let gradient: Vec<u16> = (kind.narrow)(&gradient).into_iter().cycle().take(x.len()).collect();
            every_isa(|isa| {
                for rounding in [Rounding::Nearest, stream.into()] {
                    everything_equals_f32(kind, (&x, &gradient), &params, rounding, isa.into());
                }
            });
        }
    }
}

/// Several pieces, whose ends lie inside chunks of the stream; packed codes; rows with gaps; and threads.
#[test]
fn pieces() {
    let n = 5 * 16_384 + 101;
    let x: Vec<f32> = (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 4e6 - 2.0).collect();
    let stream = Rounding::from(Stream { seed: 3, offset: 16_384 - 501 });
    let per_tensor = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.01, 3).unwrap();
    for kind in KINDS {
        let x = (kind.narrow)(&x);
        every_isa(|isa| {
            for rounding in [Rounding::Nearest, stream] {
                everything_equals_f32(kind, (&x, &x), &per_tensor, rounding, isa.into());
                #[cfg(feature = "rayon")]
                everything_equals_f32(kind, (&x, &x), &per_tensor, rounding, Exec::from(isa).rayon());
                packed_and_strided(isa, kind, &x, (4, 0.2), rounding);
                packed_and_strided(isa, kind, &x, (2, 0.9), rounding);
            }
        });
    }
}

fn view(code_bits: u32, bytes: &mut [u8], length: usize) -> PackedCodesMut<'_, i8> {
    match code_bits {
        2 => PackedCodesMut::two_bits(bytes, length).unwrap(),
        _ => PackedCodesMut::four_bits(bytes, length).unwrap(),
    }
}

/// Codes of so many bits, packed, and rows with gaps.
fn packed_and_strided(isa: Isa, kind: Kind, x: &[u16], (code_bits, scale): (u32, f32), rounding: Rounding) {
    let (n, wide) = (x.len(), reference::widen((kind.halves)(x)));
    let params = &QuantParams::per_tensor(CodeRange::signed(code_bits).unwrap(), scale, 1).unwrap();
    let bytes = (n * code_bits as usize).div_ceil(8);
    let want = guarded(bytes, 1, 0x5a, |out| quantize(isa, &wide, params, rounding, view(code_bits, out, n)).unwrap());
    let found = guarded(bytes, 1, 0x5a, |out| {
        quantize(isa, (kind.halves)(x), params, rounding, view(code_bits, out, n)).unwrap()
    });
    assert!(found == want, "{isa}");
    let codes = match code_bits {
        2 => PackedCodes::<i8>::two_bits(&want, n).unwrap(),
        _ => PackedCodes::four_bits(&want, n).unwrap(),
    };
    let mut real = vec![0.0; n];
    dequantize(isa, codes, params, &mut real).unwrap();
    assert!(written(kind, n, |out| dequantize(isa, codes, params, out).unwrap()) == (kind.narrow)(&real), "{isa}");

    // Rows of 400 codes, 7 bytes apart.
    let (rows, columns, stride) = (n / 400, 400, 407);
    let elements = rows * columns;
    let (mut want, mut found) = (vec![99_i8; rows * stride], vec![99_i8; rows * stride]);
    let matrix = |out| zeropoint::MatrixMut::with_stride(out, rows, columns, stride).unwrap();
    quantize(isa, &wide[..elements], params, rounding, matrix(&mut want)).unwrap();
    quantize(isa, (kind.halves)(&x[..elements]), params, rounding, matrix(&mut found)).unwrap();
    assert!(found == want, "{isa}");
    let codes = zeropoint::Matrix::with_stride(&want, rows, columns, stride).unwrap();
    let mut real = vec![0.0; elements];
    dequantize(isa, codes, params, &mut real).unwrap();
    let found = written(kind, elements, |out| dequantize(isa, codes, params, out).unwrap());
    assert!(found == (kind.narrow)(&real), "{isa}");
}

#[test]
fn lengths() {
    let isa = Isa::best().unwrap();
    let params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.5, 0).unwrap();
    assert!(quantize(isa, Halves::f16(&[0; 3]), &params, Rounding::Nearest, &mut [0; 2]).is_err());
    assert!(dequantize(isa, &[0; 3], &params, HalvesMut::bf16(&mut [0; 4])).is_err());
    assert!(raw::widen(isa, Halves::f16(&[0; 3]), &mut [0.0; 2]).is_err());
    assert!(raw::narrow(isa, &[0.0; 3], HalvesMut::f16(&mut [0; 4])).is_err());
    // Both are sources and destinations of f32 like any other.
    fn source(_: impl Source<f32>) {}
    fn destination(_: impl Destination<f32> + FakeDestination) {}
    source(Halves::f16(&[]));
    destination(HalvesMut::f16(&mut []));
}
