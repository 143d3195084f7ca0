//! The one list of instruction sets, and the choice among them at run time.
//!
//! An [`Isa`] is a proof: it wraps a token of `arch/` that only feature detection can make, so whoever holds one may
//! run that ISA's kernels. Nothing here is global or mutable: every operation is told which ISA to use, and two of
//! them can be compared in one process.

use core::fmt;

use crate::arch;
use crate::distance::kernel::{Query, RowSums, Sums};
use crate::error::Error;
use crate::groups::tile::{GroupKernel, PanelCodes};
use crate::kernel::Kernel;
use crate::matmul::tile::Microkernel;
use crate::matrix::Matrix;
use crate::sign::Sign;

/// The environment variable that [`Isa::best`] obeys.
pub const ISA_VARIABLE: &str = "ZEROPOINT_ISA";

/// An instruction set that this CPU has. All of them give the same bytes; they differ in speed only.
/// The [crate's documentation](crate#where-it-runs) has a table of them.
///
/// ```
/// use zeropoint::Isa;
/// for isa in Isa::supported() {
///     println!("{isa}: {}", isa.kernel());
/// }
/// let portable = Isa::named("portable")?;
/// assert_eq!(portable.name(), "portable");
/// assert!(Isa::named("mmx").is_err());
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Tier);

/// Declares the tiers, slowest first: [`Isa::best`] is the last one that the CPU has. How one is added is told in `arch.rs`.
macro_rules! tiers {
    ($( $(#[$cfg:meta])* $Tier:ident = $name:literal, )*) => {
        // Four bytes: compilers read one byte among others by a load of four, which would wait for the stores of each.
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        enum Tier { $( $(#[$cfg])* $Tier(arch::$Tier), )* }

        impl Isa {
            /// Every ISA that this CPU has, slowest first.
            #[must_use]
            pub fn supported() -> Vec<Isa> {
                [ $( $(#[$cfg])* arch::$Tier::detect().map(|token| Isa(Tier::$Tier(token))), )* ]
                    .into_iter().flatten().collect()
            }

            /// The name, as in the [table of ISAs](crate#where-it-runs).
            #[must_use]
            pub fn name(self) -> &'static str {
                match self.0 { $( $(#[$cfg])* Tier::$Tier(_) => $name, )* }
            }

            /// Runs a kernel compiled for this ISA.
            #[inline]
            pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
                match self.0 { $( $(#[$cfg])* Tier::$Tier(token) => token.enter(kernel), )* }
            }

            /// The matmul micro-kernel of this ISA for left operands of a sign.
            pub(crate) fn microkernel(self, a: Sign) -> &'static Microkernel {
                match self.0 { $( $(#[$cfg])* Tier::$Tier(token) => token.microkernel(a), )* }
            }

            /// The matmul micro-kernel of this ISA for left operands of i16.
            pub(crate) fn microkernel_i16(self) -> &'static Microkernel {
                match self.0 { $( $(#[$cfg])* Tier::$Tier(token) => token.microkernel_i16(), )* }
            }

            /// The sums of a query and one row, for distances.
            pub(crate) fn pair_sums(self, query: &Query<'_>, row: &[u8]) -> Sums {
                match self.0 { $( $(#[$cfg])* Tier::$Tier(token) => token.pair_sums(query, row), )* }
            }

            /// The sums of a query and every row, for distances.
            pub(crate) fn row_sums(self, query: &Query<'_>, rows: Matrix<'_, u8>, out: RowSums<'_>) {
                match self.0 { $( $(#[$cfg])* Tier::$Tier(token) => token.row_sums(query, rows, out), )* }
            }

            /// The micro-kernel of this ISA for weights in groups, of E2M1 or of this many bits.
            pub(crate) fn group_kernel(self, codes: PanelCodes) -> &'static GroupKernel {
                match self.0 { $( $(#[$cfg])* Tier::$Tier(token) => token.group_kernel(codes), )* }
            }
        }
    };
}

tiers! {
    #[cfg(feature = "scalar")] Scalar = "scalar",
    Portable = "portable",
    #[cfg(target_arch = "x86_64")] Avx2 = "avx2",
    #[cfg(target_arch = "x86_64")] AvxVnni = "avxvnni",
    #[cfg(target_arch = "x86_64")] Avx512 = "avx512",
    #[cfg(target_arch = "x86_64")] Avx512Vnni = "avx512vnni",
    #[cfg(target_arch = "aarch64")] Neon = "neon",
    #[cfg(target_arch = "aarch64")] NeonDotprod = "neon-dotprod",
    #[cfg(target_arch = "aarch64")] NeonI8mm = "neon-i8mm",
}

impl Isa {
    /// The fastest ISA of this CPU, or the one that `ZEROPOINT_ISA` names.
    ///
    /// # Errors
    /// [`Error::Isa`] when the variable names an ISA that does not exist or that this CPU lacks: the variable can only
    /// lower the choice, and it is never ignored here. (Seeding a [`StreamRng`](crate::random::StreamRng) cannot fail.)
    pub fn best() -> Result<Isa, Error> {
        match std::env::var_os(ISA_VARIABLE) {
            Some(name) => Isa::named(&name.to_string_lossy()),
            None => Ok(*Isa::supported().last().expect("one is always there")),
        }
    }

    /// One that every CPU has.
    pub(crate) fn portable() -> Isa {
        Isa(Tier::Portable(arch::Portable::detect().expect("it is always there")))
    }

    /// The ISA of this name.
    ///
    /// # Errors
    /// [`Error::Isa`], listing the choices, when there is none of that name or this CPU lacks it.
    pub fn named(name: &str) -> Result<Isa, Error> {
        let supported = Isa::supported();
        supported.iter().copied().find(|isa| isa.name() == name).ok_or_else(|| Error::Isa {
            name: name.to_owned(),
            supported: supported.iter().map(|isa| isa.name()).collect(),
        })
    }

    /// The name of the matmul micro-kernel that this ISA runs on u8 left operands, such as `u8i8-8x48x4-avx512vnni`:
    /// operand types, rows × columns × depth of a step, ISA.
    #[must_use]
    pub fn kernel(self) -> &'static str {
        self.microkernel(Sign::Unsigned).name
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Isa({})", self.name())
    }
}
