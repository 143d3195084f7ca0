//! Random words and stochastic rounding: a tensor in any pieces, each on another ISA and its own threads, has the codes of the
//! whole, which are those of the reference.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use zeropoint::random::{StreamRng, fill_uniform, fill_words};
use zeropoint::{Code, CodeRange, Exec, Granularity, QuantParams, fake_quantize, quantize, reference};
use zeropoint_fuzz::{
    Backwards, CodeType, IsaInput, RangeInput, Reals, ScaleTexture, StreamInput, bits, groups_scales, guarded,
    of_code_type,
};

#[derive(Arbitrary, Debug)]
struct Input {
    codes: CodeType,
    range: RangeInput,
    scale: (u32, ScaleTexture),
    zero_point: u16,
    x: Reals,
    stream: StreamInput,
    length: u16,
    /// Where pieces end, and who makes them.
    cuts: Vec<(u16, IsaInput, u8)>,
    last: IsaInput,
    words: bool,
    offset: u8,
}

fuzz_target!(|input: Input| if input.words { words(&input) } else { of_code_type!(input.codes, run(&input)) });

/// More than two chunks of the stream now and then.
fn length(input: &Input) -> usize {
    let length = usize::from(input.length);
    if length < 0xf000 { length % 3000 } else { length }
}

/// The pieces of a length: where each begins and ends, and where it runs.
fn pieces(input: &Input, length: usize) -> Vec<(core::ops::Range<usize>, IsaInput, usize)> {
    let mut cuts: Vec<_> =
        input.cuts.iter().take(8).map(|&(cut, isa, n)| (usize::from(cut) % (length + 1), isa, n)).collect();
    cuts.push((length, input.last, 0));
    cuts.sort_by_key(|cut| cut.0);
    let mut start = 0;
    cuts.into_iter()
        .map(|(end, isa, threads)| {
            let piece = (start..end, isa, usize::from(threads % 4) + 1);
            start = end;
            piece
        })
        .collect()
}

fn words(input: &Input) {
    let length = length(input);
    let stream = input.stream.stream(length);
    let want = reference::words(stream, length);
    let uniform = bits(&reference::uniform(stream, length));
    for (range, isa, threads) in pieces(input, length) {
        // (No piece begins behind the stream's last word.)
        let Ok(here) = stream.skip(range.start as u64) else { return };
        let (isa, threads) = (isa.isa(), Backwards(threads));
        let exec = Exec::from(isa).on(&threads);
        let out = guarded(range.len(), input.offset, 7, |out| fill_words(exec, here, out).unwrap());
        assert_eq!(out, want[range.clone()], "{isa} {range:?}");
        let out = guarded(range.len(), input.offset, 7.5, |out| fill_uniform(exec, here, out).unwrap());
        assert_eq!(bits(&out), uniform[range.clone()], "{isa} {range:?}");
        let mut rng = StreamRng::new(isa, here);
        for (i, want) in range.clone().zip(&want[range.clone()]) {
            assert_eq!(rand_core::Rng::next_u32(&mut rng), *want, "{isa}: word {i}");
        }
    }
}

fn run<C: Code>(input: &Input) {
    let codes = input.range.range::<C>();
    let (min, max): (i32, i32) = (codes.min().into(), codes.max().into());
    let zero_point = min + i32::from(input.zero_point) % (max - min + 1);
    let scale = groups_scales(&input.scale, 1)[0];
    let length = length(input);
    let x = input.x.reals(length, scale, max - min);
    let params = params(codes, scale, zero_point);
    let stream = input.stream.stream(length);
    let want = reference::quantize_stochastic(&x, &params, stream);
    let reals = bits(&reference::fake_quantize_stochastic(&x, &params, stream));
    for (range, isa, threads) in pieces(input, length) {
        let Ok(here) = stream.skip(range.start as u64) else { return };
        let (isa, threads, x) = (isa.isa(), Backwards(threads), &x[range.clone()]);
        let exec = Exec::from(isa).on(&threads);
        let out = guarded(x.len(), input.offset, C::MIN, |out| quantize(exec, x, &params, here, out).unwrap());
        assert!(out == want[range.clone()], "{isa} {range:?} {here:?}");
        let out = guarded(x.len(), input.offset, -7.5, |out| fake_quantize(exec, x, &params, here, out).unwrap());
        assert!(bits(&out) == reals[range.clone()], "{isa} {range:?} {here:?}");
    }
}

fn params<C: Code>(codes: CodeRange<C>, scale: f32, zero_point: i32) -> QuantParams<C> {
    QuantParams::new(codes, Granularity::Tensor, vec![scale], vec![zero_point]).unwrap()
}
