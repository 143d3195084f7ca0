//! Weights of other programs' layouts, names of methods and ISAs, and every size that a caller can name: what is no such thing is
//! an error, and what is survives the way back.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use zeropoint::calibrate::{Method, Observer as _};
use zeropoint::formats::{BlockFormat, NvFp4, TensorFormat};
use zeropoint::groups::{Activations, GroupScheme, PackedWeights, RealStage, StoredWeights, matmul};
use zeropoint::layers::Window;
use zeropoint::{
    CodeRange, Granularity, Isa, Matrix, MatrixMut, PackedCodes, QuantParams, Range, Scheme, Stream, ranges, reference,
};
use zeropoint_fuzz::{CodeTexture, Data, IsaInput, Reals, SchemeInput, bits};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    isa: IsaInput,
    what: What<'a>,
}

#[derive(Arbitrary, Debug)]
enum What<'a> {
    Method { text: &'a str, x: Reals, scheme: SchemeInput },
    Isa(&'a str),
    Layout { layout: Layout, shape: [Size; 3], data: Data<CodeTexture>, reals: Reals, lengths: [Length; 4] },
    Sizes { shape: [usize; 3], axis: u8, length: usize, x: u8 },
}

#[derive(Arbitrary, Debug)]
enum Layout {
    Gptq { order: Option<Data<CodeTexture>> },
    Awq,
    NBits { bits: u8, zero_points: bool },
    Format { format: u8, tensor_scale: Option<u32> },
    Quantized { bits: u8, zero_points: bool, least_error: bool, f16: bool },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Size {
    Small(u8),
    Eights(u8),
    Any(usize),
}

impl Size {
    fn get(self) -> usize {
        match self {
            Size::Small(n) => n.into(),
            Size::Eights(n) => 8 * usize::from(n % 40),
            Size::Any(n) => n,
        }
    }
}

/// The length of an array: what the shape asks for, if there is so much memory, or another one.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Length {
    Right,
    Other(u8),
}

impl Length {
    fn of(self, factors: &[usize]) -> usize {
        let right = factors.iter().try_fold(1_usize, |product, &n| product.checked_mul(n)).filter(|&n| n <= 60_000);
        match self {
            Length::Right => right.unwrap_or(0),
            Length::Other(n) => n.into(),
        }
    }
}

fuzz_target!(|input: Input<'_>| {
    let isa = input.isa.isa();
    match input.what {
        What::Method { text, x, scheme } => method(isa, text, &x, scheme.scheme()),
        What::Isa(name) => {
            if let Ok(isa) = Isa::named(name) {
                assert_eq!(isa.name(), name);
            }
        }
        What::Layout { layout, shape, data, reals, lengths } => {
            let shape = shape.map(Size::get);
            if let Some(stored) = stored(isa, &layout, shape, &data, &reals, lengths) {
                survives(isa, &stored, &reals);
            }
        }
        What::Sizes { shape, axis, length, x } => sizes(isa, shape, axis.into(), length, x.into()),
    }
});

fn method(isa: Isa, text: &str, x: &Reals, scheme: Scheme) {
    let Ok(method) = text.parse::<Method>() else { return };
    // (NaN is not equal to itself.)
    assert_eq!(
        format!("{:?}", method.to_string().parse::<Method>()),
        format!("{:?}", Ok::<_, zeropoint::Error>(method))
    );
    let Ok(mut observer) = method.observer(CodeRange::unsigned(8).unwrap(), scheme, 1) else { return };
    observer.observe(isa.into(), &x.finite(50, 0.1, 100)).unwrap();
    let Range { min, max } = observer.range().unwrap();
    assert!(min <= max, "{method}: {min} … {max}");
}

fn stored(
    isa: Isa,
    layout: &Layout,
    [outputs, depth, length]: [usize; 3],
    data: &Data<CodeTexture>,
    reals: &Reals,
    lengths: [Length; 4],
) -> Option<StoredWeights> {
    let groups = depth.div_ceil(length.max(1));
    let words = |count: usize| -> Vec<i32> { data.integers(count, i32::MAX) };
    let halves = |count: usize| reference::narrow_to_f16(&reals.reals(count, 0.01, 100));
    let found = match layout {
        Layout::Gptq { order } => {
            let codes = words(lengths[0].of(&[depth / 8, outputs]));
            let zero_points = words(lengths[1].of(&[groups, outputs / 8]));
            let scales = halves(lengths[2].of(&[groups, outputs]));
            // The groups in any order, or whatever is there.
            let order = order.as_ref().map(|order| {
                let count = lengths[3].of(&[depth]);
                let mut places: Vec<usize> = (0..count).collect();
                let keys = order.integers(count, 1 << 20);
                places.sort_by_key(|&k| keys[k]);
                let mut index = vec![0; count];
                for (place, k) in places.into_iter().enumerate() {
                    index[k] = (place / length.max(1)) as i32;
                }
                if let (Length::Other(_), Some(first)) = (lengths[0], index.first_mut()) {
                    *first = keys[0];
                }
                index
            });
            StoredWeights::gptq(length, &codes, &zero_points, &scales, order.as_deref(), [outputs, depth])
        }
        Layout::Awq => {
            let codes = words(lengths[0].of(&[depth, outputs / 8]));
            let zero_points = words(lengths[1].of(&[groups, outputs / 8]));
            let scales = halves(lengths[2].of(&[groups, outputs]));
            StoredWeights::awq(length, &codes, &zero_points, &scales, [outputs, depth])
        }
        Layout::NBits { bits, zero_points } => {
            let bits = [4, 2, 8, 3, 0, 16][usize::from(bits % 6)];
            let sharing = 8 / bits.clamp(1, 8) as usize;
            let codes: Vec<u8> = data.codes(lengths[0].of(&[outputs, groups, length / sharing]));
            let scales = reals.reals(lengths[1].of(&[outputs, groups]), 0.01, 100);
            let points: Vec<u8> = data.codes(lengths[2].of(&[outputs, groups.div_ceil(sharing)]));
            let points = zero_points.then_some(&points[..]);
            StoredWeights::matmul_nbits(bits, length, &codes, &scales, points, [outputs, depth])
        }
        Layout::Format { format, tensor_scale } => {
            let format = BlockFormat::ALL[usize::from(*format) % BlockFormat::ALL.len()];
            let blocks = depth / format.block_length();
            let bytes: Vec<u8> = data.codes(lengths[0].of(&[outputs, blocks, format.block_bytes()]));
            let format = match tensor_scale.map(|scale| NvFp4::new(f32::from_bits(scale))) {
                Some(Ok(scaled)) => scaled.into(),
                _ => TensorFormat::from(format),
            };
            StoredWeights::from_format(isa, format, &bytes, outputs, depth)
        }
        Layout::Quantized { bits, zero_points, least_error, f16 } => {
            let bits = (bits % 10).into();
            let scheme = if *zero_points {
                GroupScheme::with_zero_points(bits, length)
            } else {
                GroupScheme::symmetric(bits, length)
            };
            let scheme = scheme.ok()?;
            let scheme = if *least_error { scheme.least_error() } else { scheme };
            let scheme = if *f16 { scheme.f16_scales() } else { scheme };
            let (rows, columns) = (outputs % 20, depth % 150);
            let weights = reals.reals(rows * columns, 0.01, 100);
            StoredWeights::quantize(isa, Matrix::new(&weights, rows, columns).unwrap(), scheme)
        }
    };
    found.ok()
}

