//! Notes: small texts that people read, beside the manifests.
//!
//! **Invariant:** no manifest names a note, no hash covers it, and whoever writes one replaces it whole: a reader sees the
//! old text or the new one.

use crate::again::again;
use crate::error::DepotError;
use crate::place::Depot;
use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path;

impl Depot {
    fn note_path(&self, name: &str) -> Path {
        let parts = name.split('/').map(str::to_owned);
        parts.fold(self.root.clone(), Path::join)
    }

    /// Where a note is, for people.
    pub fn note_url(&self, name: &str) -> String {
        format!("{}/{name}", self.url.trim_end_matches('/'))
    }

    /// Writes a note, or replaces it. `name` may hold slashes.
    ///
    /// # Errors
    /// Where the place refuses.
    pub async fn write_note(&self, name: &str, text: String) -> Result<(), DepotError> {
        let path = self.note_path(name);
        let text = Bytes::from(text);
        let put = again(|| self.store.put(&path, text.clone().into())).await;
        put.map(drop).map_err(self.failed(&path, "written"))
    }

    /// A note; `None` where there is none, or what is there is no text.
    ///
    /// # Errors
    /// Where the place does not answer.
    pub async fn read_note(&self, name: &str) -> Result<Option<String>, DepotError> {
        let path = self.note_path(name);
        let found = self.whole(&path).await?;
        Ok(found.and_then(|found| String::from_utf8(found.to_vec()).ok()))
    }
}
