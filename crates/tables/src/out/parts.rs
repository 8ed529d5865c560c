//! Lists as a folder of Parquet files that are one table: parts, of which those that are whole outlive the process that wrote them.
//!
//! **Invariant:** a part has its name only when it is whole, and says in its metadata what it was made of; `_SUCCESS` lies beside them only
//! when all are there and of one making.

use crate::out::OutError;
use crate::out::ids::Ids;
use crate::out::unfinished::{self, publish_text};
use parquet::file::metadata::ParquetMetaDataReader;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The word in a part's metadata under which it says what it was made of,
const MADE_OF: &str = "strata.made_of";
/// and how many users have lists in it.
const USERS: &str = "strata.users";
/// Beside all parts.
const SUCCESS: &str = "_SUCCESS";

/// A file of lists in the making, as the parts of a folder are.
pub trait ListFile: Sized {
    /// Begins the file beside its final name.
    ///
    /// # Errors
    /// Where the directory cannot be written.
    fn create(path: &Path, users: Ids, products: Ids) -> Result<Self, OutError>;

    /// Adds what was delivered of a user block.
    ///
    /// # Errors
    /// Where a row is not of the data set or the file cannot be written.
    fn write(&mut self, object: &[u8]) -> Result<(), OutError>;

    /// Users with lists so far.
    fn users(&self) -> u64;

    /// Adds a word to the file's metadata.
    fn note(&mut self, word: &str, value: String);

    /// Makes the file durable under its name; gives its rows.
    ///
    /// # Errors
    /// Where it cannot be written out or renamed.
    fn finish(self) -> Result<u64, OutError>;
}

/// What lies in a file of lists, or in all parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Users with lists.
    pub users: u64,
    /// Rows.
    pub rows: u64,
}

/// What a folder holds already.
#[derive(Debug)]
pub struct Parts {
    folder: PathBuf,
    made_of: String,
    count: u32,
    kept: BTreeMap<u32, Listed>,
    /// Parts of another making, and what a process that died left.
    stale: Vec<PathBuf>,
    others: usize,
}

/// Its number, where a file is named as a part is.
fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("part-")?.strip_suffix(".parquet")?;
    let is_number = digits.len() >= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

/// What a part says of itself; `None` where it is no Parquet file, or not one of ours.
fn told_by(path: &Path) -> Option<(String, Listed)> {
    let file = File::open(path).ok()?;
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).ok()?;
    let metadata = metadata.file_metadata();
    let word = |word: &str| {
        let mut words = metadata.key_value_metadata()?.iter();
        words.find(|of| of.key == word)?.value.clone()
    };
    let listed = Listed {
        users: word(USERS)?.parse().ok()?,
        rows: metadata.num_rows().try_into().ok()?,
    };
    Some((word(MADE_OF)?, listed))
}

impl Parts {
    /// Looks at a folder that is to hold `count` parts made of `made_of`. Nothing is changed yet.
    ///
    /// # Errors
    /// Where it cannot be read, or holds Parquet files that would be read with the parts and are none.
    pub fn open(folder: &Path, made_of: String, count: u32) -> Result<Self, OutError> {
        let io = |error| OutError::Io {
            path: folder.to_owned(),
            error,
        };
        fs::create_dir_all(folder).map_err(io)?;
        let mut parts = Parts {
            folder: folder.to_owned(),
            made_of,
            count,
            kept: BTreeMap::new(),
            stale: Vec::new(),
            others: 0,
        };
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(io)? {
            paths.push(entry.map_err(io)?.path());
        }
        paths.sort();
        paths.into_iter().try_for_each(|path| parts.look_at(path))?;
        Ok(parts)
    }

    fn look_at(&mut self, path: PathBuf) -> Result<(), OutError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // What a process that died was writing.
        let ours = name.starts_with(".part-") || name.starts_with("._SUCCESS.");
        let unfinished = ours && name.ends_with(".part");
        match number_of(&name) {
            Some(number) => match told_by(&path) {
                Some((of, listed)) if of == self.made_of && number < self.count => {
                    self.kept.insert(number, listed);
                }
                _ => {
                    self.stale.push(path);
                    self.others += 1;
                }
            },
            None if unfinished => self.stale.push(path),
            None if name.ends_with(".parquet") && !name.starts_with(['.', '_']) => {
                return Err(OutError::Foreign { path });
            }
            None => {}
        }
        Ok(())
    }

    /// The parts that are there.
    pub fn kept(&self) -> BTreeSet<u32> {
        self.kept.keys().copied().collect()
    }

    /// How many parts of another making are there.
    pub fn others(&self) -> usize {
        self.others
    }

    /// Keeps no part but these.
    pub fn keep(&mut self, parts: &BTreeSet<u32>) {
        let (kept, gone) = std::mem::take(&mut self.kept)
            .into_iter()
            .partition(|(number, _)| parts.contains(number));
        self.kept = kept;
        let gone: BTreeMap<u32, Listed> = gone;
        let gone: Vec<PathBuf> = gone.keys().map(|&number| self.path(number)).collect();
        self.stale.extend(gone);
    }

    fn path(&self, number: u32) -> PathBuf {
        self.folder.join(format!("part-{number:05}.parquet"))
    }

    /// Takes away what is not kept, so that nobody reads parts of two makings together.
    fn clear(&mut self) -> Result<(), OutError> {
        let success = self.folder.join(SUCCESS);
        let all = self.kept.len() == self.count as usize && self.stale.is_empty();
        let success = (!all && success.exists()).then_some(success);
        for path in success.into_iter().chain(std::mem::take(&mut self.stale)) {
            fs::remove_file(&path).map_err(|error| OutError::Io { path, error })?;
        }
        unfinished::sync_folder(&self.folder)
    }
}

