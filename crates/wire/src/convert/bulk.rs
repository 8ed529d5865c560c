//! The messages of the streams that carry bytes.

use super::keys::{depot, digest, encode_digest};
use super::{Malformed, required, token};
use crate::chunk::Chunk;
use crate::message::{Pull, PullPart, PullReply, StorageReply, StorageRequest, TableRead};
use crate::proto;
use std::ops::Range;
use tensor::WorkerId;

impl From<Chunk> for proto::Chunk {
    fn from(chunk: Chunk) -> Self {
        proto::Chunk {
            crc32c: chunk.crc32c(),
            data: chunk.unverified(),
        }
    }
}

impl From<proto::Chunk> for Chunk {
    fn from(chunk: proto::Chunk) -> Self {
        Chunk::received(chunk.data, chunk.crc32c)
    }
}

fn byte_range(offset: u64, bytes: u64) -> Result<Range<u64>, Malformed> {
    let end = offset.checked_add(bytes).ok_or(Malformed::Value {
        what: "number of bytes",
        value: bytes,
    })?;
    Ok(offset..end)
}

impl From<StorageRequest> for proto::StorageRequest {
    fn from(request: StorageRequest) -> Self {
        use proto::storage_request::Request;
        let (id, request) = match request {
            StorageRequest::ReadInput { id, input, range } => {
                let bytes = range.end - range.start;
                (
                    id,
                    Request::ReadInput(proto::ReadInput {
                        input,
                        offset: range.start,
                        bytes,
                    }),
                )
            }
            StorageRequest::ReadObject {
                id,
                depot,
                digest,
                range,
            } => {
                let read = proto::ReadObject {
                    depot: depot.0.into(),
                    digest: encode_digest(digest),
                    offset: range.start,
                    bytes: range.end - range.start,
                };
                (id, Request::ReadObject(read))
            }
            StorageRequest::Put {
                id,
                depot,
                digest,
                bytes,
            } => (
                id,
                Request::Put(proto::Put {
                    depot: depot.0.into(),
                    digest: encode_digest(digest),
                    bytes,
                }),
            ),
            StorageRequest::Content { id, chunk } => (id, Request::Chunk(chunk.into())),
            StorageRequest::Relay { id, holder, pull } => {
                let relay = proto::Relay {
                    holder: holder.0,
                    pull: Some(pull.into()),
                };
                (id, Request::Relay(relay))
            }
            StorageRequest::Take { id, range } => {
                let take = proto::Take {
                    offset: range.start,
                    bytes: range.end - range.start,
                };
                (id, Request::Take(take))
            }
        };
        proto::StorageRequest {
            id,
            request: Some(request),
        }
    }
}

impl TryFrom<proto::StorageRequest> for StorageRequest {
    type Error = Malformed;

    fn try_from(message: proto::StorageRequest) -> Result<Self, Malformed> {
        use proto::storage_request::Request;
        let id = message.id;
        Ok(
            match message.request.ok_or(Malformed::Missing("request"))? {
                Request::ReadInput(r) => StorageRequest::ReadInput {
                    id,
                    input: r.input,
                    range: byte_range(r.offset, r.bytes)?,
                },
                Request::ReadObject(r) => StorageRequest::ReadObject {
                    id,
                    depot: depot(r.depot)?,
                    digest: digest(&r.digest)?,
                    range: byte_range(r.offset, r.bytes)?,
                },
                Request::Put(r) => StorageRequest::Put {
                    id,
                    depot: depot(r.depot)?,
                    digest: digest(&r.digest)?,
                    bytes: r.bytes,
                },
                Request::Chunk(chunk) => StorageRequest::Content {
                    id,
                    chunk: chunk.into(),
                },
                Request::Relay(relay) => StorageRequest::Relay {
                    id,
                    holder: WorkerId(relay.holder),
                    pull: required("pull", relay.pull)?,
                },
                Request::Take(take) => StorageRequest::Take {
                    id,
                    range: byte_range(take.offset, take.bytes)?,
                },
            },
        )
    }
}

impl From<StorageReply> for proto::StorageReply {
    fn from(reply: StorageReply) -> Self {
        use proto::storage_reply::Reply;
        let (id, reply) = match reply {
            StorageReply::Attach { run, term, token } => (
                0,
                Reply::Attach(proto::Attach {
                    run: encode_digest(run),
                    term,
                    token: token.bytes().to_vec().into(),
                }),
            ),
            StorageReply::Content { id, chunk } => (id, Reply::Chunk(chunk.into())),
            StorageReply::Head {
                id,
                bytes,
                row_bytes,
            } => (id, Reply::Head(proto::PullHead { bytes, row_bytes })),
            StorageReply::Stored { id } => (id, Reply::Stored(proto::Stored {})),
            StorageReply::Failed { id, failure } => (id, Reply::Failed(failure.into())),
        };
        proto::StorageReply {
            id,
            reply: Some(reply),
        }
    }
}

