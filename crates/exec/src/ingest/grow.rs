//! Bringing the ids of an update to rows.

use super::attributes::{dictionaries, sealed};
use super::{bug, failure, held, of_split, rows};
use crate::objects::fits;
use crate::{Fetched, Need, Output, Part, Put, Room, Want, Work};
use plan::Failure;
use tables::edges::Matching;
use tables::grow::{Growing, Lack};
use tables::op::{self, GrowOp};
use tensor::{DepotId, ObjectKey, Read, Task};

/// A [`GrowOp`] in progress.
pub(super) struct GrowWork {
    growing: Growing,
    ids: Read,
    dictionaries: Vec<ObjectKey>,
    write: ObjectKey,
    /// Whether dictionaries were asked for.
    learns: bool,
    pieces: u64,
}

impl GrowWork {
    pub(super) fn new(op: GrowOp, task: &Task, room: &Room) -> Result<Self, Failure> {
        let reads = task.reads.split_first();
        let (&ids, known) = reads.ok_or_else(|| bug("rows grow without ids"))?;
        let dictionaries = dictionaries(known)?.0;
        let bytes = |key: &ObjectKey| match key {
            ObjectKey::Sealed { bytes, .. } => *bytes,
            _ => 0,
        };
        let bytes: Vec<u64> = dictionaries.iter().map(bytes).collect();
        fits(Matching::bytes(&op.known.rows, &bytes), room.budget_bytes)?;
        let growing = Growing::new(op, &bytes, &room.cache, room.budget_bytes);
        Ok(GrowWork {
            growing: growing.map_err(failure)?,
            ids,
            dictionaries,
            write: task.writes[0],
            learns: false,
            pieces: 0,
        })
    }
}

impl Work for GrowWork {
    fn next_need(&mut self) -> Result<Need, Failure> {
        let Some(lack) = self.growing.wants().map_err(failure)? else {
            return Ok(Need::Nothing);
        };
        self.learns = matches!(lack, Lack::Dictionaries(_));
        let wants: Result<Vec<Want>, Failure> = match lack {
            Lack::Dictionaries(blocks) => {
                let keys = self.dictionaries[blocks].iter();
                keys.map(|&key| Ok(Want::Object(key, Part::Whole)))
                    .collect()
            }
            Lack::Ids(ids) => {
                let spans = ids.into_iter();
                spans
                    .map(|(split, bytes)| {
                        let object = of_split(&self.ids, split)?;
                        Ok(Want::Object(object, Part::Span(bytes)))
                    })
                    .collect()
            }
        };
        Ok(Need::Fetch(wants?))
    }

    fn compute(&mut self, fetched: Vec<Fetched>) -> Result<(), Failure> {
        self.pieces += 1;
        if self.learns {
            return self.growing.know(sealed(fetched)?).map_err(failure);
        }
        let came: Vec<_> = fetched.into_iter().map(rows).collect::<Result<_, _>>()?;
        let bytes: Vec<&[u8]> = came.iter().map(|came| came.bytes()).collect();
        self.growing.feed(&bytes).map_err(failure)
    }

    fn finish(self: Box<Self>) -> Result<Output, Failure> {
        let grown = self.growing.finish().map_err(failure)?;
        let put = |file| Put {
            depot: DepotId::DATA,
            file,
        };
        Ok(Output {
            objects: vec![(self.write, held(grown.rows, 4))],
            puts: grown.files.into_iter().map(put).collect(),
            partial: op::encode(&grown.report),
            pieces: self.pieces,
            ..Output::default()
        })
    }
}
