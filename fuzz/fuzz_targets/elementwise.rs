//! Quantize, dequantize, fake-quantize, their gradients and the reductions, on tensors of every granularity, with
//! rows that lie apart, in packed codes and in reals of 16 bits, equal the reference.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use zeropoint::report::quantization_error;
use zeropoint::training::{ClipBounds, ClipGradients, Gradients, clip_gradients, fake_quantize_gradients};
use zeropoint::{
    ByteCode, Code, CodeRange, Error, Exec, Granularity, Halves, HalvesMut, Isa, Matrix, MatrixMut, PackedCodes,
    PackedCodesMut, QuantParams, Rounding, Scheme, Stream, abs_max, dequantize, fake_quantize, fake_quantize_in_place,
    min_max, quantize, ranges, raw, reference, straight_through, straight_through_in_place,
};
use zeropoint_fuzz::{
    CodeType, IsaInput, Layout, ParamsInput, RangeInput, Reals, SchemeInput, StreamInput, behind, bits, guarded,
    of_code_type,
};

#[derive(Arbitrary, Debug)]
struct Input {
    isa: IsaInput,
    codes: CodeType,
    params: ParamsInput,
    x: Reals,
    stochastic: Option<StreamInput>,
    what: What,
    offsets: [u8; 2],
}

#[derive(Arbitrary, Debug)]
enum What {
    Slices,
    Strided([Layout; 2]),
    Packed { four_bits: bool, codes: RangeInput },
    Halves { bf16: bool },
    Fit(SchemeInput),
}

fuzz_target!(|input: Input| {
    if let What::Packed { four_bits, codes } = input.what {
        match input.codes {
            CodeType::U8 | CodeType::U16 => packed::<u8>(&input, four_bits, codes, [0, if four_bits { 15 } else { 3 }]),
            CodeType::I8 | CodeType::I16 => {
                packed::<i8>(&input, four_bits, codes, if four_bits { [-8, 7] } else { [-2, 1] });
            }
        }
    } else {
        of_code_type!(input.codes, run(&input))
    }
});

fn run<C: Code>(input: &Input) {
    let (params, length) = input.params.params::<C>();
    let (min, max): (i32, i32) = (params.codes().min().into(), params.codes().max().into());
    let x = input.x.reals(length, params.scales().first().copied().unwrap_or(1.0), max - min);
    let isa = input.isa.isa();
    match input.what {
        What::Slices => slices(input, isa, &x, &params),
        What::Strided(layouts) => strided(input, isa, &x, &params, layouts),
        What::Halves { bf16 } => halves(input, isa, &x, &params, bf16),
        What::Fit(scheme) => fit(isa, &x, params.codes(), scheme.scheme(), params.granularity()),
        What::Packed { .. } => unreachable!(),
    }
}

/// The rounding, with codes and reals of the reference.
fn wanted<C: Code>(input: &Input, x: &[f32], params: &QuantParams<C>) -> (Rounding, Vec<C>, Vec<u32>) {
    match input.stochastic.map(|stream| stream.stream(x.len())) {
        None => (Rounding::Nearest, reference::quantize(x, params), bits(&reference::fake_quantize(x, params))),
        Some(stream) => (
            stream.into(),
            reference::quantize_stochastic(x, params, stream),
            bits(&reference::fake_quantize_stochastic(x, params, stream)),
        ),
    }
}

fn slices<C: Code>(input: &Input, isa: Isa, x: &[f32], params: &QuantParams<C>) {
    let n = x.len();
    let [a, b] = input.offsets;
    let (rounding, codes, reals) = wanted(input, x, params);
    behind(x, b, f32::NAN, |x| {
        let out = guarded(n, a, C::MAX, |out| quantize(isa, x, params, rounding, out).unwrap());
        assert_eq!(out, codes, "quantize {isa}");
        let out = guarded(n, a, -7.5, |out| fake_quantize(isa, x, params, rounding, out).unwrap());
        assert_eq!(bits(&out), reals, "fake_quantize {isa}");
        let mask = guarded(n, b, 7, |mask| {
            let out = guarded(n, a, -7.5, |out| fake_quantize(isa, x, params, rounding, (out, &mut *mask)).unwrap());
            assert_eq!(bits(&out), reals, "fake_quantize with mask {isa}");
        });
        assert_eq!(mask, reference::straight_through_mask(x, params), "mask {isa}");
        let reversed: Vec<f32> = x.iter().rev().copied().collect();
        let want = bits(&reference::straight_through(x, &reversed, params));
        let out = guarded(n, a, -7.5, |out| straight_through(isa, x, &reversed, params, out).unwrap());
        assert_eq!(bits(&out), want, "straight_through {isa}");
        let mut place = reversed.clone();
        straight_through_in_place(isa, x, &mut place, params).unwrap();
        assert_eq!(bits(&place), want, "straight_through_in_place {isa}");
        gradients(isa, x, &reversed, params, rounding, a);
        if n > 0 && x.iter().all(|x| x.is_finite()) {
            let back = reference::fake_quantize(x, params);
            let report = match quantization_error(isa, x, params) {
                Ok(report) => report,
                // A difference, of large numbers with different signs, may be beyond f32.
                Err(error) => {
                    let index = x.iter().zip(&back).position(|(x, back)| !(x - back).is_finite()).expect("infinite");
                    return assert!(matches!(error, Error::NonFinite { index: at, .. } if at == index), "{error}");
                }
            };
            let (signal, noise, largest) = reference::errors(x, &back);
            let found = (report.signal().to_bits(), report.sse().to_bits(), report.max_error().to_bits());
            assert_eq!(found, (signal.to_bits(), noise.to_bits(), largest.to_bits()), "report {isa}");
            assert_eq!(report.saturated(), Some(reference::saturated(x, params)), "saturated {isa}");
        }
    });
    let mut place = x.to_vec();
    fake_quantize_in_place(isa, &mut place, params, rounding).unwrap();
    assert_eq!(bits(&place), reals, "fake_quantize_in_place {isa}");
    let real = bits(&reference::dequantize(&codes, params));
    let out =
        behind(&codes, b, C::MAX, |codes| guarded(n, a, -7.5, |out| dequantize(isa, codes, params, out).unwrap()));
    assert_eq!(bits(&out), real, "dequantize {isa}");
}

