//! GELU and softmax beside f64.

use e5::{gelu, softmax};

#[test]
fn gelu_is_near_the_exact_one() {
    let x: Vec<f32> = (-16_000..=16_000).map(|i| i as f32 * 1e-3).chain([1e-30, -1e-30, 1e4, -1e4]).collect();
    let mut y = x.clone();
    gelu(&mut y);
    for (&x, &y) in x.iter().zip(&y) {
        let exact = e5::reference::gelu(f64::from(x));
        assert!((f64::from(y) - exact).abs() <= 3e-7 * f64::from(x).abs().max(0.1), "{x}: {y}, not {exact}");
    }
    let mut ends = [0.0, f32::NAN];
    gelu(&mut ends);
    assert!(ends[0] == 0.0 && ends[1].is_nan());
}

#[test]
fn softmax_is_near_the_exact_one() {
    // A vector and a part of one; scores far below the largest, too.
    for length in [1, 2, 15, 16, 17, 100] {
        let scores: Vec<f32> = (0..length).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.9 + 1e3).collect();
        let max = scores.iter().copied().fold(f32::MIN, f32::max);
        let exact = |score: f32| f64::from(score - max).exp();
        let sum: f64 = scores.iter().map(|&score| exact(score)).sum();
        let mut weights = scores.clone();
        softmax(&mut weights);
        for (&score, &weight) in scores.iter().zip(&weights) {
            let exact = exact(score) / sum;
            assert!((f64::from(weight) - exact).abs() <= 1e-6 * exact + 1e-37, "{score}: {weight}, not {exact}");
        }
    }
    let mut scores = [f32::NAN, 1.0];
    softmax(&mut scores);
    assert!(scores[1].is_nan());
}