/// The parts that are still to be written, one after the other.
#[derive(Debug)]
pub struct PartsWriter<F> {
    parts: Parts,
    users: Ids,
    products: Ids,
    open: Option<(u32, F)>,
    written: u32,
}

impl<F: ListFile> PartsWriter<F> {
    /// Begins; parts of another making go.
    ///
    /// # Errors
    /// Where they cannot be removed.
    pub fn begin(mut parts: Parts, users: Ids, products: Ids) -> Result<Self, OutError> {
        parts.clear()?;
        Ok(PartsWriter {
            parts,
            users,
            products,
            open: None,
            written: 0,
        })
    }

    /// Adds what was delivered of a user block to a part, and makes that durable where it was the last.
    ///
    /// # Errors
    /// Where a row is not of the data set or the file cannot be written.
    pub fn write(&mut self, part: u32, object: &[u8], last: bool) -> Result<(), OutError> {
        let mut file = match self.open.take() {
            Some((open, file)) if open == part => file,
            _ => {
                let path = self.parts.path(part);
                F::create(&path, self.users.clone(), self.products.clone())?
            }
        };
        file.write(object)?;
        if !last {
            self.open = Some((part, file));
            return Ok(());
        }
        let users = file.users();
        file.note(MADE_OF, self.parts.made_of.clone());
        file.note(USERS, users.to_string());
        let rows = file.finish()?;
        self.parts.kept.insert(part, Listed { users, rows });
        self.written += 1;
        Ok(())
    }

    /// How many parts were written.
    pub fn written(&self) -> u32 {
        self.written
    }

    /// Says that all are there; gives what lies in them.
    ///
    /// # Errors
    /// Where that cannot be said.
    ///
    /// # Panics
    /// Where they are not.
    pub fn finish(self) -> Result<Listed, OutError> {
        let parts = self.parts;
        assert_eq!(parts.kept.len(), parts.count as usize, "all were written");
        let said = parts.folder.join(SUCCESS);
        if !said.exists() {
            publish_text(&said, "")?;
        }
        let all = parts.kept.values();
        Ok(all.fold(Listed::default(), |sum, part| Listed {
            users: sum.users + part.users,
            rows: sum.rows + part.rows,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::RecommendationsWriter;
    use crate::out::recommendations::tests::{object, world};

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn opened(folder: &Path, made_of: &str, count: u32) -> Parts {
        Parts::open(folder, made_of.to_owned(), count).unwrap()
    }

    #[test]
    fn whole_parts_are_kept_and_those_of_another_making_are_not() {
        let (directory, users, products) = world();
        let folder = directory.path().join("lists");
        let begin = |parts: Parts| {
            let (users, products) = (users.clone(), products.clone());
            PartsWriter::<RecommendationsWriter>::begin(parts, users, products).unwrap()
        };
        let mut writer = begin(opened(&folder, "a", 2));
        let first = object(&[(0, 1, 4, 0.5), (0, 2, 0, 0.25)]);
        writer.write(0, &first, false).unwrap();
        writer.write(0, &object(&[]), true).unwrap();
        let whole = fs::read(folder.join("part-00000.parquet")).unwrap();
        writer.write(1, &object(&[(4, 1, 0, 1.5)]), false).unwrap();
        assert_eq!(writer.written(), 1);
        // As kill -9 leaves it.
        std::mem::forget(writer);
        assert_eq!(names(&folder).len(), 2);

        let parts = opened(&folder, "a", 2);
        assert_eq!((parts.kept(), parts.others()), ([0].into(), 0));
        let mut writer = begin(parts);
        assert_eq!(names(&folder), ["part-00000.parquet"]);
        writer.write(1, &object(&[(4, 1, 0, 1.5)]), true).unwrap();
        assert_eq!(writer.finish().unwrap(), Listed { users: 2, rows: 3 });
        assert_eq!(
            names(&folder),
            ["_SUCCESS", "part-00000.parquet", "part-00001.parquet"]
        );
        assert_eq!(fs::read(folder.join("part-00000.parquet")).unwrap(), whole);

        let parts = opened(&folder, "a", 2);
        assert_eq!(parts.kept(), [0, 1].into());
        let all = begin(parts).finish().unwrap();
        assert_eq!(all, Listed { users: 2, rows: 3 }, "nothing is done again");

        let parts = opened(&folder, "b", 1);
        assert_eq!((parts.kept(), parts.others()), ([].into(), 2));
        let mut writer = begin(parts);
        assert!(names(&folder).is_empty(), "of two makings none is read");
        writer.write(0, &object(&[]), true).unwrap();
        assert_eq!(writer.finish().unwrap(), Listed::default());
        assert_eq!(names(&folder), ["_SUCCESS", "part-00000.parquet"]);
    }

    #[test]
    fn what_cannot_be_read_is_made_again_and_what_is_foreign_is_refused() {
        let (directory, ..) = world();
        let folder = directory.path().join("lists");
        fs::create_dir_all(&folder).unwrap();
        for name in ["part-00001.parquet", "notes.txt", "_metadata.parquet"] {
            fs::write(folder.join(name), "torn").unwrap();
        }
        let parts = opened(&folder, "a", 2);
        assert_eq!((parts.kept(), parts.others()), ([].into(), 1));
        let foreign = folder.join("sales.parquet");
        fs::write(&foreign, "").unwrap();
        let error = Parts::open(&folder, "a".to_owned(), 2).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{} is no part of lists and would be read as one: give lists a folder of their own",
                foreign.display()
            )
        );
    }
}
