//! Ids that a user names: one by one, in a text file with a line each, or in a column of a Parquet file.
//!
//! **Invariant:** an id is of the kind of the data set's, or it is refused by its place: none is dropped in silence.

use crate::columns::{id_kind, id_word, integers, ordered_from_i64, texts};
use crate::dictionary::typed_id;
use crate::error::TablesError;
use crate::reader::{each_batch, fetched};
use crate::survey::{arrow_metadata, read_footer};
use arrow::array::ArrayRef;
use std::collections::BTreeMap;
use store::dictionary::IdRef;
use tensor::{IdKind, ReadAt};

/// Ids of one kind, and which of them were found.
#[derive(Clone, Debug)]
pub struct Wanted {
    column: String,
    kind: IdKind,
    /// By their bytes, of integers those whose order is theirs.
    ids: BTreeMap<Vec<u8>, bool>,
}

impl Wanted {
    /// None yet, of a column with ids of this kind.
    pub fn new(column: &str, kind: IdKind) -> Self {
        Wanted {
            column: column.to_owned(),
            kind,
            ids: BTreeMap::new(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Adds one as people write it: bytes in hexadecimals. `place` says where it stands.
    ///
    /// # Errors
    /// Where it is not of the kind.
    pub fn add(&mut self, id: &str, place: &str) -> Result<(), TablesError> {
        let refused = |what: &str| {
            let column = &self.column;
            Err(TablesError::BadIds(format!(
                "{place} is \"{id}\", which is no {what}, as the ids of `{column}` are: correct it"
            )))
        };
        let key = match self.kind {
            IdKind::Int64 => match id.parse::<i64>() {
                Ok(id) => ordered_from_i64(id).to_be_bytes().to_vec(),
                Err(_) => return refused("whole number of 64 bits"),
            },
            IdKind::UInt64 => match id.parse::<u64>() {
                Ok(id) => id.to_be_bytes().to_vec(),
                Err(_) => return refused("whole number from 0 of 64 bits"),
            },
            IdKind::Utf8 => id.as_bytes().to_vec(),
            IdKind::Binary => match from_hexadecimals(id) {
                Some(bytes) => bytes,
                None => return refused("row of bytes in hexadecimals"),
            },
        };
        self.ids.insert(key, false);
        Ok(())
    }

    /// Adds those of a file: of Parquet the column with the name that the data set's has, or the only one; else a line each,
    /// empty lines left aside.
    ///
    /// # Errors
    /// Where the file cannot be read, or one is not of the kind.
    pub fn read(&mut self, name: &str, file: &dyn ReadAt) -> Result<(), TablesError> {
        let mut head = [0; 4];
        let magic = file.len() >= 4 && file.read_at(0, &mut head).is_ok() && &head == b"PAR1";
        if magic {
            return self.read_parquet(name, file);
        }
        let bytes = fetched(name, file, 0..file.len())?;
        let text = str::from_utf8(&bytes).map_err(|_| {
            TablesError::BadIds(format!(
                "{name} is neither Parquet nor text in UTF-8: give a file with an id a line, or Parquet"
            ))
        })?;
        for (number, line) in (1..).zip(text.lines()) {
            if !line.is_empty() {
                self.add(line, &format!("line {number} of {name}"))?;
            }
        }
        Ok(())
    }

    /// Adds an id by its bytes.
    pub(crate) fn add_key(&mut self, key: Vec<u8>) {
        self.ids.insert(key, false);
    }

    fn read_parquet(&mut self, name: &str, file: &dyn ReadAt) -> Result<(), TablesError> {
        let (_, metadata) = read_footer(name, file)?;
        let metadata = arrow_metadata(name, metadata)?;
        let fields = metadata.schema().fields();
        let found = fields.iter().find(|field| *field.name() == self.column);
        let field = found.or(fields.first().filter(|_| fields.len() == 1));
        let field = field.ok_or_else(|| {
            let known: Vec<String> = fields.iter().map(|field| format!("`{}`", field.name())).collect();
            TablesError::BadIds(format!(
                "{name} has no column `{}`: it has {}; name the column of ids so, or write it alone",
                self.column,
                known.join(", ")
            ))
        })?;
        if id_kind(field.data_type()) != Some(self.kind) {
            return Err(TablesError::BadIds(format!(
                "column `{}` of {name} is {}, but the ids of the data set are {}: write them with one type",
                field.name(),
                field.data_type(),
                id_word(self.kind)
            )));
        }
        each_batch((name, file), &metadata, &[field.name()], |batch| {
            self.take(batch.column(0))
        })
    }

    /// Adds a column's; nulls are nobody.
    fn take(&mut self, ids: &ArrayRef) -> Result<(), TablesError> {
        let all = &mut self.ids;
        let mut add = |key: &[u8]| {
            all.insert(key.to_vec(), false);
        };
        match self.kind {
            IdKind::Int64 | IdKind::UInt64 => integers(ids, self.kind, |id| {
                if let Some(id) = id {
                    add(&id.to_be_bytes());
                }
            }),
            IdKind::Utf8 | IdKind::Binary => texts(ids, |id| {
                if let Some(id) = id {
                    add(id);
                }
            }),
        }
    }

    /// Whether an id is one of them; it counts as found then.
    pub fn finds(&mut self, id: IdRef<'_>) -> bool {
        let found = match id {
            IdRef::Int64(id) => self.ids.get_mut(&ordered_from_i64(id).to_be_bytes()[..]),
            IdRef::UInt64(id) => self.ids.get_mut(&id.to_be_bytes()[..]),
            IdRef::Utf8(id) => self.ids.get_mut(id.as_bytes()),
            IdRef::Binary(id) => self.ids.get_mut(id),
        };
        found.is_some_and(|found| {
            *found = true;
            true
        })
    }

    /// Those that were not found, as people write them.
    pub fn unknown(&self) -> Vec<String> {
        let unknown = self.ids.iter().filter(|(_, found)| !**found);
        let shown = unknown.filter_map(|(key, _)| typed_id(self.kind, key).ok());
        shown.map(|id| id.to_string()).collect()
    }
}

fn from_hexadecimals(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    let even = text.len().is_multiple_of(2) && text.iter().all(u8::is_ascii_hexdigit);
    even.then(|| text.chunks(2).map(byte).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Memory<'a>(&'a [u8]);

    impl ReadAt for Memory<'_> {
        fn len(&self) -> u64 {
            ReadAt::len(self.0)
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
            self.0.read_at(offset, buffer)
        }
    }

    fn wanted(kind: IdKind, text: &str) -> Result<Wanted, String> {
        let mut wanted = Wanted::new("customer", kind);
        let read = wanted.read("gone.txt", &Memory(text.as_bytes()));
        read.map(|()| wanted).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_are_ids_of_the_kind_of_the_data() {
        let mut numbers = wanted(IdKind::Int64, "-7\n\n12\r\n12").unwrap();
        assert_eq!(numbers.len(), 2);
        assert!(numbers.finds(IdRef::Int64(12)) && !numbers.finds(IdRef::Int64(7)));
        assert_eq!(numbers.unknown(), ["-7"]);
        let mut names = wanted(IdKind::Utf8, "Zoë\n a\n").unwrap();
        assert!(names.finds(IdRef::Utf8("Zoë")) && names.finds(IdRef::Utf8(" a")));
        let mut bytes = wanted(IdKind::Binary, "0aFF\n0x00").unwrap();
        assert!(bytes.finds(IdRef::Binary(&[10, 255])));
        assert_eq!(bytes.unknown(), ["0x00"]);
        assert!(wanted(IdKind::UInt64, "").unwrap().is_empty());
    }

    #[test]
    fn a_line_that_is_no_id_is_refused_by_its_place() {
        for (kind, text, expected) in [
            (
                IdKind::Int64,
                "3\nanna",
                "line 2 of gone.txt is \"anna\", which is no whole number of 64 bits, as the ids of `customer` are: correct it",
            ),
            (
                IdKind::UInt64,
                "-1",
                "line 1 of gone.txt is \"-1\", which is no whole number from 0 of 64 bits, as the ids of `customer` are: correct it",
            ),
            (
                IdKind::Binary,
                "abc",
                "line 1 of gone.txt is \"abc\", which is no row of bytes in hexadecimals, as the ids of `customer` are: correct it",
            ),
        ] {
            assert_eq!(wanted(kind, text).unwrap_err(), expected);
        }
        let mut other = Wanted::new("customer", IdKind::Utf8);
        let error = other
            .read("gone.bin", &Memory(&[0xff, 0xfe, 0]))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "gone.bin is neither Parquet nor text in UTF-8: give a file with an id a line, or Parquet"
        );
    }
}
