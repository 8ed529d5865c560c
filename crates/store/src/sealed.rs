//! Seam only; filled in by the first commit of the store.
use std::ops::Range;
use std::sync::Arc;
use tensor::Digest;

/// How sealed files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoMode {
    /// Through a map.
    Mmap,
    /// By positioned reads.
    Pread,
}
/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// I/O.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}
/// An open sealed file. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sealed(Arc<()>);
impl Sealed {
    /// Content hash.
    pub fn digest(&self) -> Digest {
        unimplemented!()
    }
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        unimplemented!()
    }
    /// Whether empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Bytes of it: borrowed from the map, or read into an aligned buffer. Aligned to 64 where the start is.
    pub fn section(&self, _range: Range<u64>) -> Result<Section, StoreError> {
        unimplemented!()
    }
}
/// Bytes of a sealed file.
#[derive(Debug)]
pub struct Section(Arc<()>);
impl std::ops::Deref for Section {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        unimplemented!()
    }
}
/// A bounded directory of sealed files named by their hash.
#[derive(Debug)]
pub struct Cache(());
