//! Blocks of other programs.

use super::{Guarded, finite, scattered};
use crate::common::every_isa;
use zeropoint::Stream;
use zeropoint::formats::{BlockFormat, block_offsets, decode_blocks, encode_blocks, encode_blocks_with, split_blocks};

/// As many blocks as a vector has lanes, and one more; of super-blocks a few.
#[test]
fn blocks() {
    let counts = |format: BlockFormat| if format.block_length() < 256 { 18 } else { 4 };
    let cases = BlockFormat::ALL.into_iter().flat_map(|format| (0..counts(format)).map(move |count| (format, count)));
    scattered(7, cases, |place, (format, count), _| {
        let length = count * format.block_length();
        let groups = length / format.group_length();
        let x = Guarded::new(place, &finite(length));
        let mut bytes = Guarded::of(place, format.bytes(length).unwrap(), 0_u8);
        let (mut out, mut codes) = (Guarded::of(place, length, 0.0_f32), Guarded::of(place, length, 0_i8));
        let mut scales = Guarded::of(place, groups, 0.0_f32);
        every_isa(|isa| {
            encode_blocks(isa, format, &x, &mut bytes).unwrap();
            decode_blocks(isa, format, &bytes, &mut out).unwrap();
            split_blocks(isa, format, &bytes, &mut codes, &mut scales).unwrap();
            block_offsets(isa, format, &bytes, &mut scales).unwrap();
            if matches!(format, BlockFormat::MxFp4 | BlockFormat::NvFp4) {
                encode_blocks_with(isa, format, Stream::new(7), &x, &mut bytes).unwrap();
            }
        });
    });
}
