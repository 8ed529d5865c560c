//! Tasks and their assignments.

use super::keys::{digest, encode_digest};
use super::{Malformed, all, each, fits, required, unknown};
use crate::proto;
use bytes::Bytes;
use plan::{Assignment, Holder, Source};
use std::sync::Arc;
use tensor::{Op, OpFamily, Read, Task, WorkerId};

impl From<&Op> for proto::Op {
    fn from(op: &Op) -> Self {
        let family = match op.family {
            OpFamily::Builtin => proto::OpFamily::Builtin,
            OpFamily::Model => proto::OpFamily::Model,
            OpFamily::Tables => proto::OpFamily::Tables,
            OpFamily::Probe => proto::OpFamily::Probe,
        };
        // Shared, not copied: the tasks of a step often have one body.
        let body = Bytes::from_owner(Arc::clone(&op.body));
        proto::Op {
            family: family.into(),
            version: op.version.into(),
            body,
        }
    }
}

impl TryFrom<proto::Op> for Op {
    type Error = Malformed;

    fn try_from(op: proto::Op) -> Result<Self, Malformed> {
        let family = match op.family() {
            proto::OpFamily::Builtin => OpFamily::Builtin,
            proto::OpFamily::Model => OpFamily::Model,
            proto::OpFamily::Tables => OpFamily::Tables,
            proto::OpFamily::Probe => OpFamily::Probe,
            proto::OpFamily::Unspecified => return Err(unknown("family of op", op.family)),
        };
        Ok(Op {
            family,
            version: fits("version of an op", op.version)?,
            body: Arc::from(&op.body[..]),
        })
    }
}

impl From<Read> for proto::Read {
    fn from(read: Read) -> Self {
        proto::Read {
            keys: Some(read.keys.into()),
            rows_only: read.rows_only,
        }
    }
}

impl TryFrom<proto::Read> for Read {
    type Error = Malformed;

    fn try_from(read: proto::Read) -> Result<Self, Malformed> {
        Ok(Read {
            keys: required("keys", read.keys)?,
            rows_only: read.rows_only,
        })
    }
}

impl From<&Task> for proto::Task {
    fn from(task: &Task) -> Self {
        proto::Task {
            id: Some(task.id.into()),
            op: Some((&task.op).into()),
            reads: task.reads.iter().map(|&r| r.into()).collect(),
            writes: task.writes.iter().map(|&k| k.into()).collect(),
            after: task.after.iter().map(|&t| t.into()).collect(),
            chain: task.chain,
            cost: task.cost,
        }
    }
}

impl TryFrom<proto::Task> for Task {
    type Error = Malformed;

    fn try_from(task: proto::Task) -> Result<Self, Malformed> {
        Ok(Task {
            id: required("task", task.id)?,
            op: required("op", task.op)?,
            reads: each(task.reads)?,
            writes: each(task.writes)?,
            after: each(task.after)?,
            chain: task.chain,
            cost: task.cost,
        })
    }
}

impl From<Holder> for proto::Holder {
    fn from(holder: Holder) -> Self {
        let holder = match holder {
            Holder::Worker(worker) => proto::holder::Holder::Worker(worker.0),
            Holder::Durable {
                digest,
                bytes,
                row_bytes,
            } => proto::holder::Holder::Durable(proto::DurableCopy {
                digest: encode_digest(digest),
                bytes,
                row_bytes,
            }),
        };
        proto::Holder {
            holder: Some(holder),
        }
    }
}

impl TryFrom<proto::Holder> for Holder {
    type Error = Malformed;

    fn try_from(holder: proto::Holder) -> Result<Self, Malformed> {
        Ok(match holder.holder.ok_or(Malformed::Missing("holder"))? {
            proto::holder::Holder::Worker(worker) => Holder::Worker(WorkerId(worker)),
            proto::holder::Holder::Durable(d) => Holder::Durable {
                digest: digest(&d.digest)?,
                bytes: d.bytes,
                row_bytes: d.row_bytes,
            },
        })
    }
}

impl From<Source> for proto::Source {
    fn from(source: Source) -> Self {
        proto::Source {
            keys: Some(source.keys.into()),
            holders: all(source.holders),
        }
    }
}

impl TryFrom<proto::Source> for Source {
    type Error = Malformed;

    fn try_from(source: proto::Source) -> Result<Self, Malformed> {
        Ok(Source {
            keys: required("keys", source.keys)?,
            holders: each(source.holders)?,
        })
    }
}

impl From<Assignment> for proto::Assignment {
    fn from(assignment: Assignment) -> Self {
        proto::Assignment {
            task: Some((&*assignment.task).into()),
            attempt: assignment.attempt,
            sources: all(assignment.sources),
            verify: assignment.verify,
        }
    }
}

impl TryFrom<proto::Assignment> for Assignment {
    type Error = Malformed;

    fn try_from(assignment: proto::Assignment) -> Result<Self, Malformed> {
        Ok(Assignment {
            task: Arc::new(required("task", assignment.task)?),
            attempt: assignment.attempt,
            sources: each(assignment.sources)?,
            verify: assignment.verify,
        })
    }
}
