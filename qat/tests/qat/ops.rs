//! Products in a fixed order, and the gradients of all operations.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor, Var};
use qat::integer::{self, Integers};
use qat::ops::{conv2d, cross_entropy, linear, pool_relu};
use qat::products::Products;
use zeropoint::{CodeRange, Isa, QuantParams, Stream, reference};

use crate::{floats, integers};

#[test]
fn products_are_plain_loops_on_every_isa() {
    let shapes =
        [[1, 1, 1], [4, 3, 32], [5, 7, 67], [9, 25, 26], [3, 0, 5], [2, 5, 0], [0, 4, 4], [10, 17, 63], [8, 2, 15]];
    for [rows, depth, columns] in shapes {
        let (a, b, start) = (floats(rows * depth, 1), floats(depth * columns, 2), floats(rows * columns, 3));
        let mut expected = start.clone();
        for i in 0..rows {
            for j in 0..columns {
                for k in 0..depth {
                    expected[i * columns + j] += a[i * depth + k] * b[k * columns + j];
                }
            }
        }
        for isa in Isa::supported() {
            let mut out = start.clone();
            Products::new(isa).add([rows, depth, columns], &a, &b, &mut out);
            assert_eq!(out, expected, "{isa}");
        }
    }
}

fn var(values: Vec<f32>, shape: &[usize]) -> Result<Var> {
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu)?)
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().and_then(|x| x.to_vec1()).expect("a tensor of f32")
}

fn best() -> Products {
    Products::new(Isa::best().unwrap())
}

/// `Σ y · upstream`, with the gradients of `vars`.
fn gradients(y: &Tensor, upstream: &[f32], vars: &[&Var]) -> Result<Vec<Vec<f32>>> {
    let upstream = Tensor::from_slice(upstream, y.shape(), &Device::Cpu)?;
    let store = (y * upstream)?.sum_all()?.backward()?;
    Ok(vars.iter().map(|var| values(store.get(var).expect("a gradient"))).collect())
}

/// With integers all sums are exact, in whatever order: so results and gradients are candle's.
#[test]
fn layers_and_gradients_are_candles_where_sums_are_exact() -> Result<()> {
    let (x, w, b) = (
        var(integers(14 * 9, 1, 9.0), &[14, 9])?,
        var(integers(63, 2, 9.0), &[7, 9])?,
        var(integers(7, 3, 9.0), &[7])?,
    );
    let y = linear(best(), &x, &w, &b)?;
    let exact = x.matmul(&w.t()?)?.broadcast_add(&b)?;
    assert_eq!(values(&y), values(&exact));
    let upstream = integers(14 * 7, 4, 9.0);
    assert_eq!(gradients(&y, &upstream, &[&x, &w, &b])?, gradients(&exact, &upstream, &[&x, &w, &b])?);

    let (x, w, b) = (
        var(integers(2 * 3 * 11 * 9, 5, 9.0), &[2, 3, 11, 9])?,
        var(integers(6 * 3 * 16, 6, 9.0), &[6, 3, 4, 4])?,
        var(integers(6, 7, 9.0), &[6])?,
    );
    let y = conv2d(best(), &x, &w, &b)?;
    let exact = x.conv2d(&w, 0, 1, 1, 1)?.broadcast_add(&b.reshape((1, 6, 1, 1))?)?;
    assert_eq!(y.dims(), exact.dims());
    assert_eq!(values(&y), values(&exact));
    let upstream = integers(y.elem_count(), 8, 9.0);
    assert_eq!(gradients(&y, &upstream, &[&x, &w, &b])?, gradients(&exact, &upstream, &[&x, &w, &b])?);

    // All different, so that no window has two largest ones.
    let x: Vec<f32> = (0..3 * 6 * 8).map(|i| f32::from((i * 89 % 144) as u8) - 70.5).collect();
    let x = var(x, &[1, 3, 6, 8])?;
    let (y, exact) = (pool_relu(&x)?, x.max_pool2d(2)?.relu()?);
    assert_eq!(values(&y), values(&exact));
    // candle's own gradient of a max-pool is a fourth of this: the one element that is the largest gets a share of four.
    let upstream = integers(y.elem_count(), 9, 9.0);
    let found = gradients(&y, &upstream, &[&x])?.remove(0);
    let places: Vec<(usize, f32)> = values(&x).into_iter().enumerate().collect();
    for (i, x) in places {
        let window = i / 48 * 12 + i % 48 / 16 * 4 + i % 8 / 2;
        let largest = x == values(&y)[window];
        assert_eq!(found[i], if largest { upstream[window] } else { 0.0 });
    }
    Ok(())
}

