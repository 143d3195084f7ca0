//! The operations of the network on candle, with their gradients: products in a fixed order, and whatever else candle would
//! sum in an order of its own. A convolution has no padding and moves by one pixel.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp3, Device, Error, Layout, Result, Shape, Tensor};

use crate::products::{Products, transposed};

/// The values of a contiguous tensor of f32.
pub(crate) fn values<'a>(op: &'static str, storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = layout.contiguous_offsets().ok_or(Error::RequiresContiguous { op })?;
    match storage {
        CpuStorage::F32(values) => Ok(&values[start..end]),
        _ => Err(Error::UnsupportedDTypeForOp(storage.dtype(), op).bt()),
    }
}

fn to_vec(x: &Tensor) -> Result<Vec<f32>> {
    x.flatten_all()?.to_vec1()
}

fn to_tensor(values: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, like.shape(), &Device::Cpu)
}

/// `x · wᵀ + b` of `[rows, inputs]`, `[outputs, inputs]` and `[outputs]`.
///
/// # Errors
/// Other shapes and types.
pub fn linear(products: Products, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op3(&w.contiguous()?, b, Linear(products))
}

struct Linear(Products);

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((rows, inputs), (outputs, _)) = (x_layout.shape().dims2()?, w_layout.shape().dims2()?);
        let b = values(self.name(), b, b_layout)?;
        let mut out = b.repeat(rows);
        let w = transposed(values(self.name(), w, w_layout)?, outputs, inputs);
        self.0.add([rows, inputs, outputs], values(self.name(), x, x_layout)?, &w, &mut out);
        Ok((CpuStorage::F32(out), (rows, outputs).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let ((rows, inputs), outputs) = (x.dims2()?, b.dims1()?);
        let gradient = to_vec(gradient)?;
        let mut dx = vec![0.0; rows * inputs];
        self.0.add([rows, outputs, inputs], &gradient, &to_vec(w)?, &mut dx);
        let by_output = transposed(&gradient, rows, outputs);
        let mut dw = vec![0.0; outputs * inputs];
        self.0.add([outputs, rows, inputs], &by_output, &to_vec(x)?, &mut dw);
        let mut db = vec![0.0; outputs];
        self.0.add([1, rows, outputs], &vec![1.0; rows], &gradient, &mut db);
        Ok((Some(to_tensor(dx, x)?), Some(to_tensor(dw, w)?), Some(to_tensor(db, b)?)))
    }
}

/// The convolution of `[images, channels, height, width]` with `[outputs, channels, window, window]` plus a bias `[outputs]`.
/// The gradient of images that are not trained is left out.
///
/// # Errors
/// Other shapes and types.
pub fn conv2d(products: Products, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
    let needs_dx = x.track_op();
    x.contiguous()?.apply_op3(&w.contiguous()?, b, Conv2d { products, needs_dx })
}

struct Conv2d {
    products: Products,
    needs_dx: bool,
}

/// The sizes of a convolution.
#[derive(Clone, Copy)]
struct Sizes {
    images: usize,
    channels: usize,
    height: usize,
    width: usize,
    outputs: usize,
    window: usize,
}

impl Sizes {
    fn new(x: &Shape, w: &Shape) -> Result<Self> {
        let ((images, channels, height, width), (outputs, w_channels, window, w_window)) = (x.dims4()?, w.dims4()?);
        if channels != w_channels || window != w_window || window > height.min(width) {
            return Err(Error::msg(format!("a convolution of {x:?} with {w:?}")).bt());
        }
        Ok(Sizes { images, channels, height, width, outputs, window })
    }

    fn image(self) -> usize {
        self.channels * self.height * self.width
    }

    fn out(self) -> [usize; 2] {
        [self.height + 1 - self.window, self.width + 1 - self.window]
    }

    fn positions(self) -> usize {
        self.out().iter().product()
    }

    fn depth(self) -> usize {
        self.channels * self.window * self.window
    }

    /// Calls `each` with every row of a window at every row of positions: the index `k` of the tap in its first column, the first
    /// position `p`, and where the row of the image begins. The taps of a row are neighbours, and so are its positions.
    fn rows(self, mut each: impl FnMut(usize, usize, usize)) {
        let [out_height, out_width] = self.out();
        for channel in 0..self.channels {
            for dy in 0..self.window {
                let k = (channel * self.window + dy) * self.window;
                for y in 0..out_height {
                    each(k, y * out_width, (channel * self.height + y + dy) * self.width);
                }
            }
        }
    }

    /// The windows of an image, `[depth, positions]`.
    fn patches(self, image: &[f32], out: &mut [f32]) {
        let ([_, out_width], positions) = (self.out(), self.positions());
        self.rows(|k, p, start| {
            for dx in 0..self.window {
                let from = &image[start + dx..][..out_width];
                out[(k + dx) * positions + p..][..out_width].copy_from_slice(from);
            }
        });
    }

