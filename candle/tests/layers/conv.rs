//! The convolution.

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::{Conv2dConfig, VarBuilder, VarMap};
use zeropoint::layers::Window;
use zeropoint::raw::ZeroPoints;
use zeropoint::{CodeRange, Exec, Granularity, QuantParams, Range, Rounding, Scheme, quantize, reference};
use zeropoint_candle::{Conv2d, ConvScheme, conv2d, conv2d_no_bias};

use crate::{bits, everywhere, floats, integers, tensor, with_two_threads};

/// Channels, outputs, the side of the window, and how it moves.
fn windows() -> [(usize, usize, usize, Conv2dConfig); 5] {
    let config = Conv2dConfig::default();
    [
        (3, 5, 3, config),
        (4, 6, 3, Conv2dConfig { padding: 1, stride: 2, groups: 2, ..config }),
        (2, 3, 2, Conv2dConfig { padding: 2, dilation: 2, ..config }),
        (6, 6, 3, Conv2dConfig { padding: 1, groups: 6, ..config }),
        (33, 35, 1, Conv2dConfig { stride: 3, ..config }),
    ]
}

/// Images and weights whose scales are 1, so that codes are the numbers themselves, and all sums integers.
#[test]
fn equals_candle_where_codes_are_exact() -> Result<()> {
    for (channels, outputs, side, config) in windows() {
        let size = channels / config.groups * side * side;
        let mut w = integers(outputs * size, 1, 127.0);
        w.iter_mut().step_by(size).for_each(|w| *w = 127.0);
        let (images, pixels) = (2, 9 * 7);
        let mut x = integers(images * channels * pixels, 2, 100.0);
        for image in x.chunks_mut(channels * pixels) {
            image[..2].copy_from_slice(&[-120.0, 135.0]);
        }
        let weight = tensor(w, &[outputs, channels / config.groups, side, side])?;
        let (x, bias) = (tensor(x, &[images, channels, 9, 7])?, tensor(integers(outputs, 3, 9.0), &[outputs])?);
        let exact = candle_nn::Conv2d::new(weight, Some(bias), config);
        let layer = Conv2d::quantize(&exact, ConvScheme::int8())?;
        let (y, expected) = (layer.forward(&x)?, exact.forward(&x)?);
        assert_eq!(y.dims(), expected.dims());
        assert_eq!(bits(&y), bits(&expected));
        assert_eq!(*layer.config(), config);
    }
    Ok(())
}

/// The result by plain loops over codes.
fn by_reference(x: &Tensor, weight: &Tensor, bias: &[f32], config: Conv2dConfig, symmetric: bool) -> Result<Vec<f32>> {
    let exec = Exec::best().unwrap();
    let (images, channels, height, width) = x.dims4()?;
    let (outputs, group_channels, side, _) = weight.dims4()?;
    let last = x.permute((0, 2, 3, 1))?.flatten_all()?.to_vec1::<f32>()?;
    let by_image = Granularity::channel(&[images, channels * height * width], 0).unwrap();
    let scheme = if symmetric { Scheme::MIDDLE } else { Scheme::ASYMMETRIC };
    let px = QuantParams::fit(exec, &last, CodeRange::unsigned(8).unwrap(), scheme, by_image).unwrap();
    let w = weight.flatten_all()?.to_vec1::<f32>()?;
    let ranges: Vec<Range> = w
        .chunks(w.len() / outputs)
        .map(|w| Range { min: w.iter().copied().fold(0.0, f32::min), max: w.iter().copied().fold(0.0, f32::max) })
        .collect();
    let by_output = Granularity::channel(&[outputs, w.len() / outputs], 0).unwrap();
    let pw = QuantParams::from_ranges(CodeRange::narrow(8).unwrap(), Scheme::SYMMETRIC, by_output, &ranges).unwrap();
    let (mut qx, mut qw) = (vec![0_u8; last.len()], vec![0_i8; w.len()]);
    quantize(exec, &last, &px, Rounding::Nearest, &mut qx).unwrap();
    quantize(exec, &w, &pw, Rounding::Nearest, &mut qw).unwrap();
    let Conv2dConfig { padding, stride, dilation, .. } = config;
    let window = Window { size: [side; 2], stride: [stride; 2], padding: [padding; 4], dilation: [dilation; 2] };
    let sums = reference::conv2d(
        &qx,
        [images, height, width, channels],
        px.zero_points(),
        &qw,
        [outputs, group_channels, side, side],
        ZeroPoints::Uniform(0),
        None,
        &window,
    );
    let pixels = sums.len() / images / outputs;
    let value = |image: usize, output: usize, pixel: usize| {
        let sum = sums[(image * pixels + pixel) * outputs + output];
        sum as f32 * (px.scales()[image] * pw.scales()[output]) + bias[output]
    };
    let all = (0..images * outputs * pixels).map(|i| value(i / pixels / outputs, i / pixels % outputs, i % pixels));
    Ok(all.collect())
}