/// Gradients of learned parameters, and of clipping bounds, which are the scales.
fn gradients<C: Code>(isa: Isa, x: &[f32], gradient: &[f32], params: &QuantParams<C>, rounding: Rounding, offset: u8) {
    let groups = params.scales().len();
    let bits64 = |sums: &[f64]| sums.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>();
    let (want, want_scales, want_zero_points) = reference::fake_quantize_gradients(x, gradient, params, rounding);
    let (mut scales, mut zero_points) = (vec![7.0; groups], vec![7.0; groups]);
    let out = guarded(x.len(), offset, -7.5, |out| {
        let gradients = Gradients { x: out, scales: &mut scales, zero_points: Some(&mut zero_points) };
        fake_quantize_gradients(isa, x, gradient, params, rounding, gradients).unwrap();
    });
    assert_eq!(bits(&out), bits(&want), "fake_quantize_gradients {isa}");
    assert_eq!(bits64(&scales), bits64(&want_scales), "gradients of scales {isa}");
    assert_eq!(bits64(&zero_points), bits64(&want_zero_points), "gradients of zero points {isa}");
    for new in [ClipBounds::one_sided, ClipBounds::symmetric] {
        let clip = new(params.granularity(), params.scales()).unwrap();
        let (want, want_bounds) = reference::clip_gradients(x, gradient, &clip);
        let mut bounds = vec![7.0; groups];
        let out = guarded(x.len(), offset, -7.5, |out| {
            clip_gradients(isa, x, gradient, &clip, ClipGradients { x: out, bounds: &mut bounds }).unwrap();
        });
        assert_eq!(bits(&out), bits(&want), "clip_gradients {isa}");
        assert_eq!(bits64(&bounds), bits64(&want_bounds), "gradients of bounds {isa}");
    }
}

fn strided<C: Code>(input: &Input, isa: Isa, x: &[f32], params: &QuantParams<C>, [from, to]: [Layout; 2]) {
    if x.is_empty() {
        return;
    }
    let (rounding, codes, reals) = wanted(input, x, params);
    let [rows, columns, stride] = from.matrix(x.len());
    let (out_stride, spread) = (to.stride(columns), from.spread(x, columns, f32::NAN));
    let length = (rows - 1) * out_stride + columns;
    let source = Matrix::with_stride(&spread, rows, columns, stride).unwrap();
    let out = guarded(length, to.offset, C::MIN, |out| {
        let out = MatrixMut::with_stride(out, rows, columns, out_stride).unwrap();
        quantize(isa, source, params, rounding, out).unwrap();
    });
    assert_eq!(out, to.spread(&codes, columns, C::MIN), "quantize {isa}");
    let out = guarded(length, to.offset, 7.5, |out| {
        let out = MatrixMut::with_stride(out, rows, columns, out_stride).unwrap();
        fake_quantize(isa, source, params, rounding, out).unwrap();
    });
    let reals: Vec<f32> = reals.into_iter().map(f32::from_bits).collect();
    assert_eq!(bits(&out), bits(&to.spread(&reals, columns, 7.5)), "fake_quantize {isa}");
    let spread = from.spread(&codes, columns, C::MAX);
    let source = Matrix::with_stride(&spread, rows, columns, stride).unwrap();
    let out = guarded(length, to.offset, 7.5, |out| {
        let out = MatrixMut::with_stride(out, rows, columns, out_stride).unwrap();
        dequantize(isa, source, params, out).unwrap();
    });
    let reals = reference::dequantize(&codes, params);
    assert_eq!(bits(&out), bits(&to.spread(&reals, columns, 7.5)), "dequantize {isa}");
}

