//! Packed weights of a file are those that were written, whoever packed them; and whatever else a file holds is an error.

use crate::common::every_isa;
use crate::xxh64::xxh64;
use zeropoint::files::{Archive, ArchiveWriter, Entry};
use zeropoint::formats::{BlockFormat, NvFp4, TensorFormat, encode_blocks};
use zeropoint::groups::{self, Activations, GroupScheme, PackedWeights, RealStage, Reals, StoredWeights, Weights};
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::{
    Accumulators, ByteCode, CodeRange, Error, Exec, Granularity, Halves, Isa, Matrix, MatrixMut, PackedMatrix,
    QuantParams, Quantized, Scheme, matmul, raw, reference,
};

fn file_of(entries: &[(&str, &impl Entry)]) -> Vec<u8> {
    let mut writer = ArchiveWriter::new();
    for (name, weights) in entries {
        writer.add(name, *weights).unwrap();
    }
    let mut file = Vec::new();
    writer.write(&mut file).unwrap();
    file
}

/// Weights that are packed for each ISA: those of the file are as good, those packed again from another ISA have its bytes.
fn survive<E: Entry, O: PartialEq + core::fmt::Debug>(
    pack: impl Fn(Isa) -> E,
    repack: impl Fn(&E, Isa) -> E,
    product: impl Fn(Isa, &E) -> O,
) {
    let mut files = Vec::new();
    every_isa(|isa| {
        let packed = pack(isa);
        let file = file_of(&[("w", &packed)]);
        let archive = Archive::copied(&file).unwrap();
        archive.verify().unwrap();
        let there: E = archive.get(isa, "w").unwrap();
        let want = product(isa, &packed);
        assert_eq!(product(isa, &there), want, "{isa}");
        drop(archive);
        assert_eq!(product(isa, &there), want, "{isa}");
        assert_eq!(file_of(&[("w", &there)]), file, "{isa}");
        files.push((isa, file, want));
    });
    for (isa, file, want) in &files {
        for (other, other_file, _) in &files {
            let archive = Archive::copied(other_file).unwrap();
            let again: E = archive.get_or_repack(*isa, "w").unwrap();
            assert_eq!(product(*isa, &again), *want, "{other} → {isa}");
            assert_eq!(file_of(&[("w", &again)]), *file, "{other} → {isa}");
            let there: E = archive.get(*other, "w").unwrap();
            assert_eq!(file_of(&[("w", &repack(&there, *isa))]), *file, "{other} → {isa}");
            if isa != other {
                assert!(matches!(archive.get::<E>(*isa, "w"), Err(Error::File { .. })));
            }
        }
    }
}

fn numbers(count: usize, seed: u32) -> impl Iterator<Item = u32> {
    (0..count as u32).map(move |i| i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 8)
}

fn matrices<A: ByteCode, B: ByteCode>() {
    let codes_of = |count, seed| -> Vec<B> {
        numbers(count, seed).map(|n| B::try_from((n % 256) as i32 + B::MIN.into()).ok().unwrap()).collect()
    };
    for [n, k] in [[1, 1], [17, 33], [200, 65], [5, 0], [0, 5]] {
        let codes = codes_of(n * k, 1);
        let a: Vec<A> =
            numbers(3 * k, 9).map(|code| A::try_from((code % 256) as i32 + A::MIN.into()).ok().unwrap()).collect();
        let product = |isa: Isa, packed: &PackedMatrix<A, B>| {
            let mut out = vec![7; 3 * n];
            let a = Matrix::new(&a, 3, k).unwrap();
            raw::matmul(isa, a, 3.into(), packed, &Accumulators, MatrixMut::new(&mut out, 3, n).unwrap()).unwrap();
            out
        };
        let zero_points: Vec<i32> = (0..n as i32).map(|j| j % 50).collect();
        let bias: Vec<i32> = (0..n as i32).map(|j| 1000 - 37 * j).collect();
        let w = Matrix::new(&codes, n, k).unwrap();
        let survives = |pack: &dyn Fn(Isa) -> PackedMatrix<A, B>| {
            survive(pack, |packed, isa| packed.repack(isa).unwrap(), product);
        };
        survives(&|isa| raw::pack_transposed(isa, w, 5.into()).unwrap());
        survives(&|isa| raw::pack_transposed(isa, w, zero_points[..].into()).unwrap());
        survives(&|isa| raw::pack_transposed(isa, w, 0.into()).unwrap().with_accumulator_bias(&bias).unwrap());
        if n > 0 && k > 0 {
            let scales = (0..n).map(|j| 0.01 * (j + 1) as f32).collect();
            let range = CodeRange::new(B::MIN, B::MAX).unwrap();
            let per_row = Granularity::channel(&[n, k], 0).unwrap();
            let params = QuantParams::new(range, per_row, scales, zero_points.clone()).unwrap();
            let x = QuantParams::per_tensor(CodeRange::new(A::MIN, A::MAX).unwrap(), 0.5, 3).unwrap();
            let real_bias: Vec<f32> = bias.iter().map(|&bias| bias as f32 / 100.0).collect();
            survives(&|isa| PackedMatrix::pack(isa, Quantized::new(w, &params).unwrap()).unwrap());
            survives(&|isa| {
                let packed = PackedMatrix::pack(isa, Quantized::new(w, &params).unwrap()).unwrap();
                packed.with_bias(&real_bias, &x).unwrap()
            });
        }
    }
}

