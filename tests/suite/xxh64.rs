//! The checksum of archives, apart from the library. The fuzz targets have this file, too.

/// XXH64 with seed 0, step by step as its specification has them (stripes of 32 bytes, then 8, 4 and single bytes).
pub fn xxh64(bytes: &[u8]) -> u64 {
    const P: [u64; 5] = [
        11_400_714_785_074_694_791,
        14_029_467_366_897_019_727,
        1_609_587_929_392_839_161,
        9_650_029_242_287_828_579,
        2_870_177_450_012_600_261,
    ];
    let round = |acc: u64, word: u64| acc.wrapping_add(word.wrapping_mul(P[1])).rotate_left(31).wrapping_mul(P[0]);
    let word = |bytes: &[u8]| u64::from_le_bytes(*bytes.first_chunk().expect("a word"));
    let mut hash = P[4];
    let stripes = bytes.chunks_exact(32);
    let mut rest = stripes.remainder();
    if bytes.len() >= 32 {
        let mut acc = [P[0].wrapping_add(P[1]), P[1], 0, P[0].wrapping_neg()];
        for stripe in stripes {
            for (acc, bytes) in acc.iter_mut().zip(stripe.chunks(8)) {
                *acc = round(*acc, word(bytes));
            }
        }
        hash = [1, 7, 12, 18].iter().zip(acc).fold(0_u64, |hash, (&by, acc)| hash.wrapping_add(acc.rotate_left(by)));
        for acc in acc {
            hash = (hash ^ round(0, acc)).wrapping_mul(P[0]).wrapping_add(P[3]);
        }
    }
    hash = hash.wrapping_add(bytes.len() as u64);
    while rest.len() >= 8 {
        hash = (hash ^ round(0, word(rest))).rotate_left(27).wrapping_mul(P[0]).wrapping_add(P[3]);
        rest = &rest[8..];
    }
    if rest.len() >= 4 {
        let word = u64::from(u32::from_le_bytes(*rest.first_chunk().expect("four bytes")));
        hash = (hash ^ word.wrapping_mul(P[0])).rotate_left(23).wrapping_mul(P[1]).wrapping_add(P[2]);
        rest = &rest[4..];
    }
    for &byte in rest {
        hash = (hash ^ u64::from(byte).wrapping_mul(P[4])).rotate_left(11).wrapping_mul(P[0]);
    }
    hash = (hash ^ hash >> 33).wrapping_mul(P[1]);
    hash = (hash ^ hash >> 29).wrapping_mul(P[2]);
    hash ^ hash >> 32
}
