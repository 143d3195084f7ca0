//! Archives: packed weights by name, in files.

use core::ffi::{c_char, c_int, c_void};
use core::mem::MaybeUninit;
use std::any::Any;
use std::ffi::CString;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use zeropoint::files::{Archive, ArchiveWriter, Entry};
use zeropoint::{Error, Exec};

use crate::boundary::{Caller, call, zp_message};
use crate::element::{CEnum, truth, zp_type};
use crate::error::zp_error;
use crate::exec::zp_exec;
use crate::failure::{Failure, Reason};
use crate::groups::zp_group_weights;
use crate::handle::{Handle, Owned};
use crate::view::zp_view_mut;
use crate::weights::{PackedPair, make_pair, with_pair, zp_weights};

/// Packed weights by name, in the bytes of a file. Weights are multiplied where they are in it: nothing is copied, and a mapped file is
/// shared by all processes that map it. An owned handle: free it with zp_archive_free(), which may be while weights of it are in use.
/// It never changes, so threads may share it.
pub struct zp_archive {
    _opaque: (),
}

/// What writes an archive. An owned handle: free it with zp_archive_writer_free(). Calls on several threads wait for each other.
pub struct zp_archive_writer {
    _opaque: (),
}

/// An archive, and its names as C reads them.
pub(crate) struct Named {
    archive: Archive,
    names: Vec<CString>,
}

/// A writer, and the weights that it reads.
#[derive(Default)]
pub(crate) struct Writer {
    /// It borrows from `weights`, so it is dropped first, and its lifetime stays in this file.
    writer: ArchiveWriter<'static>,
    weights: Vec<Arc<dyn Any + Send + Sync>>,
}

impl Handle for zp_archive {
    type Value = Named;
    type Ownership = Owned;
    const NAME: &str = "zp_archive";
    const KIND: u32 = 0x7a70_000a;
}

impl Handle for zp_archive_writer {
    type Value = Mutex<Writer>;
    type Ownership = Owned;
    const NAME: &str = "zp_archive_writer";
    const KIND: u32 = 0x7a70_000b;
}

/// Called with its context when the bytes of an archive are not needed any more: when the archive and all weights of it are freed. It
/// runs inside of the call that frees the last one, on that thread.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_release {
    /// Handed to `run`.
    pub context: *mut c_void,
    /// Unmaps or frees the bytes, for example.
    pub run: Option<unsafe extern "C" fn(context: *mut c_void)>,
}

/// Bytes that stay the caller's.
struct Lent {
    bytes: *const [u8],
    /// Set when the archive is open: until then the caller frees the bytes.
    release: Arc<OnceLock<zp_release>>,
}

// SAFETY: bytes that nobody writes, and a function that the caller says may be called on any thread.
unsafe impl Send for zp_release {}
// SAFETY: as above; it is called once, by whoever drops its owner.
unsafe impl Sync for zp_release {}
// SAFETY: as above.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: checked when the archive was opened; the caller keeps the bytes, unchanged, until this is dropped.
        unsafe { &*self.bytes }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(&zp_release { context, run: Some(run) }) = self.release.get() {
            // SAFETY: the caller's function with the caller's context, once; nothing reads the bytes any more.
            unsafe { run(context) };
        }
    }
}

impl From<Archive> for Named {
    fn from(archive: Archive) -> Self {
        // (Only another language can write a name with a zero byte in it, and C cannot ask for it.)
        let names = archive.names().filter_map(|name| CString::new(name).ok()).collect();
        Named { archive, names }
    }
}

/// Opens the bytes of a file where they are: a mapping, for example, which begins at a multiple of 64. They stay there, unchanged, and
/// no shorter than the file said, until the archive and all weights of it are freed. Then `release` is called, unless it is NULL;
/// without one, the caller frees the bytes at any time after that. On an error it is not called: they are the caller's still.
///
/// Whatever bytes there are, opening is safe. Codes are verified by zp_archive_verify() alone, for that reads all of them.
///
/// Errors: ZP_ERROR_FILE for bytes that are no archive, or begin elsewhere.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_archive_open(
    bytes: *const u8,
    length: usize,
    release: *const zp_release,
    archive: *mut *mut zp_archive,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, release) = (c.out_handle(archive)?, c.optional(release, "release")?);
            let when_open = Arc::new(OnceLock::new());
            let lent = Lent { bytes: c.array(bytes, length, "bytes")?, release: Arc::clone(&when_open) };
            out.write(Archive::open(lent)?.into());
            if let Some(&release) = release {
                when_open.get_or_init(|| release);
            }
            Ok(())
        })
    }
}