#[test]
fn matrices_of_every_type() {
    matrices::<u8, i8>();
    matrices::<u8, u8>();
    matrices::<i8, i8>();
    matrices::<i8, u8>();
}

/// The scale of activations that a bias is for, and scales of weights, are in the file.
#[test]
fn scales_of_matrices() {
    let exec = Exec::best().unwrap();
    let params = QuantParams::per_tensor(CodeRange::<i8>::narrow(8).unwrap(), 0.25, 0).unwrap();
    let [x, other] = [0.5, 0.75].map(|s| QuantParams::per_tensor(CodeRange::<u8>::unsigned(8).unwrap(), s, 0).unwrap());
    let weights = Quantized::new(Matrix::new(&[1_i8, 2, 3, 4], 2, 2).unwrap(), &params).unwrap();
    let packed = PackedMatrix::<u8, i8>::pack(exec, weights).unwrap().with_bias(&[1.0, -2.0], &x).unwrap();
    let archive = Archive::copied(&file_of(&[("w", &packed)])).unwrap();
    let there: PackedMatrix<u8, i8> = archive.get(exec, "w").unwrap();
    for weights in [&there, &there.repack(Isa::named("scalar").unwrap()).unwrap()] {
        let product = |params: &QuantParams<u8>| {
            let mut out = [0.0; 2];
            let a = Quantized::new(Matrix::new(&[4_u8, 8], 1, 2)?, params)?;
            let out_view = MatrixMut::new(&mut out, 1, 2)?;
            matmul(weights.isa(), a, weights, &zeropoint::Dequantize::new(), out_view)?;
            Ok::<_, Error>(out)
        };
        assert_eq!(product(&x).unwrap(), [0.125 * 20.0 + 1.0, 0.125 * 44.0 - 2.0]);
        assert!(matches!(product(&other), Err(Error::Operand { .. })), "the bias is for another scale");
    }
}

fn weights_survive(weights: &Weights<'_>, depth: usize) {
    let x: Vec<f32> = numbers(3 * depth, 5).map(|n| n as f32 / (1 << 23) as f32 - 1.0).collect();
    let x = Activations::reals(Matrix::new(&x, 3, depth).unwrap(), Scheme::ASYMMETRIC);
    survive(
        |isa| PackedWeights::pack(isa, weights).unwrap(),
        |packed, isa| packed.repack(isa).unwrap(),
        |isa, packed| {
            let mut out = vec![7.0; 3 * packed.outputs()];
            groups::matmul(isa, &x, packed, &RealStage::new(), &mut out).unwrap();
            crate::common::bits(&out)
        },
    );
}

#[test]
fn weights_in_groups() {
    let exec = Exec::best().unwrap();
    for (outputs, depth) in [(1, 16), (37, 200), (70, 96)] {
        let w: Vec<f32> = numbers(outputs * depth, 1).map(|n| n as f32 / (1 << 23) as f32 - 1.0).collect();
        let w = Matrix::new(&w, outputs, depth).unwrap();
        for bits in 2..=8 {
            for length in [16, 32, 48, 200] {
                let schemes = [GroupScheme::symmetric(bits, length), GroupScheme::with_zero_points(bits, length)];
                let [symmetric, zero_points] = schemes.map(Result::unwrap);
                for scheme in [symmetric, zero_points.f16_scales()] {
                    weights_survive(&StoredWeights::quantize(exec, w, scheme).unwrap().weights(), depth);
                }
            }
        }
    }
}

