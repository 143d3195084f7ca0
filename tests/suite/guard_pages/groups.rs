//! Products with weights in groups, and the operands of these.

use super::{Guarded, Place, call, codes, finite, scattered};
use crate::common::every_isa;
use zeropoint::formats::{BlockFormat, encode_blocks};
use zeropoint::groups::{self, Activations, GroupScheme, PackedWeights, RealStage, Reals, StoredWeights, Weights};
use zeropoint::*;

/// Every number of outputs up to four vectors and more, and depths with a short last group; 131 cases with the length of groups.
fn shapes() -> impl Iterator<Item = ([usize; 3], usize)> {
    (0..131).map(|i| ([1 + i % 9, 1 + i % 67, [1, 15, 40, 64, 100, 129][i % 6]], [16, 32, 64, 129][i % 4]))
}

/// Activations of every kind.
struct Operands {
    codes: Guarded<u8>,
    real: Guarded<f32>,
    halves: Guarded<u16>,
    row_scales: Guarded<f32>,
    row_zero_points: Guarded<i32>,
    group_scales: Guarded<f32>,
    group_zero_points: Guarded<i32>,
}

impl Operands {
    fn new(place: Place, [m, k]: [usize; 2], length: usize) -> Self {
        let groups = m * k.div_ceil(length);
        Operands {
            codes: Guarded::new(place, &codes::<u8>(m * k)),
            real: Guarded::new(place, &finite(m * k)),
            halves: Guarded::of(place, m * k, 0x3c01),
            row_scales: Guarded::of(place, m, 0.5),
            row_zero_points: Guarded::of(place, m, 9),
            group_scales: Guarded::of(place, groups, 0.5),
            group_zero_points: Guarded::of(place, groups, 9),
        }
    }

    fn all(&self, [m, k]: [usize; 2], length: usize) -> [Activations<'_>; 6] {
        let (codes, real) = (Matrix::new(&self.codes, m, k).unwrap(), Matrix::new(&self.real, m, k).unwrap());
        let halves = |scheme| Activations::halves(Halves::f16(&self.halves), m, k, scheme).unwrap();
        [
            Activations::per_row(codes, self.row_zero_points[..].into(), &self.row_scales).unwrap(),
            Activations::per_group(codes, length, self.group_zero_points[..].into(), &self.group_scales).unwrap(),
            Activations::reals(real, Scheme::ASYMMETRIC),
            Activations::reals(real, Scheme::SYMMETRIC).in_groups(length).unwrap(),
            halves(Scheme::SYMMETRIC),
            halves(Scheme::ASYMMETRIC).in_groups(length).unwrap(),
        ]
    }
}

#[test]
fn weights_of_few_bits() {
    scattered(9, shapes(), |place, ([m, n, k], length), number| {
        let groups = n * k.div_ceil(length);
        let range = CodeRange::<u8>::unsigned([2, 3, 4, 5, 8][number % 5]).unwrap();
        let few: Vec<u8> = codes::<u8>(n * k).iter().map(|code| code & range.max()).collect();
        let few = Guarded::new(place, &few);
        let (scales, halves) = (Guarded::of(place, groups, 0.5_f32), Guarded::of(place, groups, 0x3c00_u16));
        let (exponents, zero_points) = (Guarded::of(place, groups, 127_u8), Guarded::of(place, groups, 1_i32));
        let scales: Reals<'_> = match number % 3 {
            0 => scales[..].into(),
            1 => Halves::bf16(&halves).into(),
            _ => Reals::e8m0(&exponents),
        };
        let plain = Weights::new(Matrix::new(&few, n, k).unwrap(), range, length, scales).unwrap();
        let columns = Weights::columns(Matrix::new(&few, k, n).unwrap(), range, length, scales).unwrap();
        let all =
            [plain, plain.with_zero_points(&zero_points).unwrap(), columns.with_offsets(Halves::f16(&halves)).unwrap()];
        let stage = RealStage::new().with_bias(&Guarded::of(place, n, 1.0_f32)).unwrap();
        let params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.5, 3).unwrap();
        let code_stage = stage.clone().quantized(&params).unwrap();
        let operands = Operands::new(place, [m, k], length);
        let mut out = Guarded::of(place, m * n, 0.0_f32);
        let (mut half_out, mut bytes) = (Guarded::of(place, m * n, 0_u16), Guarded::of(place, m * n, 0_u8));
        every_isa(|isa| {
            for weights in &all {
                let packed = PackedWeights::pack(isa, weights).unwrap();
                call(place, || {
                    for x in operands.all([m, k], length) {
                        groups::matmul(isa, &x, &packed, &stage, &mut out[..]).unwrap();
                    }
                    let x = &operands.all([m, k], length)[number % 6];
                    groups::matmul(isa, x, &packed, &stage, HalvesMut::bf16(&mut half_out)).unwrap();
                    groups::matmul(isa, x, &packed, &code_stage, &mut bytes[..]).unwrap();
                });
            }
        });
    });
}

/// Weights in blocks of other programs, and weights that are quantized here.
#[test]
fn weights_of_blocks_and_of_reals() {
    let formats = BlockFormat::ALL.into_iter().flat_map(|format| [1, 5, 16, 17, 49].map(|n| (format, n)));
    scattered(13, formats, |place, (format, n), number| {
        let (m, k) = (1 + number % 7, 256);
        let real = Guarded::new(place, &finite(n * k));
        let mut blocks = Guarded::of(place, format.bytes(n * k).unwrap(), 0_u8);
        let length = format.group_length();
        let operands = Operands::new(place, [m, k], length);
        let mut out = Guarded::of(place, m * n, 0.0_f32);
        encode_blocks(Isa::best().unwrap(), format, &real, &mut blocks).unwrap();
        every_isa(|isa| {
            let packed = PackedWeights::from_format(isa, format, &blocks, n, k).unwrap();
            let scheme = GroupScheme::symmetric(3, length).unwrap().f16_scales();
            let stored = StoredWeights::quantize(isa, Matrix::new(&real, n, k).unwrap(), scheme).unwrap();
            for packed in [packed, PackedWeights::pack(isa, &stored.weights()).unwrap()] {
                call(place, || {
                    for x in operands.all([m, k], length) {
                        groups::matmul(isa, &x, &packed, &RealStage::new(), &mut out[..]).unwrap();
                    }
                });
            }
        });
    });
}
