//! Archives of packed weights, by bytes that a program has damaged: changed ones are errors, and so are those whose index was
//! changed together with its checksum, or they are weights that can be used. Nothing is read outside the file.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use zeropoint::files::{Archive, ArchiveWriter};
use zeropoint::groups::{self, Activations, PackedWeights, RealStage, StoredWeights, Weights};
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::{
    Accumulators, ByteCode, CodeRange, Dequantize, Error, Granularity, Halves, Isa, Matrix, MatrixMut, PackedMatrix,
    QuantParams, Quantized, Scheme, matmul, raw,
};
use zeropoint_fuzz::xxh64::xxh64;
use zeropoint_fuzz::{CodeTexture, Data, IsaInput, Words, bits};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Who packs, and who reads.
    packs: IsaInput,
    reads: IsaInput,
    entries: [EntryInput; 2],
    codes: Data<CodeTexture>,
    changes: Vec<Change>,
    /// Whether the checksum of the index is that of what the changes made.
    repair: bool,
    /// In place of an archive, with a header that fits or not.
    bytes: Option<(bool, &'a [u8])>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct EntryInput {
    kind: u8,
    outputs: u8,
    depth: u8,
    length: u8,
    each: bool,
}

/// What becomes of a part of the file.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Change {
    /// A byte of the whole file.
    Byte {
        at: u16,
        to: u8,
    },
    /// A word of the index or of the header.
    Word {
        at: u16,
        to: u64,
    },
    /// A word of the index, a little larger or smaller.
    Near {
        at: u16,
        by: i8,
    },
    /// A bit of a word of the index.
    Bit {
        at: u16,
        bit: u8,
    },
    /// Words of the index, in place of others.
    Copy {
        from: u16,
        to: u16,
        words: u8,
    },
    /// The end.
    Cut {
        length: u16,
    },
    Extend {
        by: u8,
    },
}

fuzz_target!(|input: Input<'_>| {
    let [packs, reads] = [input.packs, input.reads].map(IsaInput::isa);
    if let Some((framed, bytes)) = input.bytes {
        let mut file = bytes.to_vec();
        if framed {
            file = frame(bytes);
        }
        let _ = use_all(reads, &file);
        return;
    }
    let file = archive(packs, &input);
    let want = use_all(packs, &file).expect("what was written");
    let mut changed = file.clone();
    input.changes.iter().take(16).for_each(|&change| apply(change, &mut changed));
    if input.repair {
        repair(&mut changed);
        let _ = use_all(packs, &changed);
        let _ = use_all(reads, &changed);
    } else if changed == file {
        // Packed again for another ISA, the products are those of before.
        assert_eq!(use_all(reads, &changed).unwrap(), want, "{packs} → {reads}");
    } else {
        for isa in [packs, reads] {
            assert!(matches!(use_all(isa, &changed), Err(Error::File { .. })), "{isa}: a change is not found");
        }
    }
});

/// The index of bytes, if the header says where it is.
fn index(file: &[u8]) -> Option<core::ops::Range<usize>> {
    let size = |at: usize| Some(u64::from_le_bytes(*file.get(at..at + 8)?.first_chunk()?) as usize);
    let (start, length) = (size(24)?, size(32)?);
    let range = start..start.checked_add(length)?;
    file.get(range.clone()).map(|_| range)
}

fn apply(change: Change, file: &mut Vec<u8>) {
    // The header's words, then those of the index.
    let index = index(file).unwrap_or(0..0);
    let place = |at: u16| {
        let words = 8 + index.len() / 8;
        let at = usize::from(at) % words * 8;
        if at < 64 { at } else { index.start + at - 64 }
    };
    let word = |file: &[u8], at: usize| u64::from_le_bytes(*file[at..].first_chunk().expect("a word"));
    let fits = |at: usize| at + 8 <= file.len();
    match change {
        Change::Byte { at, to } if !file.is_empty() => {
            let length = file.len();
            file[usize::from(at) % length] = to;
        }
        Change::Word { at, to } if fits(place(at)) => {
            let at = place(at);
            file[at..at + 8].copy_from_slice(&to.to_le_bytes());
        }
        Change::Near { at, by } if fits(place(at)) => {
            let at = place(at);
            let near = word(file, at).wrapping_add_signed(by.into());
            file[at..at + 8].copy_from_slice(&near.to_le_bytes());
        }
        Change::Bit { at, bit } if fits(place(at)) => {
            let at = place(at);
            let flipped = word(file, at) ^ 1 << (bit % 64);
            file[at..at + 8].copy_from_slice(&flipped.to_le_bytes());
        }
        Change::Copy { from, to, words } => {
            let (from, to, bytes) = (place(from), place(to), 8 * usize::from(words % 16));
            if from + bytes <= file.len() && to + bytes <= file.len() {
                file.copy_within(from..from + bytes, to);
            }
        }
        Change::Cut { length } => file.truncate(usize::from(length) % (file.len() + 1)),
        Change::Extend { by } => file.extend(core::iter::repeat_n(0, by.into())),
        _ => {}
    }
}

