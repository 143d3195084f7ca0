//! The C interface, called as a program may call it that keeps its contract and nothing more: any order of calls, handles of any
//! kind, NULL, misaligned and overlapping buffers, numbers that no enum has, sizes whose product overflows. No call reads or writes
//! outside of the buffers, panics, or writes and fails.
#![no_main]

#[macro_use]
mod caller;
mod archives;
mod arguments;
mod elements;
mod formats;
mod groups;
mod handles;
mod layers;
mod observers;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use caller::Caller;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    isa: u8,
    threads: bool,
    /// Indices of the dimensions that views have in common.
    dimensions: [u8; 4],
    calls: Vec<Call<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Call<'a> {
    Elements(elements::Call),
    Layers(layers::Call),
    Formats(formats::Call),
    Groups(groups::Call),
    Observers(observers::Call<'a>),
    Archives(archives::Call<'a>),
    Handles(handles::Call<'a>),
}

fuzz_target!(|input: Input<'_>| {
    let mut caller = Caller::new(input.isa, input.threads, input.dimensions);
    for call in input.calls.iter().take(24) {
        match call {
            Call::Elements(call) => elements::call(&mut caller, call),
            Call::Layers(call) => layers::call(&mut caller, call),
            Call::Formats(call) => formats::call(&mut caller, call),
            Call::Groups(call) => groups::call(&mut caller, call),
            Call::Observers(call) => observers::call(&mut caller, call),
            Call::Archives(call) => archives::call(&mut caller, call),
            Call::Handles(call) => handles::call(&mut caller, call),
        }
    }
    caller.free_all();
});
