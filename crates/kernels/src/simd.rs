//! Which instructions the kernels use: chosen once at run time, passed as an argument, never felt in the bits.
#![allow(unsafe_code)]

use crate::vector::{Portable, Vector};
use std::fmt;
use std::str::FromStr;

/// An instruction set the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Path {
    /// AVX-512: one register holds 16 lanes.
    Avx512,
    /// AVX2 with FMA: two registers hold 16 lanes.
    Avx2,
    /// Plain Rust; `mul_add` is the one thing it asks of the machine.
    Portable,
}

impl Path {
    /// All of them, the fastest first.
    pub const ALL: [Path; 3] = [Path::Avx512, Path::Avx2, Path::Portable];

    /// The word used in flags.
    pub fn name(self) -> &'static str {
        match self {
            Path::Avx512 => "avx512",
            Path::Avx2 => "avx2",
            Path::Portable => "portable",
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A flag asks for instructions that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimdError {
    /// This machine lacks them.
    #[error("this machine has no {0} instructions; use auto")]
    Missing(Path),
    /// No such word.
    #[error("{0:?} is not one of auto, avx512, avx2, portable")]
    Unknown(String),
}

/// The proof that this machine has the instructions of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Simd(Path);

impl Simd {
    /// The path that every machine has.
    pub const PORTABLE: Simd = Simd(Path::Portable);

    /// The fastest path of this machine.
    pub fn detect() -> Self {
        Self::available().next().unwrap_or(Self::PORTABLE)
    }

    /// Every path of this machine, the fastest first; the portable one is always the last.
    pub fn available() -> impl Iterator<Item = Self> {
        Path::ALL
            .into_iter()
            .filter_map(|path| Self::new(path).ok())
    }

    /// The path asked for.
    ///
    /// # Errors
    /// Where this machine lacks it.
    pub fn new(path: Path) -> Result<Self, SimdError> {
        if has(path) {
            Ok(Simd(path))
        } else {
            Err(SimdError::Missing(path))
        }
    }

    /// Which path this is.
    pub fn path(self) -> Path {
        self.0
    }

    /// Runs a kernel with the instructions of this path.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Simd` of this path exists only where `has` found the instructions.
            Path::Avx512 => unsafe { run_avx512(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Path::Avx2 => unsafe { run_avx2(kernel) },
            _ => kernel.run::<Portable>(),
        }
    }
}

impl FromStr for Simd {
    type Err = SimdError;

    /// `auto`, `avx512`, `avx2` or `portable`.
    fn from_str(word: &str) -> Result<Self, SimdError> {
        if word == "auto" {
            return Ok(Self::detect());
        }
        let path = Path::ALL.into_iter().find(|path| path.name() == word);
        path.map_or_else(|| Err(SimdError::Unknown(word.to_owned())), Self::new)
    }
}

impl fmt::Display for Simd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A kernel with its arguments, written once over the vector type. `run` must be `#[inline(always)]`, so that it is
/// compiled inside the function that enables the instructions. Nothing in it may hand vectors to a closure: one that is
/// not inlined is compiled without the instructions, each of them a call then, and nothing says so (a half-step took
/// twice its time).
pub(crate) trait Kernel {
    type Output;
    fn run<V: Vector>(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
fn has(path: Path) -> bool {
    let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    match path {
        Path::Avx512 => {
            fma && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
        }
        Path::Avx2 => fma,
        Path::Portable => true,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn has(path: Path) -> bool {
    path == Path::Portable
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<crate::vector::x86::Avx512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<crate::vector::x86::Avx2>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_a_path_or_a_sentence() {
        assert_eq!("portable".parse(), Ok(Simd::PORTABLE));
        assert_eq!("auto".parse(), Ok(Simd::detect()));
        assert_eq!(
            "sse9".parse::<Simd>(),
            Err(SimdError::Unknown("sse9".to_owned()))
        );
        for path in Path::ALL {
            match path.name().parse::<Simd>() {
                Ok(simd) => assert_eq!(simd.path(), path),
                Err(error) => assert_eq!(error, SimdError::Missing(path)),
            }
        }
        assert_eq!(Simd::available().last(), Some(Simd::PORTABLE));
    }
}