/// Opens a copy of the bytes of a file, wherever they begin: they may be freed when it returns.
///
/// Errors: ZP_ERROR_FILE for bytes that are no archive; ZP_ERROR_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_archive_copied(
    bytes: *const u8,
    length: usize,
    archive: *mut *mut zp_archive,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let out = c.out_handle(archive)?;
            out.write(Archive::copied(c.array(bytes, length, "bytes")?)?.into());
            Ok(())
        })
    }
}

/// A name of the archive, by a number from 0 on, in the order in which weights were added; each as often as there are ISAs that its
/// weights are packed for. `name` becomes NULL behind the last one. It ends with a zero byte, and lives as long as the archive.
///
/// Errors: ZP_ERROR_HANDLE, ZP_ERROR_NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_archive_name(
    archive: *const zp_archive,
    index: usize,
    name: *mut *const c_char,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (archive, out) = (c.handle(archive)?, c.out(name, "name")?);
            out.write(archive.names.get(index).map_or(core::ptr::null(), |name| name.as_ptr()));
            Ok(())
        })
    }
}

/// The weights of a name, where they are; or, if that is wanted, packed again.
fn find<E: Entry>(archive: &Archive, exec: Exec<'_>, name: &str, repacks: MaybeUninit<bool>) -> Result<E, Error> {
    if truth(repacks) { archive.get_or_repack(exec, name) } else { archive.get(exec, name) }
}

/// The weights of a name with codes of the type `codes`, for activations of the type `activations`, packed for the ISA of `exec`: where
/// they are in the file. If there are none for this ISA and `repacks` is true, those for another one that this CPU has are packed again.
///
/// Errors: ZP_ERROR_FILE when there are none of this name and these types for the ISA, or when they have the layout of another version
/// of this library; ZP_ERROR_TYPE, ZP_ERROR_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_archive_weights(
    exec: *const zp_exec,
    archive: *const zp_archive,
    name: *const c_char,
    activations: MaybeUninit<zp_type>,
    codes: MaybeUninit<zp_type>,
    repacks: MaybeUninit<bool>,
    weights: *mut *mut zp_weights,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, exec, archive, name) =
                (c.out_handle(weights)?, c.exec(exec)?, c.handle(archive)?, c.text(name, "name")?);
            let activations = zp_type::checked(activations, "activations")?;
            let codes = zp_type::checked(codes, "codes")?;
            out.write(make_pair!(PackedPair, activations, (codes, "codes"), (A, B) => {
                find::<zeropoint::PackedMatrix<A, B>>(&archive.archive, exec, name, repacks)?
            }));
            Ok(())
        })
    }
}

/// The weights in groups of a name, packed for the ISA of `exec`: where they are in the file. If there are none for this ISA and
/// `repacks` is true, those for another one that this CPU has are packed again.
///
/// Errors: ZP_ERROR_FILE when there are none of this name for the ISA, or when they have the layout of another version of this library;
/// ZP_ERROR_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_archive_group_weights(
    exec: *const zp_exec,
    archive: *const zp_archive,
    name: *const c_char,
    repacks: MaybeUninit<bool>,
    weights: *mut *mut zp_group_weights,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, exec, archive) = (c.out_handle(weights)?, c.exec(exec)?, c.handle(archive)?);
            out.write(find(&archive.archive, exec, c.text(name, "name")?, repacks)?);
            Ok(())
        })
    }
}

/// Reads all weights of an archive, and holds them against their checksums.
///
/// Errors: ZP_ERROR_FILE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_archive_verify(archive: *const zp_archive, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| Ok(c.handle(archive)?.archive.verify()?)) }
}

/// Frees an archive. Weights of it stay. NULL is none.
///
/// Errors: ZP_ERROR_HANDLE where a mistake can be found out: see the top of this header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_archive_free(archive: *mut zp_archive, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| c.free(archive)) }
}

/// Where an archive is written, piece by piece: to a file, for example.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_sink {
    /// Handed to `write`.
    pub context: *mut c_void,
    /// Takes all of the bytes, and returns 0; or another number for a failure, which ends the call.
    pub write: Option<unsafe extern "C" fn(context: *mut c_void, bytes: *const c_void, length: usize) -> c_int>,
}

/// Bytes go to a function, which says whether it took them.
struct Take<F>(F);

