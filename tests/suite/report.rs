//! The error report equals its formulas on every ISA, bit for bit, and what quantization and a reconstruction say together.

use crate::common::{Ranges, every_isa, finite, tensors};
use proptest::prelude::*;
use zeropoint::report::{quantization_error, reconstruction_error};
use zeropoint::{CodeRange, Error, Granularity, QuantParams, reference};

fn report_equals_reference<C: Ranges>(x: &[f32], params: &QuantParams<C>) {
    let reconstruction = reference::fake_quantize(x, params);
    let (signal, noise, largest) = reference::errors(x, &reconstruction);
    let saturated = reference::saturated(x, params);
    every_isa(|isa| {
        // The largest scales, times a code.
        if !noise.is_finite() {
            let report = quantization_error(isa, x, params);
            assert!(matches!(report, Err(Error::NonFinite { what: "the difference", .. })), "{isa} {report:?}");
            return;
        }
        let report = quantization_error(isa, x, params).unwrap();
        assert_eq!(report.signal().to_bits(), signal.to_bits(), "{isa}");
        assert_eq!(report.sse().to_bits(), noise.to_bits(), "{isa}");
        assert_eq!(report.max_error().to_bits(), largest.to_bits(), "{isa}");
        assert_eq!((report.saturated(), report.elements()), (Some(saturated), x.len()), "{isa}");
        let given = reconstruction_error(isa, x, &reconstruction).unwrap();
        assert_eq!((given.signal(), given.sse(), given.max_error()), (signal, noise, largest), "{isa}");
        assert_eq!(given.saturated(), None);
    });
}

proptest! {
    #![proptest_config(crate::common::cases(300))]

    #[test]
    fn any_parameters((mut x, params) in tensors::<u8>(), (mut y, signed) in tensors::<i8>()) {
        x.iter_mut().chain(&mut y).for_each(|x| if !x.is_finite() { *x = 1e-3 });
        if !x.is_empty() {
            report_equals_reference(&x, &params);
        }
        if !y.is_empty() {
            report_equals_reference(&y, &signed);
        }
    }

    #[test]
    fn wide_codes((mut x, params) in tensors::<u16>(), (mut y, signed) in tensors::<i16>()) {
        x.iter_mut().chain(&mut y).for_each(|x| if !x.is_finite() { *x = 1e-3 });
        if !x.is_empty() {
            report_equals_reference(&x, &params);
        }
        if !y.is_empty() {
            report_equals_reference(&y, &signed);
        }
    }

    /// Without overflow of the difference.
    #[test]
    fn any_reconstruction(pairs in prop::collection::vec((finite(), finite()), 1..200)) {
        let (x, reconstruction): (Vec<_>, Vec<_>) = pairs.into_iter().map(|(x, r)| (x / 2.0, r / 2.0)).unzip();
        let (signal, noise, largest) = reference::errors(&x, &reconstruction);
        every_isa(|isa| {
            let report = reconstruction_error(isa, &x, &reconstruction).unwrap();
            assert_eq!((report.signal(), report.sse(), report.max_error()), (signal, noise, largest), "{isa}");
        });
    }
}

/// Several chunks, of groups whose ends lie anywhere in them.
#[test]
fn chunks_and_groups() {
    let length = 3 * 16_384 + 16 * 70;
    let x: Vec<f32> = (0..length as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e6 - 8.0).collect();
    let row = length / 8;
    for granularity in [
        Granularity::Tensor,
        Granularity::channel(&[8, row], 0).unwrap(),
        Granularity::channel(&[row, 8], 1).unwrap(),
        Granularity::block(&[8, row], 32).unwrap(),
        Granularity::block(&[8, row], 100).unwrap(),
        Granularity::block_along(&[8, row], 0, 3).unwrap(),
        Granularity::block_along(&[row / 2, 16], 0, 32).unwrap(),
        Granularity::block_along(&[4, row / 4, 8], 1, 7).unwrap(),
    ] {
        let groups = granularity.groups(length).unwrap();
        let scales = (0..groups).map(|group| 0.02 + (group % 97) as f32 * 1e-3).collect();
        let zero_points = (0..groups).map(|group| group as i32 % 100 - 50).collect();
        report_equals_reference(
            &x,
            &QuantParams::new(CodeRange::signed(8).unwrap(), granularity, scales, zero_points).unwrap(),
        );
    }
}

#[test]
fn what_is_not_finite_is_named() {
    let params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 1.0, 0).unwrap();
    every_isa(|isa| {
        assert_eq!(quantization_error(isa, &[], &params), Err(Error::Empty { what: "the tensor", group: None }));
        for (bad, at) in [(f32::INFINITY, 0), (f32::NEG_INFINITY, 20), (f32::NAN, 39)] {
            let mut x = [1.0; 40];
            x[at] = bad;
            for report in [quantization_error(isa, &x, &params), reconstruction_error(isa, &x, &[1.0; 40])] {
                let Err(Error::NonFinite { what: "the tensor", index, found }) = report else {
                    panic!("{isa} {report:?}")
                };
                assert_eq!((index, found.to_bits()), (at, bad.to_bits()), "{isa}");
            }
            let report = reconstruction_error(isa, &[1.0; 40], &x);
            assert!(
                matches!(report, Err(Error::NonFinite { what: "the difference", index, .. }) if index == at),
                "{isa} {report:?}"
            );
        }
        // The largest numbers there are, and one that does not fit an f32.
        let report = reconstruction_error(isa, &[f32::MAX; 40], &[0.0; 40]).unwrap();
        assert_eq!((report.max_error(), report.sqnr()), (f32::MAX, 0.0), "{isa}");
        let report = reconstruction_error(isa, &[f32::MAX], &[f32::MIN]);
        assert!(matches!(report, Err(Error::NonFinite { what: "the difference", .. })), "{isa} {report:?}");
        // The code 2 of a scale of two thirds of the largest f32: what it stands for is beyond it.
        let rows = Granularity::channel(&[2, 20], 0).unwrap();
        let codes = CodeRange::signed(8).unwrap();
        let steep = QuantParams::new(codes, rows, vec![1.0, f32::MAX / 1.5], vec![0, 3]).unwrap();
        let mut x = [1.0; 40];
        (x[33], x[36]) = (f32::MAX, -f32::MAX);
        let report = quantization_error(isa, &x, &steep);
        let found = f32::INFINITY;
        assert_eq!(report, Err(Error::NonFinite { what: "the difference", index: 33, found }), "{isa}");
        let exact = quantization_error(isa, &[3.0, -4.0], &params).unwrap();
        assert_eq!((exact.sse(), exact.sqnr(), exact.effective_bits()), (0.0, f64::INFINITY, f64::INFINITY), "{isa}");
        assert!(reconstruction_error(isa, &[1.0, 2.0], &[1.0]).is_err());
    });
}
