//! Archives of packed weights.

use std::io::{self, Write};
use std::sync::Arc;

use super::checksum::xxh64;
use super::fields::{FieldReader, Fields, broken};
use super::sections::Sections;
use crate::codes::ByteCode;
use crate::error::Error;
use crate::exec::Exec;
use crate::groups::PackedWeights;
use crate::isa::Isa;
use crate::matmul::packed::{Packed, PackedMatrix};
use crate::memory::{AlignedBuffer, CACHE_LINE};
use crate::shared::FileOwner;

const MAGIC: [u8; 8] = *b"ZPWeight";
const VERSION: u64 = 1;

mod sealed {
    use super::{Error, FieldReader, Fields, Isa, Sections};

    /// How weights are written and read.
    pub trait Parts: Sized {
        /// A number for every type.
        const TYPE: u64;

        /// The ISA that the weights are packed for.
        fn packed_for(&self) -> Isa;
        /// Writes shape, zero points, bias and all else that an index has of weights.
        fn write_head(&self, head: &mut Fields);
        /// The bytes that are multiplied where they are in a file: codes, and scales of groups.
        fn sections(&self) -> Vec<&[u8]>;
        /// Weights of a head and of sections, which hold a share of the file.
        fn read(isa: Isa, head: &mut FieldReader<'_>, body: &mut Sections<'_>) -> Result<Self, Error>;
        /// The fingerprint of the layout that these weights have for this build.
        fn layout(&self) -> Result<u64, Error>;
        /// The weights, packed for another ISA.
        fn repacked(&self, isa: Isa) -> Result<Self, Error>;
    }
}
use sealed::Parts;

/// Weights that an [`Archive`] may have: a [`PackedMatrix`] of any types, or [`PackedWeights`].
pub trait Entry: Parts {}

impl<A: ByteCode, B: ByteCode> Entry for PackedMatrix<A, B> {}

impl<A: ByteCode, B: ByteCode> Parts for PackedMatrix<A, B> {
    const TYPE: u64 = 0x100 + 2 * A::SIGN as u64 + B::SIGN as u64;

    fn packed_for(&self) -> Isa {
        self.isa()
    }

    fn write_head(&self, head: &mut Fields) {
        self.packed().write(B::SIGN, head);
    }

    fn sections(&self) -> Vec<&[u8]> {
        vec![self.packed().body()]
    }

    fn read(isa: Isa, head: &mut FieldReader<'_>, body: &mut Sections<'_>) -> Result<Self, Error> {
        Ok(Self::of(Packed::read(isa, [A::SIGN, B::SIGN], head, body)?))
    }

    fn layout(&self) -> Result<u64, Error> {
        Packed::fingerprint(self.isa(), [A::SIGN, B::SIGN])
    }

    fn repacked(&self, isa: Isa) -> Result<Self, Error> {
        self.repack(isa)
    }
}

#[cfg(feature = "groups")]
impl Entry for PackedWeights {}

// Only with the feature, since rustc compiles the methods of every trait implementation, reachable or not.
#[cfg(feature = "groups")]
impl Parts for PackedWeights {
    const TYPE: u64 = 0x200;

    fn packed_for(&self) -> Isa {
        self.isa()
    }

    fn write_head(&self, head: &mut Fields) {
        self.write(head);
    }

    fn sections(&self) -> Vec<&[u8]> {
        self.body()
    }

    fn read(isa: Isa, head: &mut FieldReader<'_>, body: &mut Sections<'_>) -> Result<Self, Error> {
        PackedWeights::read(isa, head, body)
    }

    fn layout(&self) -> Result<u64, Error> {
        self.fingerprint()
    }

    fn repacked(&self, isa: Isa) -> Result<Self, Error> {
        self.repack(isa)
    }
}

/// Writes an [`Archive`].
#[derive(Default, Debug)]
pub struct ArchiveWriter<'a> {
    /// Names, types and ISAs of what is there.
    keys: Vec<(String, u64, &'static str)>,
    /// The index, but for where sections begin, which is counted from the first one.
    index: Fields,
    sections: Vec<&'a [u8]>,
    /// The bytes of all sections.
    bytes: u64,
}