impl TryFrom<proto::StorageReply> for StorageReply {
    type Error = Malformed;

    fn try_from(message: proto::StorageReply) -> Result<Self, Malformed> {
        use proto::storage_reply::Reply;
        let id = message.id;
        Ok(match message.reply.ok_or(Malformed::Missing("reply"))? {
            Reply::Attach(a) => StorageReply::Attach {
                run: digest(&a.run)?,
                term: a.term,
                token: token(&a.token)?,
            },
            Reply::Chunk(chunk) => StorageReply::Content {
                id,
                chunk: chunk.into(),
            },
            Reply::Head(head) => StorageReply::Head {
                id,
                bytes: head.bytes,
                row_bytes: head.row_bytes,
            },
            Reply::Stored(_) => StorageReply::Stored { id },
            Reply::Failed(failure) => StorageReply::Failed {
                id,
                failure: failure.try_into()?,
            },
        })
    }
}

impl From<Pull> for proto::PullRequest {
    fn from(pull: Pull) -> Self {
        use proto::pull_request::Part;
        let part = match pull.part {
            PullPart::Whole => Part::Whole(proto::Whole {}),
            PullPart::Rows(rows) => Part::Rows(proto::Rows {
                rows: rows.to_vec(),
            }),
            PullPart::Span(span) => Part::Span(proto::RowSpan {
                first: span.start,
                end: span.end,
            }),
        };
        proto::PullRequest {
            run: encode_digest(pull.run),
            term: pull.term,
            token: pull.token.bytes().to_vec().into(),
            key: Some(pull.key.into()),
            puller: pull.puller.0,
            part: Some(part),
        }
    }
}

impl TryFrom<proto::PullRequest> for Pull {
    type Error = Malformed;

    fn try_from(pull: proto::PullRequest) -> Result<Self, Malformed> {
        use proto::pull_request::Part;
        let part = match pull.part.ok_or(Malformed::Missing("part"))? {
            Part::Whole(_) => PullPart::Whole,
            Part::Rows(rows) => PullPart::Rows(rows.rows.into()),
            Part::Span(span) if span.first > span.end => {
                return Err(Malformed::Value {
                    what: "first row",
                    value: span.first,
                });
            }
            Part::Span(span) => PullPart::Span(span.first..span.end),
        };
        Ok(Pull {
            run: digest(&pull.run)?,
            term: pull.term,
            token: token(&pull.token)?,
            key: required("key", pull.key)?,
            puller: WorkerId(pull.puller),
            part,
        })
    }
}

impl From<TableRead> for proto::TableRequest {
    fn from(read: TableRead) -> Self {
        proto::TableRequest {
            url: read.url,
            offset: read.range.start,
            bytes: read.range.end - read.range.start,
            last: read.last,
        }
    }
}

impl TryFrom<proto::TableRequest> for TableRead {
    type Error = Malformed;

    fn try_from(read: proto::TableRequest) -> Result<Self, Malformed> {
        let end = read.offset.checked_add(read.bytes);
        let end = end.ok_or(Malformed::Value {
            what: "end of a table",
            value: read.offset,
        })?;
        Ok(TableRead {
            url: read.url,
            range: read.offset..end,
            last: read.last,
        })
    }
}

impl From<PullReply> for proto::PullReply {
    fn from(reply: PullReply) -> Self {
        use proto::pull_reply::{Damaged, Reply};
        let reply = match reply {
            PullReply::Head { bytes, row_bytes } => {
                Reply::Head(proto::PullHead { bytes, row_bytes })
            }
            PullReply::Content(chunk) => Reply::Chunk(chunk.into()),
            PullReply::Missing => Reply::Missing(proto::Missing {}),
            PullReply::Damaged => Reply::Damaged(Damaged {}),
        };
        proto::PullReply { reply: Some(reply) }
    }
}

impl TryFrom<proto::PullReply> for PullReply {
    type Error = Malformed;

    fn try_from(message: proto::PullReply) -> Result<Self, Malformed> {
        use proto::pull_reply::Reply;
        Ok(match message.reply.ok_or(Malformed::Missing("reply"))? {
            Reply::Head(head) => PullReply::Head {
                bytes: head.bytes,
                row_bytes: head.row_bytes,
            },
            Reply::Chunk(chunk) => PullReply::Content(chunk.into()),
            Reply::Missing(_) => PullReply::Missing,
            Reply::Damaged(_) => PullReply::Damaged,
        })
    }
}
