//! The logistic function of a code: a table.

use zeropoint::QuantParams;

/// What becomes of every code of i8, the least first: `1 / (1 + exp(−x))` in f64, and the code of that, halves away from zero.
#[must_use]
pub fn table(x: &QuantParams<i8>, y: &QuantParams<i8>) -> [i8; 256] {
    let real = |code: i32| f64::from(x.scales()[0]) * f64::from(code - x.zero_points()[0]);
    core::array::from_fn(|i| {
        let probability = 1.0 / (1.0 + libm::exp(-real(i as i32 + i32::from(i8::MIN))));
        let code = (probability / f64::from(y.scales()[0])).round() as i32 + y.zero_points()[0];
        code.clamp(i8::MIN.into(), i8::MAX.into()) as i8
    })
}
