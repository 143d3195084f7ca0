//! Archives of packed weights.

use core::ffi::{c_int, c_void};
use core::ptr::{null, null_mut};

use arbitrary::Arbitrary;
use zeropoint_capi::*;
use zeropoint_fuzz::c::{Memory, number};

use crate::arguments::{HandleInput, small, text, truth};
use crate::caller::{Caller, pick};

#[derive(Arbitrary, Debug)]
pub enum Call<'a> {
    Archive(HandleInput, HandleInput, &'a str, u8),
    ArchiveBytes(&'a [u8], bool),
    ArchiveUse(HandleInput, &'a str, [u8; 3]),
}

pub fn call(caller: &mut Caller, call: &Call<'_>) {
    let exec = caller.exec;
    let exec = &raw const exec;
    match *call {
        Call::Archive(weights, groups, name, failing) => archive_of(caller, weights, groups, name, failing),
        Call::ArchiveBytes(bytes, copied) => open(caller, bytes, copied),
        Call::ArchiveUse(archive, name, [a, b, repacks]) => {
            let archive = pick(&caller.made.archives, archive, caller.other());
            call!(caller, zp_archive_verify(archive));
            let (mut first, name) = (null(), text(name));
            call!(caller, zp_archive_name(archive, usize::from(a % 4), &raw mut first));
            let name = if b < 128 && !first.is_null() { first } else { name.as_ptr().cast() };
            let (types, repacks) = ([a, b].map(|n| number(small(n, 1) + 1)), truth(repacks));
            make!(caller, weights, zp_archive_weights(exec, archive, name, types[0], types[1], repacks));
            make!(caller, groups, zp_archive_group_weights(exec, archive, name, repacks));
        }
    }
}

/// Writes an archive into a buffer and through a function, and opens it.
fn archive_of(caller: &mut Caller, weights: HandleInput, groups: HandleInput, name: &str, failing: u8) {
    let (name, other) = (text(name), caller.other());
    let mut writer = null_mut();
    assert!(call!(caller, zp_archive_writer_new(&raw mut writer)));
    let weights = pick(&caller.made.weights, weights, other);
    call!(caller, zp_archive_writer_add(writer, name.as_ptr().cast(), weights));
    call!(caller, zp_archive_writer_add_group(writer, name.as_ptr().cast(), pick(&caller.made.groups, groups, other)));
    let mut taken = Taken { bytes: Vec::new(), room: if failing < 200 { usize::MAX } else { 100 } };
    let sink = zp_sink { context: (&raw mut taken).cast(), write: if failing == 255 { None } else { Some(take) } };
    if call!(caller, zp_archive_writer_write(writer, sink)) {
        let mut size = 0;
        assert!(call!(caller, zp_archive_writer_size(writer, &raw mut size)));
        assert_eq!(size, taken.bytes.len());
        let memory = Memory::new(&vec![0; size]);
        let data = memory.start().cast();
        let view = zp_view_mut { r#type: number(1), data, rows: 1, columns: size, stride: 0 };
        assert!(call!(caller, zp_archive_writer_copy(writer, view)));
        open(caller, &taken.bytes, failing.is_multiple_of(2));
    }
    assert!(call!(caller, zp_archive_writer_free(writer)));
}

/// Opens an archive: a copy of bytes, or bytes that are kept until it is freed.
fn open(caller: &mut Caller, bytes: &[u8], copied: bool) {
    if copied {
        make!(caller, archives, zp_archive_copied(bytes.as_ptr(), bytes.len()));
        return;
    }
    let kept = Box::into_raw(Box::new(Memory::new(bytes)));
    let release = zp_release { context: kept.cast(), run: Some(release) };
    // SAFETY: just made.
    let start = unsafe { (*kept).start() };
    let before = caller.made.archives.len();
    make!(caller, archives, zp_archive_open(start, bytes.len(), &raw const release));
    if caller.made.archives.len() == before {
        // SAFETY: not taken, so still this function's.
        drop(unsafe { Box::from_raw(kept) });
    }
}

/// What a sink took, and has room for.
struct Taken {
    bytes: Vec<u8>,
    room: usize,
}

unsafe extern "C" fn take(context: *mut c_void, bytes: *const c_void, length: usize) -> c_int {
    // SAFETY: the context is a `Taken` that nobody else uses during the call; so many bytes are lent.
    let (taken, bytes) =
        unsafe { (&mut *context.cast::<Taken>(), core::slice::from_raw_parts(bytes.cast::<u8>(), length)) };
    if taken.bytes.len() + length > taken.room {
        return 3;
    }
    taken.bytes.extend_from_slice(bytes);
    0
}

unsafe extern "C" fn release(context: *mut c_void) {
    // SAFETY: the memory that was lent, and that nobody needs any more.
    drop(unsafe { Box::from_raw(context.cast::<Memory>()) });
}