#[test]
fn equals_plain_loops_everywhere() -> Result<()> {
    for (channels, outputs, side, config) in windows() {
        let shape = [outputs, channels / config.groups, side, side];
        let (weight, bias) = (tensor(floats(shape.iter().product(), 4), &shape)?, floats(outputs, 5));
        let x = tensor(floats(3 * channels * 11 * 8, 6), &[3, channels, 11, 8])?;
        let bias_tensor = tensor(bias.clone(), &[outputs])?;
        for symmetric in [false, true] {
            let scheme = if symmetric { ConvScheme::int8().symmetric() } else { ConvScheme::int8() };
            let expected = by_reference(&x, &weight, &bias, config, symmetric)?;
            for exec in everywhere() {
                let layer = Conv2d::new(&weight, Some(&bias_tensor), config, scheme.on(exec))?;
                let y = with_two_threads(|| layer.forward(&x))?;
                assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, expected, "{exec:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn takes_any_layout_and_type() -> Result<()> {
    let (weight, config) = (tensor(floats(4 * 3 * 9, 7), &[4, 3, 3, 3])?, Conv2dConfig::default());
    let layer = Conv2d::new(&weight, None, config, ConvScheme::int8())?;
    let all = tensor(floats(2 * 10 * 12 * 6, 8), &[2, 10, 12, 6])?;
    let layouts = [
        all.narrow(3, 1, 3)?.permute((0, 3, 1, 2))?,
        all.narrow(1, 4, 3)?,
        all.narrow(1, 4, 3)?.transpose(2, 3)?,
        all.narrow(0, 1, 1)?.narrow(1, 1, 3)?.broadcast_as((3, 3, 12, 6))?,
        all.narrow(0, 1, 0)?.narrow(1, 1, 3)?,
    ];
    for x in &layouts {
        let y = layer.forward(x)?;
        assert_eq!(bits(&y), bits(&layer.forward(&x.force_contiguous()?)?), "{:?}", x.layout());
        // Floats of 16 bits are those of 32 bits, and the result is rounded once more.
        for dtype in [DType::F16, DType::BF16] {
            let half = x.to_dtype(dtype)?;
            let y = layer.forward(&half)?;
            assert_eq!(y.dtype(), dtype);
            assert_eq!(bits(&y), bits(&layer.forward(&half.to_dtype(DType::F32)?)?.to_dtype(dtype)?));
        }
    }
    // An image alone has the bytes that it has among others.
    let (x, y) = (&layouts[0], layer.forward(&layouts[0])?);
    assert_eq!(bits(&layer.forward(&x.narrow(0, 1, 1)?)?), bits(&y.narrow(0, 1, 1)?));
    Ok(())
}

#[test]
fn is_made_as_candles_layer_is() -> Result<()> {
    let weights = VarMap::new();
    let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
    let config = Conv2dConfig { padding: 1, groups: 2, ..Conv2dConfig::default() };
    let (exact, x) = (candle_nn::conv2d(4, 6, 3, config, vb.pp("conv"))?, tensor(floats(4 * 25, 9), &[1, 4, 5, 5])?);
    let scheme = ConvScheme::int8();
    let expected = Conv2d::new(exact.weight(), exact.bias(), config, scheme)?.forward(&x)?;
    assert_eq!(bits(&conv2d(4, 6, 3, config, vb.pp("conv"), scheme)?.forward(&x)?), bits(&expected));
    let expected = Conv2d::new(exact.weight(), None, config, scheme)?.forward(&x)?;
    assert_eq!(bits(&conv2d_no_bias(4, 6, 3, config, vb.pp("conv"), scheme)?.forward(&x)?), bits(&expected));
    Ok(())
}
