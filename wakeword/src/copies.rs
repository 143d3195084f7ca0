//! Operators that move codes and change none.

use core::ops::Range;

/// Tensors beside each other along an axis: the codes of each, and how many of them stand together.
pub fn concatenate(parts: &[(&[i8], usize)]) -> Vec<i8> {
    let runs = parts.first().map_or(0, |(codes, run)| codes.len() / run);
    let run = |i| parts.iter().flat_map(move |(codes, run)| &codes[i * run..][..*run]);
    (0..runs).flat_map(run).copied().collect()
}

/// A part of every run of codes.
pub fn part(codes: &[i8], run: usize, part: Range<usize>) -> Vec<i8> {
    codes.chunks_exact(run).flat_map(|codes| &codes[part.clone()]).copied().collect()
}

/// A box of a tensor, at the end of `out`: on every axis some elements from `begin` on.
pub fn slice(codes: &[i8], shape: &[usize], begin: &[usize], lengths: &[usize], out: &mut Vec<i8>) {
    let ([_, shape @ ..], [begin, begins @ ..], [length, lengths @ ..]) = (shape, begin, lengths) else {
        return out.extend_from_slice(codes);
    };
    let run: usize = shape.iter().product();
    let codes = &codes[begin * run..][..length * run];
    codes.chunks_exact(run).for_each(|codes| slice(codes, shape, begins, lengths, out));
}