/// The length of the file and the checksum of the index, as they are.
fn repair(file: &mut [u8]) {
    if file.len() < 64 {
        return;
    }
    let length = file.len() as u64;
    file[16..24].copy_from_slice(&length.to_le_bytes());
    if let Some(index) = index(file) {
        let checksum = xxh64(&file[index]);
        file[40..48].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// Bytes as the index of an archive without sections, but for some zeros.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut file = b"ZPWeight".to_vec();
    let start = 64 * 17;
    for number in [1, 0, start as u64, bytes.len() as u64, 0] {
        file.extend(number.to_le_bytes());
    }
    file.resize(start, 0);
    file.extend(bytes);
    repair(&mut file);
    file
}

/// An archive of the input's entries.
fn archive(isa: Isa, input: &Input<'_>) -> Vec<u8> {
    let mut writer = ArchiveWriter::new();
    let [first, second] = input.entries;
    let (matrix, signed) = (matrix::<u8, i8>(isa, first, &input.codes), matrix::<i8, u8>(isa, first, &input.codes));
    let weights = group_weights(isa, second, &input.codes);
    if first.kind % 2 == 0 { writer.add("matrix", &matrix) } else { writer.add("matrix", &signed) }.unwrap();
    writer.add("groups", &weights).unwrap();
    let mut file = Vec::new();
    writer.write(&mut file).unwrap();
    file
}

fn matrix<A: ByteCode, B: ByteCode>(isa: Isa, entry: EntryInput, data: &Data<CodeTexture>) -> PackedMatrix<A, B> {
    let (n, k) = (usize::from(entry.outputs % 40), usize::from(entry.depth % 80));
    let codes: Vec<B> = data.codes(n * k);
    let codes = Matrix::new(&codes, n, k).unwrap();
    let zero_points: Vec<i32> = (0..n as i32).map(|j| j % 50).collect();
    if entry.length.is_multiple_of(2) && n > 0 && k > 0 {
        let granularity = Granularity::channel(&[n, k], 0).unwrap();
        let scales = (1..=n).map(|j| j as f32 * 0.01).collect();
        let params =
            QuantParams::new(CodeRange::new(B::MIN, B::MAX).unwrap(), granularity, scales, zero_points).unwrap();
        let packed = PackedMatrix::pack(isa, Quantized::new(codes, &params).unwrap()).unwrap();
        if entry.each {
            let x = QuantParams::per_tensor(CodeRange::new(A::MIN, A::MAX).unwrap(), 0.5, 3).unwrap();
            return packed.with_bias(&vec![1.5; n], &x).unwrap();
        }
        return packed;
    }
    let packed = if entry.each {
        raw::pack_transposed(isa, codes, zero_points[..].into())
    } else {
        raw::pack_transposed(isa, codes, 5.into())
    };
    packed.unwrap().with_accumulator_bias(&(0..n as i32).collect::<Vec<_>>()).unwrap()
}

fn group_weights(isa: Isa, entry: EntryInput, data: &Data<CodeTexture>) -> PackedWeights {
    if entry.kind / 14 % 4 == 3 {
        return ordered(isa, entry, data);
    }
    let (n, k) = (usize::from(entry.outputs % 20) + 1, usize::from(entry.depth % 120) + 1);
    let length = [16, 32, 48, k, usize::MAX][usize::from(entry.length % 5)];
    let bits = u32::from(entry.kind / 2 % 7) + 2;
    let groups = n * k.div_ceil(length);
    let range = CodeRange::unsigned(bits).unwrap();
    let codes: Vec<u8> = data.codes_within(n * k, 0, range.max());
    let codes = Matrix::new(&codes, n, k).unwrap();
    let (scales, halves) = (vec![0.5; groups], vec![0x3c00; groups]);
    let weights = if entry.outputs.is_multiple_of(2) {
        Weights::new(codes, range, length, &scales)
    } else {
        Weights::new(codes, range, length, Halves::f16(&halves))
    };
    let (weights, zero_points) = (weights.unwrap(), vec![1; groups]);
    let weights = match entry.kind / 14 % 4 {
        0 => weights,
        1 => weights.with_zero_points(&zero_points).unwrap(),
        _ => weights.with_offsets(&scales).unwrap(),
    };
    PackedWeights::pack(isa, &weights).unwrap()
}

/// Weights in another order than that of the activations.
fn ordered(isa: Isa, entry: EntryInput, data: &Data<CodeTexture>) -> PackedWeights {
    let (n, groups) = (8 * (usize::from(entry.outputs % 3) + 1), usize::from(entry.depth % 4) + 1);
    let k = 16 * groups;
    let (codes, zero_points, scales) =
        (data.integers(k / 8 * n, i32::MAX), vec![0; groups * n / 8], vec![0x3c00; groups * n]);
    let order: Vec<i32> = (0..k).map(|k| (k % groups) as i32).collect();
    let stored = StoredWeights::gptq(16, &codes, &zero_points, &scales, Some(&order), [n, k]).unwrap();
    PackedWeights::pack(isa, &stored.weights()).unwrap()
}

/// Opens a file, reads and packs again all that is in it, and multiplies by it: the bits of products.
fn use_all(isa: Isa, file: &[u8]) -> Result<Vec<u32>, Error> {
    let archive = Archive::copied(file)?;
    let names: Vec<String> = archive.names().map(str::to_owned).collect();
    let mut products = Vec::new();
    let mut found = Ok(());
    for name in names.iter().map(String::as_str).take(20) {
        assert!(archive.isas(name).count() > 0);
        found = found.and(products_by::<u8, i8>(&archive, isa, name, &mut products));
        found = found.and(products_by::<u8, u8>(&archive, isa, name, &mut products));
        found = found.and(products_by::<i8, i8>(&archive, isa, name, &mut products));
        found = found.and(products_by::<i8, u8>(&archive, isa, name, &mut products));
        found = found.and(group_products(&archive, isa, name, &mut products));
    }
    archive.verify().and(found).map(|()| products)
}

/// The error of reading, unless it says that there are weights of another type.
fn only_other_type<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Error::File { why }) if why.ends_with("have another type") => Ok(None),
        Err(error) => Err(error),
    }
}

