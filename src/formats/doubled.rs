//! E2M1 doubled: a table for plain loops and for look-ups in registers.

/// The doubled value of every code.
pub const DOUBLED: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// The largest doubled value.
pub const LARGEST_DOUBLED: i8 = 12;

/// The code of every doubled value from −12 on; that of 0 has no sign. Integers that are no doubled value have the code 0.
const CODES: [u8; 25] = {
    let (mut codes, mut code) = ([0; 25], 15);
    while code > 0 {
        codes[(DOUBLED[code] + LARGEST_DOUBLED) as usize] = code as u8;
        code -= 1;
    }
    codes[LARGEST_DOUBLED as usize] = 0;
    codes
};

/// The code of a doubled value.
pub fn code(doubled: i8) -> u8 {
    CODES[(doubled + LARGEST_DOUBLED) as usize]
}
