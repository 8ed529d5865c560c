//! The registry as a page, and merged settings as a list.

use crate::job::keys::{KEYS, SECTIONS};
use crate::job::merge::Merged;
use crate::job::value::Value;
use serde::Serialize;
use std::fmt::Write as _;

/// A merged setting and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// As in `model.rank`.
    pub key: &'static str,
    /// The value; `null` where there is none.
    pub value: Option<Value>,
    /// `default`, `FILE:LINE`, the variable or the flag.
    pub origin: String,
}

/// All settings in the order of the registry.
pub fn list(merged: &Merged) -> Vec<Setting> {
    let setting =
        |(key, entry): (&'static crate::job::keys::Key, &crate::job::merge::Entry)| Setting {
            key: key.path,
            value: entry.value.clone(),
            origin: if entry.value.is_some() {
                entry.origin.to_string()
            } else {
                "not set".to_owned()
            },
        };
    merged.entries().map(setting).collect()
}

/// The page `docs/settings.md`.
pub fn page() -> String {
    let mut page = String::from(
        "# Settings\n\n\
         This page is what `coordinator config --describe` prints; a test keeps the two equal.\n\n\
         A setting can stand in the job file (TOML), in the environment, or on the command line; of several, the one \
         named last here wins. `--set SECTION.KEY=VALUE` sets any of them; lists are separated by commas there and in \
         the environment. Paths start at the job file where they stand in it, else at the working directory. \
         `coordinator config JOB.toml` shows every value and where it came from.\n",
    );
    for (section, purpose) in SECTIONS {
        let _ = write!(page, "\n## [{section}]\n\n{purpose}\n\n");
        page.push_str(
            "| key | values | default | variable, flag | what it does |\n|---|---|---|---|---|\n",
        );
        for key in KEYS.iter().filter(|key| key.section() == *section) {
            let default = key
                .default
                .map_or_else(|| "-".to_owned(), |text| format!("`{text}`"));
            let flag = key
                .flag
                .map(|flag| format!(", `--{flag}`"))
                .unwrap_or_default();
            let _ = writeln!(
                page,
                "| `{}` | {} | {default} | `{}`{flag} | {} |",
                key.name(),
                key.shape,
                key.variable(),
                key.help
            );
        }
    }
    page
}
