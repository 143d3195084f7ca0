//! What quantization costs.

use super::groups::parameters;
use crate::codes::Code;
use crate::params::QuantParams;

/// [`ErrorReport::signal`](crate::report::ErrorReport::signal), [`sse`](crate::report::ErrorReport::sse) and
/// [`max_error`](crate::report::ErrorReport::max_error) of finite values: chunks of 16384, in each of them sixteen sums, of every
/// sixteenth element.
#[must_use]
pub fn errors(x: &[f32], reconstruction: &[f32]) -> (f64, f64, f32) {
    let (mut signal, mut noise, mut largest) = (0.0, 0.0, 0.0_f32);
    for (x, reconstruction) in x.chunks(16_384).zip(reconstruction.chunks(16_384)) {
        let (mut signals, mut noises) = ([0.0; 16], [0.0; 16]);
        for (i, (&x, &r)) in x.iter().zip(reconstruction).enumerate() {
            let error = x - r;
            signals[i % 16] += f64::from(x) * f64::from(x);
            noises[i % 16] += f64::from(error) * f64::from(error);
            largest = largest.max(error.abs());
        }
        signal += signals.iter().sum::<f64>();
        noise += noises.iter().sum::<f64>();
    }
    (signal, noise, largest)
}

/// [`ErrorReport::saturated`](crate::report::ErrorReport::saturated): the codes `RNE(x / S) + Z` outside the code range.
#[must_use]
pub fn saturated<C: Code>(x: &[f32], params: &QuantParams<C>) -> u64 {
    let (min, max): (i32, i32) = (params.codes().min().into(), params.codes().max().into());
    let outside = |&(i, &x): &(usize, &f32)| {
        let (scale, zero_point) = parameters(params, i);
        let code = f64::from((x / scale).round_ties_even()) + f64::from(zero_point);
        code < f64::from(min) || code > f64::from(max)
    };
    x.iter().enumerate().filter(outside).count() as u64
}
