//! Malformed files, made of good ones, the same in every run.

/// Numbers that sizes and offsets are not, or should not be: their products overflow, or they are no integers.
const NUMBERS: [&str; 8] = [
    "0",
    "1",
    "-1",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "340282366920938463463374607431",
    "1e9",
];

/// A file cut short, longer, and with other values in the first and last bytes.
pub fn of_bytes(good: &[u8]) -> Vec<Vec<u8>> {
    let ends = (0..24).chain(good.len().saturating_sub(24)..good.len());
    let ends: Vec<usize> = ends.filter(|&at| at < good.len()).collect();
    let mut files: Vec<Vec<u8>> = ends.iter().map(|&length| good[..length].to_vec()).collect();
    files.push([good, &[0]].concat());
    for at in ends {
        for byte in [0, 0xff, good[at] ^ 0x80] {
            let mut file = good.to_vec();
            file[at] = byte;
            files.push(file);
        }
    }
    files
}

/// A header with other numbers, without some of its bytes, with other ones, and nested as deeply as it is long.
pub fn of_text(good: &str) -> Vec<String> {
    let is_digit = |at: usize| good.as_bytes()[at].is_ascii_digit();
    let starts = (0..good.len()).filter(|&at| is_digit(at) && (at == 0 || !is_digit(at - 1)));
    let mut texts = Vec::new();
    for (i, start) in starts.enumerate() {
        let end = (start..good.len()).find(|&at| !is_digit(at)).unwrap_or(good.len());
        for number in [NUMBERS[i % 8], NUMBERS[(i + 3) % 8]] {
            texts.push([&good[..start], number, &good[end..]].concat());
        }
    }
    for at in (0..good.len()).step_by(good.len().div_ceil(40)).filter(|&at| good.is_char_boundary(at)) {
        texts.push(good[..at].to_owned());
        texts.push([&good[..at], good.get(at + 1..).unwrap_or_default()].concat());
        texts.push([&good[..at], "\n'\"", &good[at..]].concat());
    }
    for bracket in ["[", "(", "{", "{'a':", "{\"a\":"] {
        texts.push(bracket.repeat(9_000 / bracket.len()));
    }
    texts
}

/// Some of them where every program takes long to start, as in an emulator: all of them otherwise.
pub fn sample<T>(files: Vec<T>) -> Vec<T> {
    let step = if std::env::var_os("ZEROPOINT_TEST_RUNNER").is_some() { 100 } else { 1 };
    files.into_iter().step_by(step).collect()
}
