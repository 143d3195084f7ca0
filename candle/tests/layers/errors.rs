//! What is wrong is candle's error, with a message.

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Module, Result, Tensor, Var};
use candle_nn::Conv2dConfig;
use zeropoint::groups::GroupScheme;
use zeropoint_candle::{Conv2d, ConvScheme, Linear, LinearScheme};

use crate::{floats, tensor};

#[track_caller]
fn refused<T>(result: Result<T>, message: &str) {
    let Err(error) = result else { panic!("no error: {message}") };
    assert!(error.to_string().contains(message), "{error}");
}

fn layer() -> Linear {
    let weight = tensor(floats(8 * 32, 1), &[8, 32]).unwrap();
    Linear::new(&weight, None, LinearScheme::int8()).unwrap()
}

fn conv(config: Conv2dConfig) -> Result<Conv2d> {
    Conv2d::new(&tensor(floats(4 * 2 * 9, 2), &[4, 2, 3, 3])?, None, config, ConvScheme::int8())
}

#[test]
fn of_weights_and_schemes() -> Result<()> {
    let (weight, bias) = (tensor(floats(8 * 32, 1), &[8, 32])?, tensor(floats(9, 2), &[9])?);
    let int8 = LinearScheme::int8();
    refused(Linear::new(&bias, None, int8), "unexpected rank");
    refused(Linear::new(&weight, Some(&bias), int8), "the bias, expected: [8], got: [9]");
    refused(Linear::new(&weight, Some(&bias.narrow(0, 0, 8)?.unsqueeze(0)?), int8), "the bias, expected: [8]");
    refused(Linear::new(&(&weight / 0.0)?, None, int8), "zeropoint-linear");
    refused(Linear::new(&weight, Some(&(bias.narrow(0, 1, 8)? / 0.0)?), int8), "the bias");
    refused(LinearScheme::groups(9, 32), "zeropoint groups");
    refused(LinearScheme::groups(4, 0), "length");
    refused(Linear::new(&weight, None, LinearScheme::groups(4, 17)?), "multiple of 16");
    // Groups of activations that are not those of the weights are found where the layer is made.
    refused(Linear::new(&weight, None, LinearScheme::groups(4, 16)?.activations_in_groups(32)), "groups");
    let four = GroupScheme::symmetric(4, 16).unwrap();
    refused(Linear::new(&weight, None, LinearScheme::new(four).activations_in_groups(0)), "length");

    let config = Conv2dConfig::default();
    refused(Conv2d::new(&weight, None, config, ConvScheme::int8()), "unexpected rank");
    let kernel = tensor(floats(4 * 2 * 9, 2), &[4, 2, 3, 3])?;
    refused(Conv2d::new(&kernel, Some(&bias), config, ConvScheme::int8()), "the bias, expected: [4], got: [9]");
    refused(conv(Conv2dConfig { groups: 3, ..config }), "zeropoint-conv2d");
    refused(conv(Conv2dConfig { groups: 0, ..config }), "zeropoint-conv2d");
    refused(conv(Conv2dConfig { stride: 0, ..config }), "at least 1");
    refused(conv(Conv2dConfig { dilation: 0, ..config }), "at least 1");
    Ok(())
}

#[test]
fn of_inputs() -> Result<()> {
    let (layer, conv) = (layer(), conv(Conv2dConfig::default())?);
    for dtype in [DType::F64, DType::U8, DType::U32, DType::I64] {
        let message = format!("unsupported dtype {dtype:?} for op zeropoint-");
        refused(layer.forward(&Tensor::zeros((2, 32), dtype, &Device::Cpu)?), &message);
        refused(conv.forward(&Tensor::zeros((1, 2, 5, 5), dtype, &Device::Cpu)?), &message);
    }
    refused(layer.forward(&tensor(floats(66, 3), &[2, 33])?), "expected: [2, 32], got: [2, 33]");
    refused(layer.forward(&tensor(floats(64, 3), &[32, 2])?), "expected: [32, 32], got: [32, 2]");
    refused(layer.forward(&tensor(vec![1.0], &[])?), "a scalar");
    refused(conv.forward(&tensor(floats(18, 3), &[2, 3, 3])?), "unexpected rank");
    refused(conv.forward(&tensor(floats(27, 3), &[1, 3, 3, 3])?), "channels");
    refused(conv.forward(&tensor(floats(2 * 4, 3), &[1, 2, 2, 2])?), "window is larger");
    for value in [f32::NAN, f32::INFINITY] {
        let mut x = floats(64, 3);
        x[40] = value;
        refused(layer.forward(&tensor(x.clone(), &[2, 32])?), "zeropoint-linear");
        refused(conv.forward(&tensor(x, &[1, 2, 8, 4])?), "zeropoint-conv2d");
    }
    Ok(())
}

/// Layouts that candle would not make, by the operation itself.
#[test]
fn of_layouts_beyond_their_storage() {
    let (layer, storage) = (layer(), CpuStorage::F32(floats(64, 3)));
    for (shape, stride, start) in [
        ([2, 32], vec![32, 1], 1),
        ([3, 32], vec![32, 1], 0),
        ([2, 32], vec![1, 2], 1),
        ([2, 32], vec![usize::MAX, 1], 0),
        ([2, 32], vec![32, 1], usize::MAX),
        ([usize::MAX, 32], vec![0, 1], 0),
    ] {
        let layout = Layout::new((&shape).into(), stride, start);
        assert!(layer.cpu_fwd(&storage, &layout).is_err(), "{layout:?}");
    }
    let conv = conv(Conv2dConfig::default()).unwrap();
    for shape in [[1, 2, 8, 5], [usize::MAX, 2, 8, 4], [0, 2, usize::MAX, usize::MAX]] {
        let layout = Layout::new((&shape).into(), vec![0, 32, 4, 1], 0);
        assert!(conv.cpu_fwd(&storage, &layout).is_err(), "{layout:?}");
    }
}

/// No gradient is lost silently.
#[test]
fn of_a_gradient() -> Result<()> {
    let x = Var::from_tensor(&tensor(floats(64, 3), &[2, 32])?)?;
    refused(layer().forward(&x)?.sum_all()?.backward(), "backward is not supported for zeropoint-linear");
    let x = Var::from_tensor(&x.reshape((1, 2, 8, 4))?)?;
    let y = conv(Conv2dConfig::default())?.forward(&x)?;
    refused(y.sum_all()?.backward(), "backward is not supported for zeropoint-conv2d");
    Ok(())
}
