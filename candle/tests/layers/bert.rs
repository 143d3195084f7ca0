//! A small BERT with random weights: with layers of few bits in place of candle's, it says almost the same.

#[path = "../../minilm/src/bert.rs"]
mod encoder;

use candle_core::{DType, Device, Result};
use candle_nn::{VarBuilder, VarMap};
use encoder::{Bert, Layer, MakeLayer, Sizes};
use zeropoint_candle::{LinearScheme, linear_no_bias};

use crate::{floats, tensor};

const SIZES: Sizes = Sizes {
    vocabulary: 40,
    positions: 16,
    types: 2,
    width: 64,
    intermediate: 128,
    heads: 4,
    layers: 2,
    epsilon: 1e-12,
};

/// Gives every matrix values that are the same in all runs: candle's random numbers differ.
fn set(weights: &VarMap) -> Result<()> {
    let variables = weights.data().lock().expect("nobody panicked");
    let mut names: Vec<&String> = variables.keys().filter(|name| variables[*name].rank() == 2).collect();
    names.sort();
    for (name, seed) in names.into_iter().zip(1..) {
        let variable = &variables[name];
        let values = floats(variable.elem_count(), seed);
        variable.set(&(tensor(values, variable.dims())? * 0.2)?)?;
    }
    Ok(())
}

#[test]
fn of_few_bits_agrees_with_f32() -> Result<()> {
    let weights = VarMap::new();
    let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
    let sequences: Vec<Vec<u32>> = (0..6).map(|i| (0..12).map(|j| (7 * i * j + 3 * i + j) % 40).collect()).collect();
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let embed = |layer: MakeLayer<'_>| Bert::new(&SIZES, &vb, layer)?.embed_all(&sequences);
    let candles =
        |inputs, outputs, vb: VarBuilder<'_>| Ok(Box::new(candle_nn::linear_no_bias(inputs, outputs, vb)?) as Layer);
    embed(&candles)?; // makes the variables
    set(&weights)?;
    let exact = embed(&candles)?;
    for (scheme, least) in [
        (LinearScheme::int8(), 0.9998),
        (LinearScheme::groups(8, 32)?, 0.9998),
        (LinearScheme::groups(4, 32)?, 0.98),
        (LinearScheme::groups(4, 32)?.activations_in_groups(32), 0.98),
    ] {
        let few = embed(&|inputs, outputs, vb| Ok(Box::new(linear_no_bias(inputs, outputs, vb, scheme)?) as Layer))?;
        for (a, b) in few.iter().zip(&exact) {
            let cosine: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            assert!((least..1.0 + 1e-5).contains(&cosine), "{cosine}, {scheme:?}");
        }
        assert_ne!(few, exact);
    }
    Ok(())
}