/// Every gradient against central differences of `Σ y · upstream`, in f64.
#[track_caller]
fn check_differences(
    shapes: &[&[usize]],
    step: f32,
    tolerance: f64,
    f: impl Fn(&[&Tensor]) -> Result<Tensor>,
) -> Result<()> {
    let vars: Vec<Var> = shapes
        .iter()
        .zip(1..)
        .map(|(shape, seed)| var(floats(shape.iter().product(), seed), shape))
        .collect::<Result<_>>()?;
    let tensors: Vec<&Tensor> = vars.iter().map(Var::as_tensor).collect();
    let y = f(&tensors)?;
    let upstream = floats(y.elem_count(), 99);
    let found = gradients(&y, &upstream, &vars.iter().collect::<Vec<_>>())?;
    let loss = |tensors: &[&Tensor]| -> Result<f64> {
        Ok(values(&f(tensors)?).iter().zip(&upstream).map(|(&y, &u)| f64::from(y) * f64::from(u)).sum())
    };
    for (which, shape) in shapes.iter().enumerate() {
        let start = values(tensors[which]);
        for i in 0..start.len() {
            let at = |delta: f32| -> Result<f64> {
                let mut moved = start.clone();
                moved[i] += delta;
                let moved = Tensor::from_vec(moved, *shape, &Device::Cpu)?;
                let mut tensors = tensors.clone();
                tensors[which] = &moved;
                loss(&tensors)
            };
            let difference = (at(step)? - at(-step)?) / (2.0 * f64::from(step));
            let gradient = f64::from(found[which][i]);
            assert!((gradient - difference).abs() < tolerance, "{which}, {i}: {gradient}, differences {difference}");
        }
    }
    Ok(())
}

#[test]
fn gradients_are_those_of_finite_differences() -> Result<()> {
    // Linear in every operand: a large step has no error but that of f32.
    check_differences(&[&[3, 5], &[4, 5], &[4]], 0.5, 1e-5, |x| linear(best(), x[0], x[1], x[2]))?;
    check_differences(&[&[2, 2, 6, 5], &[3, 2, 3, 3], &[3]], 0.5, 1e-4, |x| conv2d(best(), x[0], x[1], x[2]))?;
    // A step that changes no window's largest element.
    check_differences(&[&[1, 2, 4, 4]], 1e-4, 1e-3, |x| pool_relu(x[0]))?;
    check_differences(&[&[4, 10]], 1e-2, 2e-5, |x| cross_entropy(x[0], &[3, 0, 9, 3]))
}

#[test]
fn errors_are_candles() -> Result<()> {
    let x = Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu)?;
    for error in [cross_entropy(&x, &[0]), cross_entropy(&x, &[0, 3]), pool_relu(&x.reshape((1, 1, 2, 3))?)] {
        assert!(error.is_err());
    }
    let w = x.reshape((1, 1, 2, 3))?;
    assert!(conv2d(best(), &w, &w, &x).is_err());
    Ok(())
}

