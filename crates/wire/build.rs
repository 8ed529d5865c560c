//! Compiles `proto/strata.proto` with protox, so that no protoc is needed, and keeps the descriptors for
//! the reflection service. Takes the fingerprint of the sources by which two builds tell each other apart.

use prost::Message;
use std::error::Error;
use std::path::{Path, PathBuf};

/// What decides the bytes that cross the wire, and the bits of results.
const SOURCES: [&str; 9] = [
    "../../proto",
    "../tensor/src",
    "../kernels/src",
    "../plan/src",
    "../store/src",
    "../model/src",
    "../tables/src",
    "../exec/src",
    "src",
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
        list(Path::new(source), &mut files)?;
    }
    files.sort();
    let mut print = Fnv::default();
    for file in files {
        print.add(file.to_string_lossy().as_bytes());
        print.add(&std::fs::read(&file)?);
    }
    println!("cargo:rustc-env=STRATA_SOURCES={:016x}", print.0);
    let descriptors = protox::compile(["../../proto/strata.proto"], ["../../proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("strata.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::codec::Summed")
        .compile_fds(descriptors)?;
    Ok(())
}

/// All files below a folder.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// FNV-1a, 64 bits (Fowler, Noll and Vo): a fingerprint against mistakes, not against malice.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Adds bytes and their length.
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().copied().chain(bytes.len().to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