fn packed<C: ByteCode>(input: &Input, four_bits: bool, codes: RangeInput, [min, max]: [i32; 2]) {
    let ends = [min, max].map(|code| C::try_from(code).ok().expect("a code"));
    let range = codes.range_within::<C>(ends[0], ends[1]);
    let (params, n) = input.params.with_codes(range);
    let x = input.x.reals(n, params.scales().first().copied().unwrap_or(1.0), max - min);
    let (isa, [a, b], width) = (input.isa.isa(), input.offsets, if four_bits { 4 } else { 2 });
    let (rounding, codes, _) = wanted(input, &x, &params);
    let pad = n.checked_sub(1).map_or(0, |last| params.zero_points()[params.granularity().group_of(last)]);
    let low = |code: i32| code & ((1 << width) - 1);
    let bytes: Vec<u8> = codes
        .chunks(8 / width)
        .map(|chunk| {
            let code = |i: usize| low(chunk.get(i).map_or(pad, |&code| code.into())) << (i * width);
            (0..8 / width).map(code).sum::<i32>() as u8
        })
        .collect();
    let out = guarded(bytes.len(), a, 0x5a, |out| {
        let out = if four_bits { PackedCodesMut::four_bits(out, n) } else { PackedCodesMut::two_bits(out, n) };
        quantize(isa, &x, &params, rounding, out.unwrap()).unwrap();
    });
    assert_eq!(out, bytes, "quantize {isa}");
    behind(&bytes, b, 0, |bytes| {
        let source = if four_bits { PackedCodes::four_bits(bytes, n) } else { PackedCodes::two_bits(bytes, n) };
        let source = source.unwrap();
        let out = guarded(n, a, 7.5, |out| dequantize(isa, source, &params, out).unwrap());
        assert_eq!(bits(&out), bits(&reference::dequantize(&codes, &params)), "dequantize {isa}");
        let out = guarded(n, a, C::MAX, |out| raw::unpack_codes(isa, source, out).unwrap());
        assert_eq!(out, codes, "unpack {isa}");
    });
}

fn halves<C: Code>(input: &Input, isa: Isa, x: &[f32], params: &QuantParams<C>, bf16: bool) {
    let [a, b] = input.offsets;
    let view: fn(&[u16]) -> Halves<'_> = if bf16 { |x| Halves::bf16(x) } else { |x| Halves::f16(x) };
    let narrow = if bf16 { reference::narrow_to_bf16 } else { reference::narrow_to_f16 };
    let out = guarded(x.len(), a, 7, |out| {
        raw::narrow(isa, x, if bf16 { HalvesMut::bf16(out) } else { HalvesMut::f16(out) }).unwrap();
    });
    let halves = narrow(x);
    assert_eq!(out, halves, "narrow {isa}");
    let wide = reference::widen(view(&halves));
    let (rounding, codes, reals) = wanted(input, &wide, params);
    behind(&halves, b, 0, |halves| {
        let out = guarded(x.len(), a, C::MAX, |out| quantize(isa, view(halves), params, rounding, out).unwrap());
        assert_eq!(out, codes, "quantize {isa}");
    });
    let reals: Vec<f32> = reals.into_iter().map(f32::from_bits).collect();
    let out = guarded(x.len(), a, 7, |out| {
        let out = if bf16 { HalvesMut::bf16(out) } else { HalvesMut::f16(out) };
        fake_quantize(isa, view(&halves), params, rounding, out).unwrap();
    });
    assert_eq!(out, narrow(&reals), "fake_quantize {isa}");
}

fn fit<C: Code>(isa: Isa, x: &[f32], codes: CodeRange<C>, scheme: Scheme, granularity: Granularity) {
    let exec = Exec::from(isa);
    let found = QuantParams::fit(exec, x, codes, scheme, granularity);
    let groups = granularity.groups(x.len()).unwrap();
    if let Some(index) = x.iter().position(|x| !x.is_finite()) {
        let refused = |error: Error| matches!(error, Error::NonFinite { index: at, .. } if at == index);
        assert!(refused(found.unwrap_err()) && refused(ranges(exec, x, granularity).unwrap_err()), "{isa}");
        return;
    }
    if x.is_empty() {
        assert!(found.is_err() || found.unwrap().scales().iter().all(|&scale| scale == 1.0));
        return;
    }
    let want = reference::ranges(x, granularity, groups);
    assert_eq!(ranges(exec, x, granularity).unwrap(), want, "{isa}");
    assert_eq!(found, QuantParams::from_ranges(codes, scheme, granularity, &want), "{isa}");
    let all = reference::ranges(x, Granularity::Tensor, 1)[0];
    let range = min_max(exec, x).unwrap();
    assert_eq!(bits(&[range.min, range.max]), bits(&[all.min, all.max]), "{isa}");
    assert_eq!(abs_max(exec, x).unwrap(), all.max.max(-all.min), "{isa}");
    // Codes of what the scheme's own rounding says; the other one may have no room.
    if let Ok(params) = found {
        let mut out = vec![C::MIN; x.len()];
        if quantize(exec, x, &params, Rounding::Nearest, &mut out).is_ok() {
            assert_eq!(out, reference::quantize(x, &params), "{isa}");
        }
        let stream = Stream::new(7);
        if quantize(exec, x, &params, stream, &mut out).is_ok() {
            assert_eq!(out, reference::quantize_stochastic(x, &params, stream), "{isa}");
        }
    }
}