impl<'a> ArchiveWriter<'a> {
    /// An archive of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds weights by a name; there may be several of a name, packed for different ISAs. Their codes are read when the archive
    /// is [written](ArchiveWriter::write).
    ///
    /// # Errors
    /// [`Error::File`] when there are some of this name, type and ISA; and on targets that are not little-endian.
    pub fn add<E: Entry>(&mut self, name: &str, weights: &'a E) -> Result<(), Error> {
        check_endianness()?;
        let key = (name.to_owned(), E::TYPE, weights.packed_for().name());
        if self.keys.contains(&key) {
            return broken("there are weights of this name, type and ISA");
        }
        let (layout, sections, mut head) = (weights.layout()?, weights.sections(), Fields::default());
        self.keys.push(key);
        weights.write_head(&mut head);
        let index = &mut self.index;
        index.text(name);
        index.number(E::TYPE);
        index.text(weights.packed_for().name());
        index.number(layout);
        index.number(CACHE_LINE as u64 + self.bytes);
        index.size(sections.len());
        for section in &sections {
            index.size(section.len());
            index.number(xxh64(section));
            self.bytes += section.len().next_multiple_of(CACHE_LINE) as u64;
        }
        index.blob(head.bytes());
        self.sections.extend(sections);
        Ok(())
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// An error of `to`.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let mut index = Fields::default();
        index.size(self.keys.len());
        let index = [index.bytes(), self.index.bytes()].concat();
        let mut header = MAGIC.to_vec();
        let start = CACHE_LINE as u64 + self.bytes;
        for number in [VERSION, start + index.len() as u64, start, index.len() as u64, xxh64(&index)] {
            header.extend(number.to_le_bytes());
        }
        header.resize(CACHE_LINE, 0);
        to.write_all(&header)?;
        for section in &self.sections {
            to.write_all(section)?;
            to.write_all(&[0; CACHE_LINE][..section.len().next_multiple_of(CACHE_LINE) - section.len()])?;
        }
        to.write_all(&index)
    }
}

/// Packed weights by name, in the bytes of a [file](crate::files#the-file).
#[derive(Clone)]
pub struct Archive {
    file: FileOwner,
    index: Vec<IndexEntry>,
}

/// What the index says of an entry.
#[derive(Clone, Debug)]
struct IndexEntry {
    name: String,
    /// [`Parts::TYPE`]
    type_number: u64,
    /// The name of the ISA that the weights are packed for.
    isa: String,
    fingerprint: u64,
    /// Where the first section begins; the others follow, each from the next multiple of 64 on.
    start: usize,
    /// The bytes of every section.
    lengths: Vec<usize>,
    checksums: Vec<u64>,
    /// The fields that [`Parts::write_head`] wrote.
    head: Vec<u8>,
}

/// A copy of a file.
struct Copied {
    bytes: AlignedBuffer,
    length: usize,
}

impl AsRef<[u8]> for Copied {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_slice(self.length)
    }
}

impl Archive {
    /// Opens the bytes of a file: a mapping, or anything else that keeps them where they are and as they are, from a multiple of
    /// 64 on.
    ///
    /// # Errors
    /// [`Error::File`] for bytes that are no archive, or do not begin there; and on targets that are not little-endian.
    pub fn open(file: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, Error> {
        Self::of(Arc::new(file))
    }

    /// Opens a copy of the bytes of a file, wherever they begin.
    ///
    /// # Errors
    /// [`Error::File`] for bytes that are no archive; [`Error::Memory`].
    pub fn copied(bytes: &[u8]) -> Result<Self, Error> {
        let mut copy = AlignedBuffer::default();
        copy.try_bytes(bytes.len())?.copy_from_slice(bytes);
        Self::of(Arc::new(Copied { bytes: copy, length: bytes.len() }))
    }

    fn of(file: FileOwner) -> Result<Self, Error> {
        check_endianness()?;
        let bytes = (*file).as_ref();
        let Some((magic, mut header)) = bytes.split_first_chunk().map(|(magic, rest)| (magic, FieldReader(rest)))
        else {
            return broken("it is too short");
        };
        if *magic != MAGIC || bytes.len() < CACHE_LINE {
            return broken("it does not begin as one");
        }
        if header.number()? != VERSION {
            return broken("it has another version");
        }
        if header.size()? != bytes.len() {
            return broken("it has another length than it says");
        }
        if bytes[48..CACHE_LINE] != [0; 16] {
            return broken("its header has more than this version knows");
        }
        if !bytes.as_ptr().addr().is_multiple_of(CACHE_LINE) {
            return broken("it begins at no multiple of 64 in memory");
        }
        let (start, length, checksum) = (header.size()?, header.size()?, header.number()?);
        let index = start.checked_add(length).and_then(|end| bytes.get(start..end)).unwrap_or_default();
        if index.is_empty() || xxh64(index) != checksum {
            return broken("its index has changed");
        }
        let mut index = FieldReader(index);
        let mut entries = Vec::new();
        for _ in 0..index.number()? {
            entries.push(IndexEntry::read(&mut index, start)?);
        }
        index.end()?;
        Ok(Archive { file, index: entries })
    }

    /// The names of all weights, in the order in which they were added: a name as often as there are ISAs that its weights are
    /// packed for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.iter().map(|entry| &*entry.name)
    }