    /// The windows of an image, in rows of `row` values, those behind a window untouched.
    fn patches_by_position(self, image: &[f32], out: &mut [f32], row: usize) {
        let [_, out_width] = self.out();
        self.rows(|k, p, start| {
            for x in 0..out_width {
                let from = &image[start + x..][..self.window];
                out[(p + x) * row + k..][..self.window].copy_from_slice(from);
            }
        });
    }

    /// Adds windows, `[depth, positions]`, to the image that they are of.
    fn add_patches(self, patches: &[f32], image: &mut [f32]) {
        let ([_, out_width], positions) = (self.out(), self.positions());
        self.rows(|k, p, start| {
            for dx in 0..self.window {
                let from = &patches[(k + dx) * positions + p..][..out_width];
                image[start + dx..][..out_width].iter_mut().zip(from).for_each(|(to, from)| *to += from);
            }
        });
    }
}

impl CustomOp3 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::new(x_layout.shape(), w_layout.shape())?;
        let (x, w) = (values(self.name(), x, x_layout)?, values(self.name(), w, w_layout)?);
        let b = values(self.name(), b, b_layout)?;
        let (positions, depth, outputs) = (sizes.positions(), sizes.depth(), sizes.outputs);
        let mut out = vec![0.0; sizes.images * outputs * positions];
        let mut patches = vec![0.0; depth * positions];
        for (image, out) in x.chunks_exact(sizes.image()).zip(out.chunks_exact_mut(outputs * positions)) {
            sizes.patches(image, &mut patches);
            out.chunks_exact_mut(positions).zip(b).for_each(|(out, &b)| out.fill(b));
            self.products.add([outputs, depth, positions], w, &patches, out);
        }
        let [height, width] = sizes.out();
        Ok((CpuStorage::F32(out), (sizes.images, outputs, height, width).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sizes = Sizes::new(x.shape(), w.shape())?;
        let (positions, depth, outputs) = (sizes.positions(), sizes.depth(), sizes.outputs);
        let (x_values, gradient) = (to_vec(x)?, to_vec(gradient)?);
        // The gradient of the bias is that of one more tap, whose input is always 1.
        let mut sums = vec![0.0; outputs * (depth + 1)];
        let mut by_position = vec![1.0; positions * (depth + 1)];
        let w_transposed = transposed(&to_vec(w)?, outputs, depth);
        let mut patches = vec![0.0; depth * positions];
        let mut dx = vec![0.0; if self.needs_dx { x_values.len() } else { 0 }];
        let mut dx_images = dx.chunks_exact_mut(sizes.image());
        for (image, gradient) in x_values.chunks_exact(sizes.image()).zip(gradient.chunks_exact(outputs * positions)) {
            sizes.patches_by_position(image, &mut by_position, depth + 1);
            self.products.add([outputs, positions, depth + 1], gradient, &by_position, &mut sums);
            if let Some(dx) = dx_images.next() {
                patches.fill(0.0);
                self.products.add([depth, outputs, positions], &w_transposed, gradient, &mut patches);
                sizes.add_patches(&patches, dx);
            }
        }
        let dw = sums.chunks_exact(depth + 1).flat_map(|row| &row[..depth]).copied().collect();
        let db = sums.iter().skip(depth).step_by(depth + 1).copied().collect();
        let dx = if self.needs_dx { Some(to_tensor(dx, x)?) } else { None };
        Ok((dx, Some(to_tensor(dw, w)?), Some(to_tensor(db, b)?)))
    }
}

/// The windows of `[images, channels, height, width]`, as rows: `[images · positions, channels · window · window]`.
///
/// # Errors
/// Other shapes and types.
pub fn windows(x: &Tensor, window: usize) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Windows { window })
}

struct Windows {
    window: usize,
}

impl Windows {
    fn sizes(&self, x: &Shape) -> Result<Sizes> {
        let (_, channels, _, _) = x.dims4()?;
        Sizes::new(x, &Shape::from((1, channels, self.window, self.window)))
    }
}

