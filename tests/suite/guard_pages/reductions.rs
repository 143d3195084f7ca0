//! What reads a tensor and writes some numbers: ranges, observers, reports, parameters from data.

use super::{Guarded, LENGTHS, everywhere, finite, granularities, scattered, some};
use crate::calibrate::METHODS;
use crate::common::every_isa;
use zeropoint::calibrate::{Method, Observer, Sawb, group_ranges, mse_ranges};
use zeropoint::formats::NvFp4;
use zeropoint::fp8::{Fp8, Fp8Params};
use zeropoint::report::{quantization_error, reconstruction_error};
use zeropoint::*;

#[test]
fn minima_and_maxima() {
    everywhere(LENGTHS.skip(1), |place, length, number| {
        let x = Guarded::new(place, &finite(length));
        let codes = CodeRange::signed(4).unwrap();
        every_isa(|isa| {
            min_max(isa, &x).unwrap();
            abs_max(isa, &x).unwrap();
            NvFp4::fit(isa, &x).unwrap();
            for granularity in some(place, number, &granularities(length)) {
                ranges(isa, &x, granularity).unwrap();
                QuantParams::fit(isa, &x, codes, Scheme::ASYMMETRIC, granularity).unwrap();
                Fp8Params::fit(isa, &x, Fp8::E4M3, granularity).unwrap();
            }
        });
    });
}

#[test]
fn reports() {
    everywhere(LENGTHS.skip(1), |place, length, number| {
        let (x, y) = (Guarded::new(place, &finite(length)), Guarded::of(place, length, 0.5_f32));
        for granularity in some(place, number, &granularities(length)) {
            let groups = granularity.groups(length).unwrap();
            let codes = CodeRange::unsigned(8).unwrap();
            let params = QuantParams::new(codes, granularity, vec![0.01; groups], vec![7; groups]).unwrap();
            every_isa(|isa| {
                quantization_error(isa, &x, &params).unwrap();
            });
        }
        every_isa(|isa| {
            reconstruction_error(isa, &x, &y).unwrap();
        });
    });
}

#[test]
fn observers() {
    scattered(11, LENGTHS.skip(1), |place, length, number| {
        let x = Guarded::new(place, &finite(length));
        let codes = CodeRange::signed(4).unwrap();
        every_isa(|isa| {
            let mut sawb = Sawb::new(4).unwrap();
            sawb.observe(isa.into(), &x).unwrap();
            for method in some(place, number, &METHODS) {
                let mut observer = method.observer(codes, Scheme::ASYMMETRIC, length).unwrap();
                observer.observe(isa.into(), &x).unwrap();
                observer.observe(isa.into(), &x).unwrap();
            }
            let minmax = Method::MinMax.observer(codes, Scheme::ASYMMETRIC, length).unwrap();
            for granularity in some(place, number, &granularities(length)) {
                group_ranges(isa, &x, granularity, &minmax).unwrap();
                mse_ranges(isa, &x, granularity, codes, Scheme::ASYMMETRIC).unwrap();
            }
        });
    });
}