/// Weights have the same values after the way to every layout and back, and a product is made by them.
fn survives(isa: Isa, stored: &StoredWeights, reals: &Reals) {
    let values = bits(&stored.values());
    let packed = PackedWeights::pack(isa, &stored.weights()).unwrap();
    let (outputs, depth) = (packed.outputs(), packed.depth());
    let shape = [outputs, depth];
    // (Outputs of nothing may be of any number.)
    if values.is_empty() {
        return;
    }
    if let Ok(gptq) = stored.to_gptq() {
        let order = Some(&gptq.g_idx[..]);
        let again = StoredWeights::gptq(gptq.group_size, &gptq.qweight, &gptq.qzeros, &gptq.scales, order, shape);
        assert_eq!(bits(&again.unwrap().values()), values, "GPTQ");
    }
    if let Ok(awq) = stored.to_awq() {
        let again = StoredWeights::awq(awq.group_size, &awq.qweight, &awq.qzeros, &awq.scales, shape);
        assert_eq!(bits(&again.unwrap().values()), values, "AWQ");
    }
    if let Ok(onnx) = stored.to_matmul_nbits() {
        let points = onnx.zero_points.as_deref();
        let again = StoredWeights::matmul_nbits(onnx.bits, onnx.block_size, &onnx.codes, &onnx.scales, points, shape);
        assert_eq!(bits(&again.unwrap().values()), values, "MatMulNBits");
    }
    let x = reals.finite(depth, 0.01, 100);
    let x = Activations::reals(Matrix::new(&x, 1, depth).unwrap(), Scheme::SYMMETRIC);
    let product = |packed: &PackedWeights| {
        let mut out = vec![7.0; outputs].into_boxed_slice();
        matmul(packed.isa(), &x, packed, &RealStage::new(), &mut out[..]).unwrap();
        bits(&out)
    };
    let scalar = packed.repack(Isa::named("scalar").unwrap()).unwrap();
    assert_eq!(product(&packed), product(&scalar), "{isa}");
}

/// Sizes that no memory holds.
fn sizes(isa: Isa, shape: [usize; 3], axis: usize, length: usize, count: usize) {
    let x = vec![0.5; count];
    let granularities = [
        Granularity::channel(&shape, axis),
        Granularity::block(&shape, length),
        Granularity::block_along(&shape, axis, length),
    ];
    for granularity in granularities.into_iter().flatten() {
        let _ = granularity.groups(length);
        if let Ok(groups) = granularity.groups(count) {
            assert!(groups <= count.max(shape.iter().copied().max().unwrap()), "{granularity:?}");
            let _ = ranges(isa, &x, granularity);
        }
        let codes = CodeRange::unsigned(8).unwrap();
        let _ = QuantParams::fit(isa, &x, codes, Scheme::ASYMMETRIC, granularity);
        let _ = QuantParams::new(codes, granularity, x.clone(), vec![0; count]);
    }
    let [rows, columns, stride] = shape;
    if let Ok(matrix) = Matrix::with_stride(&x, rows, columns, stride) {
        let _ = matrix.part(0..length, 0..axis);
        let _ = matrix.part(length..usize::MAX, axis..1);
    }
    let _ = MatrixMut::with_stride(&mut x.clone(), rows, columns, stride)
        .map(|matrix| matrix.part(axis..length, 0..1).is_ok());
    let bytes = vec![7_u8; count];
    let _ = PackedCodes::<u8>::four_bits(&bytes, length);
    let _ = PackedCodes::<i8>::two_bits(&bytes, length);
    let window = Window { size: [rows, columns], stride: [stride, length], padding: [axis; 4], dilation: [length, 1] };
    let _ = window.output_size([stride, rows]);
    let _ = Stream { seed: 0, offset: rows as u64 }.skip(columns as u64);
    for format in BlockFormat::ALL {
        if let Ok(bytes) = format.bytes(length) {
            assert_eq!(bytes / format.block_bytes() * format.block_length(), length);
        }
    }
}
