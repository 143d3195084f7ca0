//! Arrays of `ndarray` as arguments.

use ndarray::{Array, Array2, Array4, Axis, s};
use zeropoint::ndarray::{slice, slice_mut};
use zeropoint::{
    CodeRange, Dequantize, Error, Exec, Granularity, Matrix, MatrixMut, PackedMatrix, QuantParams, Quantized, Rounding,
    Scheme, matmul, quantize, reference,
};

fn matrix(rows: usize, columns: usize) -> Array2<i8> {
    Array2::from_shape_fn((rows, columns), |(i, j)| ((i * 31 + j * 17) % 255) as i8)
}

#[track_caller]
fn refused<T>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Shape { .. })));
}

#[test]
fn contiguous_arrays_of_any_dimension_are_slices() {
    let mut x = Array4::from_shape_fn((2, 3, 4, 5), |(i, j, k, l)| (i * 60 + j * 20 + k * 5 + l) as i32);
    let expected: Vec<i32> = (0..120).collect();
    assert_eq!(slice(&x).unwrap(), expected);
    assert_eq!(slice(&x.view().into_dyn()).unwrap(), expected);
    assert_eq!(slice(&x.index_axis(Axis(0), 1)).unwrap(), &expected[60..]);
    assert_eq!(slice(&x.slice(s![1.., .., .., ..])).unwrap(), &expected[60..]);
    assert_eq!(slice(&x.slice(s![.., 1..1, .., ..])).unwrap(), &expected[..0]);
    assert_eq!(slice(&Array::from_elem((), 7)).unwrap(), [7]);
    for other in [x.view().permuted_axes([0, 3, 1, 2]), x.slice(s![.., .., .., ..;-1]), x.slice(s![.., 1.., .., ..])] {
        refused(slice(&other));
    }
    refused(slice(&x.index_axis(Axis(0), 0).index_axis(Axis(0), 0).index_axis(Axis(0), 0).broadcast((3, 5)).unwrap()));
    refused(slice_mut(&mut x.view_mut().reversed_axes()));
    slice_mut(&mut x).unwrap()[119] = -1;
    assert_eq!(x[(1, 2, 3, 4)], -1);
}

#[test]
fn views_in_row_order_are_matrices() {
    let x = matrix(5, 7);
    let whole = Matrix::try_from(x.view()).unwrap();
    assert_eq!([whole.rows(), whole.columns(), whole.stride()], [5, 7, 7]);
    let rows = Matrix::try_from(x.slice(s![1..4, ..])).unwrap();
    assert_eq!((rows.rows(), rows.row(2)), (3, x.row(3).to_slice().unwrap()));
    // A single row has no gap, nor has a view without elements.
    assert_eq!(Matrix::try_from(x.slice(s![2..3, 1..4])).unwrap().row(0), x.slice(s![2, 1..4]).to_slice().unwrap());
    assert_eq!(Matrix::try_from(x.slice(s![.., 3..3])).unwrap().columns(), 0);
    let mut y = x.clone();
    for view in [x.t(), x.slice(s![.., 1..4]), x.slice(s![..;2, ..]), x.slice(s![..;-1, ..]), x.slice(s![.., ..;-1])] {
        refused(Matrix::try_from(view));
    }
    refused(Matrix::try_from(x.row(0).broadcast((3, 7)).unwrap()));
    refused(MatrixMut::try_from(y.slice_mut(s![.., 1..4])));
    refused(MatrixMut::try_from(y.view_mut().reversed_axes()));
    // Both sides of a row may belong to different owners.
    let (left, _right) = y.view_mut().split_at(Axis(1), 3);
    refused(MatrixMut::try_from(left));
}

/// A product of columns in the middle of an array, into columns in the middle of another one: what lies beside them is left
/// alone.
#[test]
fn parts_keep_their_row_stride() {
    let exec = Exec::best().unwrap();
    let (x, w) = (matrix(6, 40), matrix(9, 32));
    let params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.5, 3).unwrap();
    let weights = Quantized::new(Matrix::try_from(w.view()).unwrap(), &params).unwrap();
    let packed = PackedMatrix::<i8, i8>::pack(exec, weights).unwrap();
    let part = Matrix::try_from(x.view()).unwrap().part(1..5, 4..36).unwrap();
    assert_eq!([part.rows(), part.columns(), part.stride()], [4, 32, 40]);
    let mut out = Array2::from_elem((8, 20), f32::NAN);
    let into = MatrixMut::try_from(out.view_mut()).unwrap().part(2..6, 5..14).unwrap();
    matmul(exec, Quantized::new(part, &params).unwrap(), &packed, &Dequantize::new(), into).unwrap();

    for ((i, j), &y) in out.indexed_iter() {
        if (2..6).contains(&i) && (5..14).contains(&j) {
            let products = (0..32).map(|k| (i32::from(x[(i - 1, k + 4)]) - 3) * (i32::from(w[(j - 5, k)]) - 3));
            assert_eq!(y, products.sum::<i32>() as f32 * 0.25);
        } else {
            assert!(y.is_nan());
        }
    }
}

#[test]
fn parts_beyond_the_matrix_are_errors() {
    let mut x = matrix(3, 4);
    for (rows, columns) in [(0..4, 0..4), (0..3, 0..5), (4..4, 0..0), (0..0, 5..5), (0..usize::MAX, 0..4)] {
        refused(Matrix::try_from(x.view()).unwrap().part(rows.clone(), columns.clone()));
        refused(MatrixMut::try_from(x.view_mut()).unwrap().part(rows, columns));
    }
    #[expect(clippy::reversed_empty_ranges, reason = "what nobody should ask for")]
    let reversed = Matrix::try_from(x.view()).unwrap().part(0..3, 3..2);
    refused(reversed);
    // Parts without elements, wherever they begin.
    for (rows, columns) in [(3..3, 4..4), (0..3, 4..4), (3..3, 0..4)] {
        let part = Matrix::try_from(x.view()).unwrap().part(rows.clone(), columns.clone()).unwrap();
        assert_eq!([part.rows(), part.columns()], [rows.len(), columns.len()]);
    }
}

#[test]
fn channels_are_those_of_an_axis() {
    let exec = Exec::best().unwrap();
    let x = Array4::from_shape_fn((2, 3, 4, 5), |(i, j, k, l)| (i + 2 * j) as f32 - (k * l) as f32 * 0.37);
    let channels = Granularity::channel(x.shape(), 1).unwrap();
    let range = CodeRange::unsigned(8).unwrap();
    let params = QuantParams::fit(exec, slice(&x).unwrap(), range, Scheme::ASYMMETRIC, channels).unwrap();
    let mut codes = Array4::<u8>::zeros(x.raw_dim());
    quantize(exec, slice(&x).unwrap(), &params, Rounding::Nearest, slice_mut(&mut codes).unwrap()).unwrap();
    let expected = reference::quantize(slice(&x).unwrap(), &params);
    assert_eq!(slice(&codes).unwrap(), expected);
}
