//! The instructions that multiply: how many of which a call executes, on every ISA of this CPU.
//!
//! ```sh
//! cargo bench -p instructions --bench executed
//! ```
//!
//! A path that ran the micro-kernel of another ISA would make the same bytes, slower, and no test of results would find it. So
//! this program looks at what runs: it executes a call an instruction at a time, and decodes each. All products of a call have to
//! be made by the instruction of the ISA: by as many of them as it takes, which tells their width, too, and none by VNNI where the
//! ISA has it not. The library is the one of a release build.

use std::collections::BTreeMap;
use std::process::ExitCode;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod steps;

/// An instruction, and how many products it makes at a time.
type Multiplier = (&'static str, usize);

/// Which codes are multiplied: a column of [`ISAS`].
#[derive(Clone, Copy)]
enum Kind {
    Bytes,
    /// Bytes and weights of up to six bits, whose products cannot saturate.
    FewBits,
    /// 16-bit activations and bytes.
    Words,
}

/// What multiplies on every ISA, by [`Kind`]. (On the scalar one, whatever the compiler chooses.)
const ISAS: [(&str, [Multiplier; 3]); 5] = [
    ("portable", [("pmaddwd", 8); 3]),
    ("avx2", [("pmaddwd", 16), ("pmaddubsw", 32), ("pmaddwd", 16)]),
    ("avxvnni", [(VNNI, 32), (VNNI, 32), ("pmaddwd", 16)]),
    ("avx512", [("pmaddwd", 32), ("pmaddubsw", 64), ("pmaddwd", 32)]),
    ("avx512vnni", [(VNNI, 64), (VNNI, 64), ("pmaddwd", 32)]),
];

/// The instruction that no call may execute unless it is the one that multiplies.
const VNNI: &str = "pdpbusd";

/// The most instructions that a call executes for the sums of its rows of codes: two for each of eight rows.
const ROW_SUMS: usize = 16;

/// A call, and how many products it makes.
struct Operation {
    name: String,
    products: usize,
    kind: Kind,
    make: Box<dyn Fn(zeropoint::Isa) -> Box<dyn FnMut()>>,
}

/// What is wrong with the counts of a call, if anything is.
fn fault(products: usize, (instruction, at_a_time): Multiplier, counts: &BTreeMap<&str, u64>) -> Option<String> {
    let count = |name: &str| counts.get(name).map_or(0, |&count| count as usize);
    if instruction != VNNI && count(VNNI) > 0 {
        return Some(format!("{VNNI} is not of this ISA"));
    }
    let (least, found) = (products / at_a_time, count(instruction));
    let most = least + ROW_SUMS;
    (!(least..=most).contains(&found)).then(|| format!("{found} times {instruction}, not {least} … {most}"))
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> ExitCode {
    println!("executed: instructions are decoded on x86-64 with Linux only");
    ExitCode::SUCCESS
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> ExitCode {
    let mut faults = 0;
    println!("{:32} {:11} {:>9} {:>9} {:>9}", "", "ISA", "pmaddwd", "pmaddubsw", "pdpbusd");
    for operation in operations::all() {
        for (name, multipliers) in ISAS {
            let Ok(isa) = zeropoint::Isa::named(name) else { continue };
            let counts = steps::executed(&mut *(operation.make)(isa));
            let of = |name| counts.get(name).copied().unwrap_or(0);
            let fault = fault(operation.products, multipliers[operation.kind as usize], &counts);
            println!(
                "{:32} {:11} {:9} {:9} {:9} {}",
                operation.name,
                name,
                of("pmaddwd"),
                of("pmaddubsw"),
                of("pdpbusd"),
                fault.as_deref().unwrap_or_default()
            );
            faults += usize::from(fault.is_some());
        }
    }
    if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The calls that are looked at.
mod operations {
    use zeropoint::distance::{Dot, pairwise};
    use zeropoint::groups::{self, Activations, PackedWeights, RealStage, Weights};
    use zeropoint::int16x8;
    use zeropoint::layers::{Conv2d, Window};
    use zeropoint::{
        Accumulators, ByteCode, CodeRange, Exec, Isa, Matrix, MatrixMut, QuantParams, Quantized, Scheme, raw,
    };

    use super::{Kind, Operation};

    /// Rows, columns and depth: of products that take few instructions, since each takes ten microseconds, and no ISA pads.
    const SHAPE: [usize; 3] = [8, 48, 64];

    pub fn all() -> Vec<Operation> {
        let mut all = Vec::new();
        let mut add = |name: &str, products, kind, make: fn(Isa) -> Box<dyn FnMut()>| {
            all.push(Operation { name: name.to_owned(), products, kind, make: Box::new(make) });
        };
        let products = SHAPE.iter().product();
        add("u8 × u8, packed", products, Kind::Bytes, packed::<u8, u8>);
        add("u8 × i8, packed", products, Kind::Bytes, packed::<u8, i8>);
        add("i8 × u8, packed", products, Kind::Bytes, packed::<i8, u8>);
        add("i8 × i8, packed", products, Kind::Bytes, packed::<i8, i8>);
        add("u8 × i8, as it lies", products, Kind::Bytes, unpacked::<8>);
        add("u8 × i8, one row as it lies", products / 8, Kind::Bytes, unpacked::<1>);
        add("u8 × i8, transposed as it lies", products, Kind::Bytes, transposed);
        add("dot products of u8 and i8", products / 8, Kind::Bytes, dots::<u8>);
        add("dot products of i8", products / 8, Kind::Bytes, dots::<i8>);
        add("convolution, 3 × 3", 4 * 4 * 16 * 9 * 8, Kind::Bytes, convolution);
        add("groups of 8 bits", products, Kind::Bytes, in_groups::<8, 8>);
        add("groups of 4 bits", products, Kind::FewBits, in_groups::<4, 8>);
        add("groups of 4 bits, one row", products / 8, Kind::FewBits, in_groups::<4, 1>);
        add("groups of 2 bits", products, Kind::FewBits, in_groups::<2, 8>);
        add("i16 × i8, packed", products, Kind::Words, wide);
        all
    }

    /// A call that has been made once, so that memory and the sizes of caches are at hand.
    fn warm(mut call: impl FnMut() + 'static) -> Box<dyn FnMut()> {
        call();
        Box::new(call)
    }

    fn codes<C: ByteCode>(count: usize) -> Vec<C> {
        (0..count).map(|i| C::try_from((i * 37 % 256) as i32 + C::MIN.into()).ok().expect("a code")).collect()
    }

    fn packed<A: ByteCode, B: ByteCode>(isa: Isa) -> Box<dyn FnMut()> {
        let [m, n, k] = SHAPE;
        let (a, b, mut out) = (codes::<A>(m * k), codes::<B>(k * n), vec![0; m * n]);
        let b = raw::pack::<A, B>(isa, Matrix::new(&b, k, n).unwrap(), 0.into()).unwrap();
        warm(move || {
            let (a, out) = (Matrix::new(&a, m, k).unwrap(), MatrixMut::new(&mut out, m, n).unwrap());
            raw::matmul(isa, a, 0.into(), &b, &Accumulators, out).unwrap();
        })
    }

    fn unpacked<const M: usize>(isa: Isa) -> Box<dyn FnMut()> {
        let [_, n, k] = SHAPE;
        let (a, b, mut out) = (codes::<u8>(M * k), codes::<i8>(k * n), vec![0; M * n]);
        warm(move || {
            let b = raw::unpacked::<u8, i8>(isa, Matrix::new(&b, k, n).unwrap(), 0.into()).unwrap();
            let (a, out) = (Matrix::new(&a, M, k).unwrap(), MatrixMut::new(&mut out, M, n).unwrap());
            raw::matmul(isa, a, 0.into(), &b, &Accumulators, out).unwrap();
        })
    }

    fn transposed(isa: Isa) -> Box<dyn FnMut()> {
        let [m, n, k] = SHAPE;
        let (a, b, mut out) = (codes::<u8>(m * k), codes::<i8>(n * k), vec![0; m * n]);
        warm(move || {
            let b = raw::unpacked_transposed::<u8, i8>(isa, Matrix::new(&b, n, k).unwrap(), 0.into()).unwrap();
            let (a, out) = (Matrix::new(&a, m, k).unwrap(), MatrixMut::new(&mut out, m, n).unwrap());
            raw::matmul(isa, a, 0.into(), &b, &Accumulators, out).unwrap();
        })
    }

    fn dots<A: ByteCode>(isa: Isa) -> Box<dyn FnMut()> {
        let [_, n, k] = SHAPE;
        let (query, rows, mut out) = (codes::<A>(k), codes::<i8>(n * k), vec![0; n]);
        warm(move || {
            let (rows, out) = (Matrix::new(&rows, n, k).unwrap(), MatrixMut::new(&mut out, 1, n).unwrap());
            pairwise(isa, Dot, &query, rows, out).unwrap();
        })
    }

    fn params<C: zeropoint::Code>(codes: CodeRange<C>) -> QuantParams<C> {
        QuantParams::per_tensor(codes, 0.01, 0).unwrap()
    }

    fn convolution(isa: Isa) -> Box<dyn FnMut()> {
        let (x_params, w_params) = (params(CodeRange::unsigned(8).unwrap()), params(CodeRange::signed(8).unwrap()));
        let window = Window { padding: [1; 4], ..Window::new([3, 3]) };
        let weights = codes::<i8>(16 * 8 * 9);
        let layer = Conv2d::<u8, i8>::new(isa, &weights, [16, 8, 3, 3], &w_params, window, 1).unwrap();
        let (images, mut out) = (codes::<u8>(4 * 4 * 8), vec![0; 4 * 4 * 16]);
        warm(move || layer.forward(isa, &images, [1, 4, 4, 8], &x_params, &Accumulators, &mut out).unwrap())
    }

    fn in_groups<const BITS: u32, const M: usize>(isa: Isa) -> Box<dyn FnMut()> {
        let [_, n, k] = SHAPE;
        let x: Vec<f32> = (0..M * k).map(|i| (i as f32 * 0.37).sin()).collect();
        let codes: Vec<u8> = codes::<u8>(n * k).into_iter().map(|code| code >> (8 - BITS)).collect();
        let scales = vec![0.01; n * k / 32];
        let weights = Weights::new(Matrix::new(&codes, n, k).unwrap(), CodeRange::unsigned(BITS).unwrap(), 32, &scales);
        let packed = PackedWeights::pack(isa, &weights.unwrap()).unwrap();
        let mut out = vec![0.0; M * n];
        warm(move || {
            let x = Activations::reals(Matrix::new(&x, M, k).unwrap(), Scheme::SYMMETRIC);
            groups::matmul(Exec::from(isa), &x, &packed, &RealStage::new(), &mut out).unwrap();
        })
    }

    fn wide(isa: Isa) -> Box<dyn FnMut()> {
        let [m, n, k] = SHAPE;
        let (x, w, mut out) = ((0..m * k).map(|i| i as i16).collect::<Vec<_>>(), codes::<i8>(n * k), vec![0; m * n]);
        let (x_params, w_params) = (params(CodeRange::signed16(16).unwrap()), params(CodeRange::signed(8).unwrap()));
        let weights = Quantized::new(Matrix::new(&w, n, k).unwrap(), &w_params).unwrap();
        let packed = int16x8::PackedMatrix::pack(isa, weights).unwrap();
        warm(move || {
            let x = Quantized::new(Matrix::new(&x, m, k).unwrap(), &x_params).unwrap();
            let out = MatrixMut::new(&mut out, m, n).unwrap();
            int16x8::matmul(isa, x, &packed, &int16x8::Accumulators, out).unwrap();
        })
    }
}