#[test]
fn weights_of_other_programs() {
    let exec = Exec::best().unwrap();
    let x: Vec<f32> = numbers(5 * 512, 1).map(|n| n as f32 / (1 << 23) as f32 - 1.0).collect();
    let scaled = NvFp4::fit(exec, &x).unwrap();
    let formats = BlockFormat::ALL.into_iter().map(TensorFormat::from).chain([scaled.into()]);
    for format in formats {
        let mut bytes = vec![0; format.block_format().bytes(x.len()).unwrap()];
        encode_blocks(exec, format, &x, &mut bytes).unwrap();
        weights_survive(&StoredWeights::from_format(exec, format, &bytes, 5, 512).unwrap().weights(), 512);
    }
    // In another order than that of the activations.
    let (qweight, g_idx): (Vec<i32>, Vec<i32>) =
        (numbers(8 * 8, 3).map(|n| n as i32).collect(), (0..64).map(|k| k % 2).collect());
    let scales = reference::narrow_to_f16(&[0.5; 16]);
    let gptq = StoredWeights::gptq(32, &qweight, &[0x7777_7777, 0x0123_4567], &scales, Some(&g_idx), [8, 64]).unwrap();
    weights_survive(&gptq.weights(), 64);
    // Signed codes, by columns, with scales and offsets of every type, some of them no numbers.
    let codes: Vec<i8> = numbers(96 * 21, 7).map(|n| (n % 16) as i8 - 8).collect();
    let codes = Matrix::new(&codes, 96, 21).unwrap();
    let mut reals: Vec<f32> = numbers(63, 8).map(|n| n as f32 / 1e6 - 4.0).collect();
    (reals[4], reals[9]) = (f32::NAN, f32::INFINITY);
    let (halves, bytes) = (reference::narrow_to_bf16(&reals), numbers(63, 2).map(|n| n as u8).collect::<Vec<_>>());
    let kinds: [Reals<'_>; 3] = [(&reals).into(), Halves::bf16(&halves).into(), Reals::e8m0(&bytes)];
    for scales in kinds {
        let weights = Weights::columns(codes, CodeRange::signed(4).unwrap(), 32, scales).unwrap();
        weights_survive(&weights, 96);
        for offsets in kinds {
            weights_survive(&weights.with_offsets(offsets).unwrap(), 96);
        }
    }
    // Floats of four bits in groups that do not end with a step; and no depth.
    let codes: Vec<u8> = numbers(3 * 60, 7).map(|n| (n % 16) as u8).collect();
    let codes = Matrix::new(&codes, 3, 60).unwrap();
    weights_survive(&Weights::e2m1(codes, 48, &[0.5; 6]).unwrap(), 60);
    let none = Matrix::new(&[0_u8; 0], 3, 0).unwrap();
    weights_survive(&Weights::new(none, CodeRange::unsigned(4).unwrap(), 32, &[0.0; 0]).unwrap(), 0);
}

/// Several names and types in one file; and what is not there.
#[test]
fn names() {
    let isa = Isa::best().unwrap();
    let matrix = raw::pack_transposed::<u8, i8>(isa, Matrix::new(&[1, 2, 3, 4], 2, 2).unwrap(), 0.into()).unwrap();
    let scalar = matrix.repack(Isa::named("scalar").unwrap()).unwrap();
    let weights = Weights::new(Matrix::new(&[3_u8; 32], 1, 32).unwrap(), CodeRange::unsigned(4).unwrap(), 32, &[1.0]);
    let weights = PackedWeights::pack(isa, &weights.unwrap()).unwrap();
    let mut writer = ArchiveWriter::new();
    writer.add("a", &matrix).unwrap();
    writer.add("b", &weights).unwrap();
    writer.add("ü", &matrix).unwrap();
    if isa != scalar.isa() {
        writer.add("a", &scalar).unwrap();
    }
    assert!(matches!(writer.add("a", &matrix), Err(Error::File { .. })));
    let mut file = Vec::new();
    writer.write(&mut file).unwrap();
    let archive = Archive::copied(&file).unwrap();
    assert_eq!(archive.names().take(3).collect::<Vec<_>>(), ["a", "b", "ü"]);
    assert!(archive.isas("a").any(|name| name == "scalar"));
    archive.get::<PackedMatrix<u8, i8>>(isa, "ü").unwrap();
    let why = |error: Error| error.to_string();
    let refused = why(archive.get::<PackedMatrix<u8, i8>>(isa, "c").unwrap_err());
    assert!(refused.contains("no weights of this name"), "{refused}");
    for refused in [
        why(archive.get::<PackedMatrix<i8, i8>>(isa, "a").unwrap_err()),
        why(archive.get::<PackedWeights>(isa, "a").unwrap_err()),
        why(archive.get_or_repack::<PackedWeights>(isa, "a").unwrap_err()),
    ] {
        assert!(refused.contains("another type"), "{refused}");
    }
    // An archive of nothing.
    let none: &[(&str, &PackedWeights)] = &[];
    let nothing = Archive::copied(&file_of(none)).unwrap();
    assert_eq!(nothing.names().count(), 0);
}

/// A small file, with its weights.
fn small(isa: Isa) -> Vec<u8> {
    let codes: Vec<u8> = (0..2 * 40).map(|i| i % 16).collect();
    let zero_points = [3, 4, 0, 15];
    let weights = Weights::new(Matrix::new(&codes, 2, 40).unwrap(), CodeRange::unsigned(4).unwrap(), 32, &[0.5; 4]);
    let packed = PackedWeights::pack(isa, &weights.unwrap().with_zero_points(&zero_points).unwrap()).unwrap();
    let matrix = raw::pack_transposed::<u8, i8>(isa, Matrix::new(&[1; 6], 2, 3).unwrap(), [1, 2][..].into()).unwrap();
    let matrix = matrix.with_accumulator_bias(&[5, 6]).unwrap();
    let mut writer = ArchiveWriter::new();
    writer.add("groups", &packed).unwrap();
    writer.add("matrix", &matrix).unwrap();
    let mut file = Vec::new();
    writer.write(&mut file).unwrap();
    file
}

/// Opens a file, reads its weights and multiplies by them: whatever it is, nothing panics.
fn use_all(isa: Isa, file: &[u8]) -> Result<(), Error> {
    let archive = Archive::copied(file)?;
    let weights = archive.get::<PackedWeights>(isa, "groups").and_then(|weights| {
        let _ = weights.repack(isa);
        let x = vec![1.0; weights.depth().min(1000)];
        let x = Activations::reals(Matrix::new(&x, 1, weights.depth())?, Scheme::SYMMETRIC);
        groups::matmul(isa, &x, &weights, &RealStage::new(), &mut vec![0.0; weights.outputs().min(1000)][..])
    });
    let matrix = archive.get::<PackedMatrix<u8, i8>>(isa, "matrix").and_then(|matrix| {
        let _ = matrix.repack(isa);
        let (x, mut out) = (vec![1; matrix.depth().min(1000)], vec![0; matrix.columns().min(1000)]);
        let out = MatrixMut::new(&mut out, 1, matrix.columns())?;
        raw::matmul(isa, Matrix::new(&x, 1, matrix.depth())?, 0.into(), &matrix, &Accumulators, out)
    });
    archive.verify().and(weights).and(matrix)
}

/// A bit that has changed is found, wherever it is, and so is an end that is missing or too much.
#[test]
fn changed_files() {
    every_isa(|isa| {
        let file = small(isa);
        use_all(isa, &file).unwrap();
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut changed = file.clone();
                changed[at] ^= 1 << bit;
                assert!(matches!(use_all(isa, &changed), Err(Error::File { .. })), "{isa}: bit {bit} of byte {at}");
            }
            assert!(matches!(use_all(isa, &file[..at]), Err(Error::File { .. })), "{isa}: {at} bytes");
        }
        assert!(matches!(use_all(isa, &[&file[..], &[0]].concat()), Err(Error::File { .. })), "{isa}");
    });
}