impl CustomOp1 for Windows {
    fn name(&self) -> &'static str {
        "windows"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let sizes = self.sizes(layout.shape())?;
        let (positions, depth) = (sizes.positions(), sizes.depth());
        let mut out = vec![0.0; sizes.images * positions * depth];
        let images = values(self.name(), x, layout)?.chunks_exact(sizes.image());
        for (image, out) in images.zip(out.chunks_exact_mut(positions * depth)) {
            sizes.patches_by_position(image, out, depth);
        }
        Ok((CpuStorage::F32(out), (sizes.images * positions, depth).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        if !x.track_op() {
            return Ok(None);
        }
        let sizes = self.sizes(x.shape())?;
        let (positions, depth) = (sizes.positions(), sizes.depth());
        let gradient = to_vec(gradient)?;
        let mut dx = vec![0.0; x.elem_count()];
        for (dx, gradient) in dx.chunks_exact_mut(sizes.image()).zip(gradient.chunks_exact(positions * depth)) {
            sizes.add_patches(&transposed(gradient, positions, depth), dx);
        }
        to_tensor(dx, x).map(Some)
    }
}

/// Max-pooling 2×2 of `[images, channels, height, width]`, then the ReLU.
///
/// # Errors
/// Other shapes and types; a height or a width that is odd.
pub fn pool_relu(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(PoolRelu)
}

struct PoolRelu;

/// The second if it is larger: not that if it is NaN.
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// For every window of 2×2: the index of its first element, and that of its largest, the first of several, if that is above 0.
fn largest(x: &[f32], [height, width]: [usize; 2], mut each: impl FnMut(Option<usize>)) {
    for rows in (0..x.len() / (height * width) * height).step_by(2) {
        for column in (0..width).step_by(2) {
            let first = rows * width + column;
            let mut top = None;
            let mut value = 0.0;
            for i in [first, first + 1, first + width, first + width + 1] {
                if x[i] > value {
                    (top, value) = (Some(i), x[i]);
                }
            }
            each(top);
        }
    }
}

impl CustomOp1 for PoolRelu {
    fn name(&self) -> &'static str {
        "max-pool and ReLU"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (images, channels, height, width) = layout.shape().dims4()?;
        if height % 2 != 0 || width % 2 != 0 {
            return Err(Error::msg(format!("{}: {height}×{width} pixels are no windows of 2×2", self.name())).bt());
        }
        let x = values(self.name(), x, layout)?;
        let mut out = Vec::with_capacity(x.len() / 4);
        for rows in x.chunks_exact(2 * width) {
            let (upper, lower) = rows.split_at(width);
            let pairs = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
            out.extend(pairs.map(|([a, b], [c, d])| larger(larger(larger(larger(0.0, *a), *b), *c), *d)));
        }
        Ok((CpuStorage::F32(out), (images, channels, height / 2, width / 2).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, _, height, width) = x.dims4()?;
        let (x_values, gradient) = (to_vec(x)?, to_vec(gradient)?);
        let (mut dx, mut gradient) = (vec![0.0; x_values.len()], gradient.iter());
        largest(&x_values, [height, width], |top| {
            let gradient = gradient.next();
            if let (Some(top), Some(gradient)) = (top, gradient) {
                dx[top] = *gradient;
            }
        });
        to_tensor(dx, x).map(Some)
    }
}

/// The mean cross entropy of logits `[images, classes]` and the class of every image: `ln Σ exp(z) − z_class`.
///
/// # Errors
/// Other shapes and types; a class that there is not.
pub fn cross_entropy(logits: &Tensor, classes: &[u8]) -> Result<Tensor> {
    logits.contiguous()?.apply_op1(CrossEntropy(classes.to_vec()))
}

struct CrossEntropy(Vec<u8>);

/// `exp(z − max)` of a row, its sum, and the maximum. The exponential of `libm` is Rust: that of a system may differ by its CPU.
fn exponentials(row: &[f32]) -> (Vec<f32>, f32, f32) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f32> = row.iter().map(|&z| libm::expf(z - max)).collect();
    let sum = exponentials.iter().fold(0.0, |sum, e| sum + e);
    (exponentials, sum, max)
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (images, classes) = layout.shape().dims2()?;
        if images != self.0.len() || self.0.iter().any(|&class| usize::from(class) >= classes) {
            return Err(Error::msg(format!("{}: a class below {classes} for each of {images}", self.name())).bt());
        }
        let rows = values(self.name(), logits, layout)?.chunks_exact(classes).zip(&self.0);
        let losses = rows.map(|(row, &class)| {
            let (_, sum, max) = exponentials(row);
            libm::logf(sum) + max - row[usize::from(class)]
        });
        let sum = losses.fold(0.0, |sum, loss| sum + loss);
        Ok((CpuStorage::F32(vec![sum / images as f32]), ().into()))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (images, classes) = logits.dims2()?;
        let factor = gradient.to_scalar::<f32>()? / images as f32;
        let mut out = Vec::with_capacity(images * classes);
        for (row, &class) in to_vec(logits)?.chunks_exact(classes).zip(&self.0) {
            let (exponentials, sum, _) = exponentials(row);
            let hit = |i| if i == usize::from(class) { 1.0 } else { 0.0 };
            out.extend(exponentials.iter().enumerate().map(|(i, e)| (e / sum - hit(i)) * factor));
        }
        to_tensor(out, logits).map(Some)
    }
}