impl<F: FnMut(&[u8]) -> bool> Write for Take<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.0)(bytes) { Ok(bytes.len()) } else { Err(io::ErrorKind::Other.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Writer {
    /// # Safety
    /// `weights` is inside of what `owner` owns.
    unsafe fn add<E: Entry + 'static>(
        &mut self,
        name: &str,
        weights: &E,
        owner: Arc<dyn Any + Send + Sync>,
    ) -> Result<(), Failure> {
        // SAFETY: what an `Arc` owns never moves, and this one is dropped after the writer.
        let weights: &'static E = unsafe { &*core::ptr::from_ref(weights) };
        self.writer.add(name, weights)?;
        self.weights.push(owner);
        Ok(())
    }

    /// The bytes of the archive.
    fn size(&self) -> usize {
        let mut size = 0;
        let count = Take(|bytes: &[u8]| {
            size += bytes.len();
            true
        });
        self.writer.write(count).expect("counting never fails");
        size
    }
}

/// The writer, for this call alone. (One that panicked before is no better than one that does now.)
fn lock(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().expect("no call with this writer panicked")
}

/// A writer of an archive of nothing.
///
/// Errors: ZP_ERROR_NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_archive_writer_new(
    writer: *mut *mut zp_archive_writer,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            c.out_handle(writer)?.write(Mutex::default());
            Ok(())
        })
    }
}

/// Adds weights by a name. There may be several of a name, packed for different ISAs. The writer becomes an owner of them: nothing is
/// copied, and the caller may free its handle.
///
/// Errors: ZP_ERROR_FILE when there are some of this name, these types and this ISA.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_archive_writer_add(
    writer: *const zp_archive_writer,
    name: *const c_char,
    weights: *const zp_weights,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (writer, name, owner) = (c.handle(writer)?, c.text(name, "name")?, c.owner(weights)?);
            with_pair!(PackedPair, c.handle(weights)?, weights => lock(writer).add(name, weights, owner))
        })
    }
}

/// Adds weights in groups by a name, as zp_archive_writer_add().
///
/// Errors: ZP_ERROR_FILE when there are some of this name and this ISA.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_archive_writer_add_group(
    writer: *const zp_archive_writer,
    name: *const c_char,
    weights: *const zp_group_weights,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (writer, name, owner) = (c.handle(writer)?, c.text(name, "name")?, c.owner(weights)?);
            lock(writer).add(name, c.handle(weights)?, owner)
        })
    }
}

/// Hands the archive to a function, piece by piece; it may not call with this writer. The same weights make the same bytes.
///
/// Errors: ZP_ERROR_SINK when the function returns another number than 0; what it took until then is no archive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_archive_writer_write(
    writer: *const zp_archive_writer,
    sink: zp_sink,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let writer = c.handle(writer)?;
            let write = sink.write.ok_or(Reason::Null { what: "sink.write" })?;
            let mut returned = 0;
            let take = Take(|bytes: &[u8]| {
                returned = write(sink.context, bytes.as_ptr().cast(), bytes.len());
                returned == 0
            });
            let written = lock(writer).writer.write(take);
            Ok(written.map_err(|_| Reason::Sink { returned })?)
        })
    }
}

/// The bytes of the archive, for the room of zp_archive_writer_copy().
///
/// Errors: ZP_ERROR_HANDLE, ZP_ERROR_NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_archive_writer_size(
    writer: *const zp_archive_writer,
    bytes: *mut usize,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (writer, out) = (c.handle(writer)?, c.out(bytes, "bytes")?);
            out.write(lock(writer).size());
            Ok(())
        })
    }
}

/// Writes the archive into `out`, U8 without gaps, of as many bytes as zp_archive_writer_size() says.
///
/// Errors: ZP_ERROR_LENGTH, ZP_ERROR_TYPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_archive_writer_copy(
    writer: *const zp_archive_writer,
    out: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let writer = lock(c.handle(writer)?);
            let ([], [out]) = c.buffers([], [(&out, "out")])?;
            let (out, expected) = (out.slice::<u8>()?, writer.size());
            if out.len() != expected {
                return Err(Error::Length { what: "out", expected, found: out.len() }.into());
            }
            writer.writer.write(out).expect("there is room for all of it");
            Ok(())
        })
    }
}

/// Frees a writer. NULL is none.
///
/// Errors: ZP_ERROR_HANDLE where a mistake can be found out: see the top of this header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_archive_writer_free(writer: *mut zp_archive_writer, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| c.free(writer)) }
}