/// An index that lies, with the right checksum.
#[test]
fn hostile_files() {
    every_isa(|isa| {
        let file = small(isa);
        let size = |at: usize| u64::from_le_bytes(*file[at..].first_chunk().unwrap()) as usize;
        let (start, length) = (size(24), size(32));
        let mut refused = 0;
        for at in (start..start + length).step_by(4) {
            let word = u64::from_le_bytes(*[&file[at..], &[0; 8]].concat().first_chunk().unwrap());
            for other in
                [0, 1, 2, word.wrapping_add(1), word.wrapping_sub(1), word << 1, 64, 1 << 31, 1 << 62, u64::MAX]
            {
                let mut hostile = file.clone();
                let place = &mut hostile[at..(at + 8).min(start + length)];
                place.copy_from_slice(&other.to_le_bytes()[..place.len()]);
                let checksum = xxh64(&hostile[start..start + length]);
                hostile[40..48].copy_from_slice(&checksum.to_le_bytes());
                refused += u32::from(use_all(isa, &hostile).is_err());
            }
        }
        assert!(refused > 500, "{isa}: {refused}");
        // The fingerprint of another layout.
        let mut name = isa.name().as_bytes().to_vec();
        name.resize(name.len().next_multiple_of(8), 0);
        let names = file[start..].windows(name.len()).position(|bytes| bytes == name);
        let fingerprint = start + names.unwrap() + name.len();
        let mut other = file.clone();
        other[fingerprint] ^= 1;
        let checksum = xxh64(&other[start..start + length]);
        other[40..48].copy_from_slice(&checksum.to_le_bytes());
        let refused = use_all(isa, &other).unwrap_err().to_string();
        assert!(refused.contains("layout of another version"), "{refused}");
    });
}