/// More than this takes too long.
const MOST: usize = 300_000;

fn products_by<A: ByteCode, B: ByteCode>(
    archive: &Archive,
    isa: Isa,
    name: &str,
    products: &mut Vec<u32>,
) -> Result<(), Error> {
    let _ = archive.get::<PackedMatrix<A, B>>(isa, name);
    let Some(packed) = only_other_type(archive.get_or_repack::<PackedMatrix<A, B>>(isa, name))? else { return Ok(()) };
    let (n, k) = (packed.columns(), packed.depth());
    if n.saturating_mul(k.max(1)) > MOST || k > MOST {
        return Ok(());
    }
    let mut words = Words(3);
    let x: Vec<A> =
        (0..2 * k).map(|_| A::try_from((words.word() % 256) as i32 + A::MIN.into()).ok().expect("a code")).collect();
    let x = Matrix::new(&x, 2, k)?;
    let mut out = vec![0; 2 * n];
    raw::matmul(isa, x, 3.into(), &packed, &Accumulators, MatrixMut::new(&mut out, 2, n)?)?;
    products.extend(out.iter().map(|&out| out as u32));
    let params = QuantParams::per_tensor(CodeRange::new(A::MIN, A::MAX)?, 0.5, 3)?;
    let mut reals = vec![0.0; 2 * n];
    if matmul(isa, Quantized::new(x, &params)?, &packed, &Dequantize::new(), MatrixMut::new(&mut reals, 2, n)?).is_ok()
    {
        products.extend(bits(&reals));
    }
    Ok(())
}

fn group_products(archive: &Archive, isa: Isa, name: &str, products: &mut Vec<u32>) -> Result<(), Error> {
    let _ = archive.get::<PackedWeights>(isa, name);
    let Some(packed) = only_other_type(archive.get_or_repack::<PackedWeights>(isa, name))? else { return Ok(()) };
    let (n, k) = (packed.outputs(), packed.depth());
    if n.saturating_mul(k.max(1)) > MOST || k > MOST {
        return Ok(());
    }
    let x: Vec<f32> = (0..2 * k).map(|i| (i % 37) as f32 - 18.0).collect();
    let x = Activations::reals(Matrix::new(&x, 2, k)?, Scheme::ASYMMETRIC);
    let mut out = vec![0.0; 2 * n];
    groups::matmul(isa, &x, &packed, &RealStage::new(), &mut out)?;
    products.extend(bits(&out));
    Ok(())
}
