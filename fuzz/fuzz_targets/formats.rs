//! Block formats and FP8: encoded and decoded bytes equal the reference, whatever the numbers and the bytes are.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use zeropoint::formats::{
    BlockFormat, NvFp4, TensorFormat, block_offsets, decode_blocks, encode_blocks_with, split_blocks,
};
use zeropoint::fp8::{Fp8, Fp8Params, decode, encode};
use zeropoint::{Isa, Rounding, reference};
use zeropoint_fuzz::{
    CodeTexture, Data, IsaInput, Reals, ScaleTexture, Shape, StreamInput, bits, groups_scales, guarded,
};

#[derive(Arbitrary, Debug)]
struct Input {
    isa: IsaInput,
    format: u8,
    count: u8,
    /// The size of a step of the numbers.
    exponent: u8,
    x: Reals,
    bytes: Data<CodeTexture>,
    tensor_scale: Option<u32>,
    stochastic: Option<StreamInput>,
    what: What,
    offset: u8,
}

#[derive(Arbitrary, Debug)]
enum What {
    Encode,
    Decode,
    Fp8 { e5m2: bool, saturates: bool, shape: Shape, scales: (u32, ScaleTexture) },
}

fuzz_target!(|input: Input| {
    let isa = input.isa.isa();
    if let What::Fp8 { e5m2, saturates, shape, scales } = input.what {
        return fp8(&input, isa, if e5m2 { Fp8::E5M2 } else { Fp8::E4M3 }, saturates, shape, scales);
    }
    let block = BlockFormat::ALL[usize::from(input.format) % BlockFormat::ALL.len()];
    let mut format = TensorFormat::from(block);
    let tensor_scale = input.tensor_scale.map(|scale| NvFp4::new(f32::from_bits(scale)));
    if let (BlockFormat::NvFp4, Some(Ok(scaled))) = (block, tensor_scale) {
        format = scaled.into();
    }
    // More blocks than are encoded together, unless they are large.
    let blocks = usize::from(input.count) % if block.block_length() > 64 { 5 } else { 40 };
    if let What::Encode = input.what {
        encoded(&input, isa, format, blocks)
    } else {
        decoded(&input, isa, format, blocks)
    }
});

fn encoded(input: &Input, isa: Isa, format: TensorFormat, blocks: usize) {
    let block = format.block_format();
    let step = 2_f64.powi(i32::from(input.exponent) - 149) as f32;
    let x = input.x.reals(blocks * block.block_length(), step, 127);
    let stream = input.stochastic.map(|stream| stream.stream(x.len()));
    let rounding = stream.map_or(Rounding::Nearest, Rounding::from);
    let mut bytes = vec![0x55; blocks * block.block_bytes()].into_boxed_slice();
    let found = encode_blocks_with(isa, format, rounding, &x, &mut bytes);
    // What a format cannot store is an error on every ISA, and nothing is written.
    if found.is_err() {
        assert!(bytes.iter().all(|&byte| byte == 0x55), "{isa}: written in spite of {found:?}");
        for &other in zeropoint_fuzz::isas() {
            // (NaN of an error is not equal to itself.)
            let of_other = encode_blocks_with(other, format, rounding, &x, &mut bytes);
            assert_eq!(format!("{of_other:?}"), format!("{found:?}"), "{other}");
        }
        return;
    }
    assert_eq!(*bytes, reference::encode_blocks_with(format, rounding, &x), "{isa} {format:?}");
    decode_all(isa, format, &bytes, input.offset);
    if let Some(stream) = stream {
        let cut = usize::from(input.offset) % (blocks + 1);
        let (x, rest) = x.split_at(cut * block.block_length());
        let mut pieces = vec![0; bytes.len()];
        let (first, second) = pieces.split_at_mut(cut * block.block_bytes());
        encode_blocks_with(isa, format, stream, x, first).unwrap();
        // (Where no words are left, no elements are.)
        if let Ok(stream) = stream.skip(x.len() as u64) {
            encode_blocks_with(isa, format, stream, rest, second).unwrap();
            assert_eq!(pieces, *bytes, "{isa} {format:?} {cut}");
        }
    }
}

fn decoded(input: &Input, isa: Isa, format: TensorFormat, blocks: usize) {
    let bytes = input.bytes.codes::<u8>(blocks * format.block_format().block_bytes()).into_boxed_slice();
    decode_all(isa, format, &bytes, input.offset);
}

/// Whole blocks as reals, and as parts that give the same reals.
fn decode_all(isa: Isa, format: TensorFormat, bytes: &[u8], offset: u8) {
    let block = format.block_format();
    let length = bytes.len() / block.block_bytes() * block.block_length();
    let want = reference::decode_blocks(format, bytes);
    let out = guarded(length, offset, 9.75, |out| decode_blocks(isa, format, bytes, out).unwrap());
    assert_eq!(bits(&out), bits(&want), "{isa} {format:?}");
    let groups = length / block.group_length();
    let (mut codes, mut scales, mut offsets) = (vec![0; length], vec![0.0; groups], vec![0.0; groups]);
    split_blocks(isa, format, bytes, &mut codes, &mut scales).unwrap();
    if block.has_offsets() {
        block_offsets(isa, block, bytes, &mut offsets).unwrap();
    }
    for (i, (&code, want)) in codes.iter().zip(want).enumerate() {
        let group = i / block.group_length();
        let real = scales[group] * f32::from(code) + if block.has_offsets() { offsets[group] } else { 0.0 };
        // (0 + 0 is not −0.)
        assert!(real == want || real.is_nan() && want.is_nan(), "{isa} {format:?}: {real:e} for {want:e} at {i}");
    }
}

fn fp8(input: &Input, isa: Isa, format: Fp8, saturates: bool, shape: Shape, scales: (u32, ScaleTexture)) {
    let (granularity, length) = shape.granularity();
    let scales = groups_scales(&scales, granularity.groups(length).unwrap());
    let params = Fp8Params::new(format, granularity, &scales).unwrap();
    let params = if saturates { params } else { params.without_saturation() };
    let step = scales.first().copied().unwrap_or(1.0) * 2_f32.powi(i32::from(input.exponent % 32) - 20);
    let x = input.x.reals(length, step, 16);
    let (rounding, want) = match input.stochastic.map(|stream| stream.stream(length)) {
        None => (Rounding::Nearest, reference::encode_fp8(&x, &params)),
        Some(stream) => (stream.into(), reference::encode_fp8_stochastic(&x, &params, stream)),
    };
    let codes = guarded(length, input.offset, 0x5a, |out| encode(isa, &x, &params, rounding, out).unwrap());
    assert_eq!(codes, want, "{isa} {params:?} {rounding:?}");
    let codes = input.bytes.codes::<u8>(length);
    let reals = guarded(length, input.offset, 1.5, |out| decode(isa, &codes, &params, out).unwrap());
    assert_eq!(bits(&reals), bits(&reference::decode_fp8(&codes, &params)), "{isa} {params:?}");
}
