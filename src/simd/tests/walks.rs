//! Walks visit every element, in order, whatever the length.

use crate::simd::memory::Memory;
use crate::simd::walk::fold_blocks;

#[test]
fn blocks() {
    for length in 0..70 {
        let x: Vec<i32> = (0..length).collect();
        if length > 0 {
            let mut seen = vec![false; x.len()];
            fold_blocks(&x, Memory::Cached, |_, x| x.iter().for_each(|&x| seen[x as usize] = true));
            assert!(seen.into_iter().all(|seen| seen), "{length}");
        }
    }
}