/// An order of very many places, of weights that have no codes: no memory is asked for that is not in the file.
#[test]
fn hostile_orders() {
    let (qweight, g_idx): (Vec<i32>, Vec<i32>) = (vec![0; 8 * 8], (0..64).map(|k| k % 2).collect());
    let scales = reference::narrow_to_f16(&[0.5; 16]);
    let weights = StoredWeights::gptq(32, &qweight, &[0; 2], &scales, Some(&g_idx), [8, 64]).unwrap();
    let isa = Isa::named("scalar").unwrap();
    let mut file = file_of(&[("groups", &PackedWeights::pack(isa, &weights.weights()).unwrap())]);
    let word = |file: &[u8], at: usize| u64::from_le_bytes(*file[at..].first_chunk().unwrap()) as usize;
    let (start, length) = (word(&file, 24), word(&file, 32));
    // Behind the number of entries, a name, a type, a name, a fingerprint and a place: the lengths of the sections.
    let mut at = start + 8 + 16 + 8 + 16 + 16;
    let mut words = Vec::new();
    for _ in 0..word(&file, at) {
        words.push((at + 8, 0));
        at += 16;
    }
    let shape = (at..start + length).step_by(8).find(|&at| [0, 8, 16].map(|i| word(&file, at + i)) == [32, 8, 64]);
    words.extend([(shape.unwrap() + 8, 0), (shape.unwrap() + 16, 1_usize << (usize::BITS - 14))]);
    for (at, word) in words {
        file[at..at + 8].copy_from_slice(&(word as u64).to_le_bytes());
    }
    let checksum = xxh64(&file[start..start + length]);
    file[40..48].copy_from_slice(&checksum.to_le_bytes());
    let refused = Archive::copied(&file).unwrap().get::<PackedWeights>(isa, "groups").unwrap_err();
    assert!(refused.to_string().contains("the order of a row lacks a place"), "{refused}");
}

/// Bytes from an odd address on are refused.
#[test]
fn files_that_lie_anywhere() {
    /// Words, and the bytes of them in front of a file.
    struct Behind(Vec<u64>, usize);
    impl AsRef<[u8]> for Behind {
        fn as_ref(&self) -> &[u8] {
            // SAFETY: the words live as long as this, and any byte of an integer is a u8.
            let bytes = unsafe { core::slice::from_raw_parts(self.0.as_ptr().cast(), 8 * self.0.len()) };
            &bytes[self.1..]
        }
    }
    let file = small(Isa::best().unwrap());
    for at in 0..8 {
        let mut words: Vec<u64> = vec![0; at];
        words.extend(file.chunks(8).map(|chunk| u64::from_le_bytes(*[chunk, &[0; 8]].concat().first_chunk().unwrap())));
        let begins = words[at..].as_ptr().addr();
        match Archive::open(Behind(words, 8 * at)) {
            Ok(archive) => {
                assert!(begins.is_multiple_of(64));
                archive.verify().unwrap();
            }
            Err(error) => {
                assert!(!begins.is_multiple_of(64) && error.to_string().contains("multiple of 64"), "{error}");
            }
        }
    }
}