/// Products of integers, and their gradients, against plain loops over the codes of the reference.
#[test]
fn integer_products_are_sums_of_codes() -> Result<()> {
    let (rows, inputs, outputs) = (13, 9, 4);
    let (x, w, b) = (
        var(floats(rows * inputs, 1), &[rows, inputs])?,
        var(floats(36, 2), &[outputs, inputs])?,
        var(floats(4, 3), &[4])?,
    );
    let upstream = floats(rows * outputs, 4);
    let params = |x: &[f32]| {
        let amax = x.iter().fold(0.0_f32, |amax, x| amax.max(x.abs()));
        QuantParams::per_tensor(CodeRange::narrow(8).unwrap(), (f64::from(amax) / 127.0) as f32, 0).unwrap()
    };
    let dot = |terms: usize, term: &dyn Fn(usize) -> i32| (0..terms).map(term).sum::<i32>() as f32;
    for isa in Isa::supported() {
        for seed in [None, Some(5)] {
            let integers = Arc::new(Integers::new(isa.into(), seed));
            for call in 0..2 {
                let y = integer::linear(&integers, &x, &w, &b)?;
                let found = gradients(&y, &upstream, &[&x, &w, &b])?;
                let (px, pw, pg) = (params(&values(&x)), params(&values(&w)), params(&upstream));
                let (qx, qw) = (reference::quantize(&values(&x), &px), reference::quantize(&values(&w), &pw));
                let qg = match seed {
                    None => reference::quantize(&upstream, &pg),
                    Some(seed) => {
                        let stream = Stream { seed, offset: call * upstream.len() as u64 };
                        reference::quantize_stochastic(&upstream, &pg, stream)
                    }
                };
                let [sx, sw, sg] = [&px, &pw, &pg].map(|params| params.scales()[0]);
                let product = |q: i8, p: i8| i32::from(q) * i32::from(p);
                for (i, &y) in values(&y).iter().enumerate() {
                    let (row, output) = (i / outputs, i % outputs);
                    let sum = dot(inputs, &|k| product(qx[row * inputs + k], qw[output * inputs + k]));
                    assert_eq!(y, sum * (sx * sw) + values(&b)[output], "{isa}");
                }
                for (i, &dx) in found[0].iter().enumerate() {
                    let (row, input) = (i / inputs, i % inputs);
                    let sum = dot(outputs, &|k| product(qg[row * outputs + k], qw[k * inputs + input]));
                    assert_eq!(dx, sum * (sg * sw));
                }
                for (i, &dw) in found[1].iter().enumerate() {
                    let (output, input) = (i / inputs, i % inputs);
                    let sum = dot(rows, &|k| product(qg[k * outputs + output], qx[k * inputs + input]));
                    assert_eq!(dw, sum * (sg * sx));
                }
                for (output, &db) in found[2].iter().enumerate() {
                    assert_eq!(db, dot(rows, &|k| i32::from(qg[k * outputs + output])) * sg);
                }
            }
        }
    }
    Ok(())
}

/// With codes of ±127 and scales of 1, the integer convolution is the float one, and so are its gradients.
#[test]
fn integer_convolutions_are_candles_where_codes_are_exact() -> Result<()> {
    let exact = |length: usize, seed| {
        let mut values = integers(length, seed, 9.0);
        values[0] = 127.0;
        values
    };
    let (x, w, b) = (
        var(exact(2 * 3 * 42, 1), &[2, 3, 7, 6])?,
        var(exact(4 * 27, 2), &[4, 3, 3, 3])?,
        var(integers(4, 3, 9.0), &[4])?,
    );
    let integers = Arc::new(Integers::new(Isa::best().unwrap().into(), None));
    let (y, expected) = (integer::conv2d(&integers, &x, &w, &b)?, conv2d(best(), &x, &w, &b)?);
    assert_eq!(y.dims(), expected.dims());
    assert_eq!(values(&y), values(&expected));
    let upstream = exact(y.elem_count(), 4);
    assert_eq!(gradients(&y, &upstream, &[&x, &w, &b])?, gradients(&expected, &upstream, &[&x, &w, &b])?);
    Ok(())
}