    /// The names of the ISAs that weights of a name are packed for.
    pub fn isas(&self, name: &str) -> impl Iterator<Item = &str> {
        self.index.iter().filter(move |entry| entry.name == name).map(|entry| &*entry.isa)
    }

    /// The weights of a name, packed for the ISA of `exec`, where they are.
    ///
    /// # Errors
    /// [`Error::File`] when there are none of this name and type for this ISA, when they have another layout than that of this
    /// build, or when what the index says of them is impossible.
    pub fn get<'e, E: Entry>(&self, exec: impl Into<Exec<'e>>, name: &str) -> Result<E, Error> {
        self.packed_for(exec.into().isa(), name)
    }

    /// The weights of a name, packed for the ISA of `exec`: where they are, or packed again, of those for another ISA that this
    /// CPU has.
    ///
    /// # Errors
    /// [`Error::File`] when there are none of this name and type that this CPU can read, or when what the index says of them is
    /// impossible; [`Error::Memory`].
    pub fn get_or_repack<'e, E: Entry>(&self, exec: impl Into<Exec<'e>>, name: &str) -> Result<E, Error> {
        let isa = exec.into().isa();
        let found = self.packed_for(isa, name);
        if found.is_ok() {
            return found;
        }
        let others = Isa::supported().into_iter().filter(|other| *other != isa);
        let there = others.rev().find_map(|other| self.packed_for::<E>(other, name).ok());
        there.map_or(found, |weights| weights.repacked(isa))
    }

    fn packed_for<E: Entry>(&self, isa: Isa, name: &str) -> Result<E, Error> {
        let of_name = || self.index.iter().filter(|entry| entry.name == name && entry.type_number == E::TYPE);
        let Some(entry) = of_name().find(|entry| entry.isa == isa.name()) else {
            return match (of_name().next(), self.names().any(|other| other == name)) {
                (Some(_), _) => broken("its weights of this name are packed for other ISAs"),
                (None, true) => broken("its weights of this name have another type"),
                (None, false) => broken("it has no weights of this name"),
            };
        };
        let mut head = FieldReader(&entry.head);
        let mut body = Sections { file: &self.file, start: entry.start, lengths: &entry.lengths };
        let weights = E::read(isa, &mut head, &mut body)?;
        head.end()?;
        body.end()?;
        if weights.layout()? != entry.fingerprint {
            return broken("its weights of this name have the layout of another version");
        }
        Ok(weights)
    }

    /// Reads all weights, and holds them against their checksums.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn verify(&self) -> Result<(), Error> {
        let bytes = (*self.file).as_ref();
        for entry in &self.index {
            let mut start = entry.start;
            for (&length, &checksum) in entry.lengths.iter().zip(&entry.checksums) {
                if xxh64(&bytes[start..start + length]) != checksum {
                    return broken("its weights have changed");
                }
                let end = start + length;
                start = end.next_multiple_of(CACHE_LINE);
                if bytes[end..start].iter().any(|&byte| byte != 0) {
                    return broken("there is something between its weights");
                }
            }
        }
        Ok(())
    }
}

impl IndexEntry {
    /// Reads an entry of the index of a file whose sections end at `end`.
    fn read(index: &mut FieldReader<'_>, end: usize) -> Result<Self, Error> {
        let name = index.text()?.to_owned();
        let type_number = index.number()?;
        let isa = index.text()?.to_owned();
        let (fingerprint, start) = (index.number()?, index.size()?);
        let (mut lengths, mut checksums, mut next) = (Vec::new(), Vec::new(), start);
        for _ in 0..index.number()? {
            let length = index.size()?;
            lengths.push(length);
            checksums.push(index.number()?);
            let section_end = next.checked_add(length).and_then(|end| end.checked_next_multiple_of(CACHE_LINE));
            next = section_end.unwrap_or(usize::MAX);
        }
        if !start.is_multiple_of(CACHE_LINE) || next > end {
            return broken("a section is not in the file");
        }
        let head = index.blob()?.to_vec();
        Ok(IndexEntry { name, type_number, isa, fingerprint, start, lengths, checksums, head })
    }
}

impl core::fmt::Debug for Archive {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Archive").field("index", &self.index).finish_non_exhaustive()
    }
}

fn check_endianness() -> Result<(), Error> {
    if cfg!(target_endian = "little") { Ok(()) } else { broken("it needs a little-endian target") }
}
