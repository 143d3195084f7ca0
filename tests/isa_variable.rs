//! `ZEROPOINT_ISA` chooses what [`Isa::best`] returns. One test, alone in its process: the environment is shared.

use zeropoint::{Error, ISA_VARIABLE, Isa};

#[test]
fn the_variable_chooses_or_is_an_error() {
    let set = |value: Option<&str>| {
        // SAFETY: no other thread of this process reads or writes the environment.
        unsafe {
            match value {
                Some(value) => std::env::set_var(ISA_VARIABLE, value),
                None => std::env::remove_var(ISA_VARIABLE),
            }
        }
    };
    set(None);
    assert_eq!(Isa::best().unwrap(), *Isa::supported().last().unwrap());
    for isa in Isa::supported() {
        set(Some(isa.name()));
        assert_eq!(Isa::best(), Ok(isa));
    }
    for unknown in ["", "AVX2", "sse9", "neon-i9mm", if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" }] {
        set(Some(unknown));
        let Err(Error::Isa { name, supported }) = Isa::best() else { panic!("{unknown} is no ISA of this CPU") };
        assert_eq!(name, unknown);
        assert_eq!(supported, Isa::supported().into_iter().map(Isa::name).collect::<Vec<_>>());
    }
}
