//! Names of objects and tasks.

use super::{Malformed, fits, required};
use crate::proto;
use bytes::Bytes;
use tensor::{BlockId, DepotId, Digest, KeyRange, ObjectKey, StepId, TableId, TaskId};

pub(crate) fn encode_digest(digest: Digest) -> Bytes {
    Bytes::copy_from_slice(&digest.0)
}

pub(crate) fn digest(bytes: &[u8]) -> Result<Digest, Malformed> {
    let array = bytes.try_into().map_err(|_| Malformed::Value {
        what: "length of a digest",
        value: bytes.len() as u64,
    });
    array.map(Digest)
}

pub(crate) fn depot(number: u32) -> Result<DepotId, Malformed> {
    Ok(DepotId(fits("depot", number)?))
}

impl From<ObjectKey> for proto::ObjectKey {
    fn from(key: ObjectKey) -> Self {
        use proto::object_key::Key;
        let key = match key {
            ObjectKey::Block {
                table,
                block,
                version,
            } => Key::Block(proto::BlockKey {
                table: table.0.into(),
                block: block.0,
                version,
            }),
            ObjectKey::Partial {
                reduction,
                level,
                index,
            } => Key::Partial(proto::PartialKey {
                reduction,
                level: level.into(),
                index,
            }),
            ObjectKey::Sealed {
                depot,
                digest,
                bytes,
            } => Key::Sealed(proto::SealedKey {
                depot: depot.0.into(),
                digest: encode_digest(digest),
                bytes,
            }),
        };
        proto::ObjectKey { key: Some(key) }
    }
}

impl TryFrom<proto::ObjectKey> for ObjectKey {
    type Error = Malformed;

    fn try_from(key: proto::ObjectKey) -> Result<Self, Malformed> {
        use proto::object_key::Key;
        Ok(match key.key.ok_or(Malformed::Missing("key"))? {
            Key::Block(k) => ObjectKey::Block {
                table: TableId(fits("table", k.table)?),
                block: BlockId(k.block),
                version: k.version,
            },
            Key::Partial(k) => ObjectKey::Partial {
                reduction: k.reduction,
                level: fits("level", k.level)?,
                index: k.index,
            },
            Key::Sealed(k) => ObjectKey::Sealed {
                depot: depot(k.depot)?,
                digest: digest(&k.digest)?,
                bytes: k.bytes,
            },
        })
    }
}

impl From<KeyRange> for proto::KeyRange {
    fn from(range: KeyRange) -> Self {
        use proto::key_range::Range;
        let range = match range {
            KeyRange::One(key) => Range::One(key.into()),
            KeyRange::Blocks {
                table,
                first,
                count,
                version,
            } => Range::Blocks(proto::BlockRange {
                table: table.0.into(),
                first,
                count,
                version,
            }),
        };
        proto::KeyRange { range: Some(range) }
    }
}

impl TryFrom<proto::KeyRange> for KeyRange {
    type Error = Malformed;

    fn try_from(range: proto::KeyRange) -> Result<Self, Malformed> {
        use proto::key_range::Range;
        match range.range.ok_or(Malformed::Missing("keys"))? {
            Range::One(key) => Ok(KeyRange::One(key.try_into()?)),
            Range::Blocks(r) if r.first.checked_add(r.count).is_none() => Err(Malformed::Value {
                what: "count of blocks",
                value: r.count.into(),
            }),
            Range::Blocks(r) => Ok(KeyRange::Blocks {
                table: TableId(fits("table", r.table)?),
                first: r.first,
                count: r.count,
                version: r.version,
            }),
        }
    }
}

impl From<TaskId> for proto::TaskId {
    fn from(id: TaskId) -> Self {
        proto::TaskId {
            step: id.step.0,
            index: id.index,
        }
    }
}

impl TryFrom<proto::TaskId> for TaskId {
    type Error = Malformed;

    fn try_from(id: proto::TaskId) -> Result<Self, Malformed> {
        Ok(TaskId {
            step: StepId(id.step),
            index: id.index,
        })
    }
}

pub(crate) fn encode_attempt(task: TaskId, attempt: u32) -> proto::Attempt {
    proto::Attempt {
        task: Some(task.into()),
        attempt,
    }
}

pub(crate) fn attempt(message: Option<proto::Attempt>) -> Result<(TaskId, u32), Malformed> {
    let message = message.ok_or(Malformed::Missing("attempt"))?;
    Ok((required("task", message.task)?, message.attempt))
}
