//! The messages of a session.

use super::keys::{attempt, depot, digest, encode_attempt, encode_digest};
use super::{Malformed, all, each, required, token, unknown};
use crate::message::{
    Done, FromWorker, Input, Open, Peer, Phase, Reach, Span, ToWorker, Totals, Traffic,
};
use crate::proto;
use plan::{Profile, Wrote};
use tensor::WorkerId;

impl From<Reach> for proto::Reach {
    fn from(reach: Reach) -> Self {
        let reach = match reach {
            Reach::Url(url) => proto::reach::Reach::Url(url),
            Reach::Served => proto::reach::Reach::Served(proto::reach::Served {}),
        };
        proto::Reach { reach: Some(reach) }
    }
}

impl TryFrom<proto::Reach> for Reach {
    type Error = Malformed;

    fn try_from(reach: proto::Reach) -> Result<Self, Malformed> {
        Ok(match reach.reach.ok_or(Malformed::Missing("reach"))? {
            proto::reach::Reach::Url(url) if Reach::is_local(&url) => {
                return Err(Malformed::Local(url));
            }
            proto::reach::Reach::Url(url) => Reach::Url(url),
            proto::reach::Reach::Served(_) => Reach::Served,
        })
    }
}

impl From<Peer> for proto::Peer {
    fn from(peer: Peer) -> Self {
        proto::Peer {
            worker: peer.worker.0,
            address: peer.address,
        }
    }
}

impl TryFrom<proto::Peer> for Peer {
    type Error = Malformed;

    fn try_from(peer: proto::Peer) -> Result<Self, Malformed> {
        Ok(Peer {
            worker: WorkerId(peer.worker),
            address: peer.address,
        })
    }
}

impl From<Input> for proto::Input {
    fn from(input: Input) -> Self {
        proto::Input {
            reach: Some(input.reach.into()),
            bytes: input.bytes,
        }
    }
}

impl TryFrom<proto::Input> for Input {
    type Error = Malformed;

    fn try_from(input: proto::Input) -> Result<Self, Malformed> {
        Ok(Input {
            reach: required("reach", input.reach)?,
            bytes: input.bytes,
        })
    }
}

impl From<Open> for proto::Open {
    fn from(open: Open) -> Self {
        proto::Open {
            term: open.term,
            run: encode_digest(open.run),
            token: open.token.bytes().to_vec().into(),
            worker: open.worker.0,
            build: open.build,
            inputs: all(open.inputs),
            depots: open
                .depots
                .into_iter()
                .map(|(depot, reach)| proto::Depot {
                    depot: depot.0.into(),
                    reach: Some(reach.into()),
                })
                .collect(),
            peers: all(open.peers),
            heartbeat_ms: open.heartbeat_ms,
        }
    }
}

impl TryFrom<proto::Open> for Open {
    type Error = Malformed;

    fn try_from(open: proto::Open) -> Result<Self, Malformed> {
        let depots = open
            .depots
            .into_iter()
            .map(|d| Ok((depot(d.depot)?, required("reach", d.reach)?)));
        Ok(Open {
            term: open.term,
            run: digest(&open.run)?,
            token: token(&open.token)?,
            worker: WorkerId(open.worker),
            build: open.build,
            inputs: each(open.inputs)?,
            depots: depots.collect::<Result<_, Malformed>>()?,
            peers: each(open.peers)?,
            heartbeat_ms: open.heartbeat_ms,
        })
    }
}

impl From<ToWorker> for proto::ToWorker {
    fn from(message: ToWorker) -> Self {
        use proto::to_worker::Message;
        let message = match message {
            ToWorker::Open(open) => Message::Open(open.into()),
            ToWorker::Peers(peers) => Message::Peers(proto::Peers { peers: all(peers) }),
            ToWorker::Assign(assignments) => Message::Assign(proto::Assign {
                assignments: all(assignments),
            }),
            ToWorker::Revoke { task, attempt } => Message::Revoke(encode_attempt(task, attempt)),
            ToWorker::Drop(keys) => Message::Drop(proto::Drop { keys: all(keys) }),
            ToWorker::Close => Message::Close(proto::Close {}),
        };
        proto::ToWorker {
            message: Some(message),
        }
    }
}

impl TryFrom<proto::ToWorker> for ToWorker {
    type Error = Malformed;

    fn try_from(message: proto::ToWorker) -> Result<Self, Malformed> {
        use proto::to_worker::Message;
        Ok(
            match message.message.ok_or(Malformed::Missing("message"))? {
                Message::Open(open) => ToWorker::Open(open.try_into()?),
                Message::Peers(m) => ToWorker::Peers(each(m.peers)?),
                Message::Assign(m) => ToWorker::Assign(each(m.assignments)?),
                Message::Revoke(m) => {
                    let (task, attempt) = attempt(Some(m))?;
                    ToWorker::Revoke { task, attempt }
                }
                Message::Drop(m) => ToWorker::Drop(each(m.keys)?),
                Message::Close(_) => ToWorker::Close,
            },
        )
    }
}

impl From<Span> for proto::Span {
    fn from(span: Span) -> Self {
        let phase = match span.phase {
            Phase::Fetch => proto::Phase::Fetch,
            Phase::Compute => proto::Phase::Compute,
            Phase::Send => proto::Phase::Send,
        };
        proto::Span {
            phase: phase.into(),
            start_us: span.start_us,
            length_us: span.length_us,
        }
    }
}

impl TryFrom<proto::Span> for Span {
    type Error = Malformed;

    fn try_from(span: proto::Span) -> Result<Self, Malformed> {
        let phase = match span.phase() {
            proto::Phase::Fetch => Phase::Fetch,
            proto::Phase::Compute => Phase::Compute,
            proto::Phase::Send => Phase::Send,
            proto::Phase::Unspecified => return Err(unknown("phase", span.phase)),
        };
        Ok(Span {
            phase,
            start_us: span.start_us,
            length_us: span.length_us,
        })
    }
}

impl From<Traffic> for proto::Traffic {
    fn from(t: Traffic) -> Self {
        proto::Traffic {
            worker: t.worker.0,
            sent_bytes: t.sent_bytes,
            received_bytes: t.received_bytes,
        }
    }
}

impl TryFrom<proto::Traffic> for Traffic {
    type Error = Malformed;

    fn try_from(t: proto::Traffic) -> Result<Self, Malformed> {
        Ok(Traffic {
            worker: WorkerId(t.worker),
            sent_bytes: t.sent_bytes,
            received_bytes: t.received_bytes,
        })
    }
}

impl From<Done> for proto::Done {
    fn from(done: Done) -> Self {
        let wrote = |w: Wrote| proto::Wrote {
            key: Some(w.key.into()),
            bytes: w.bytes,
            digest: w.digest.map(encode_digest).unwrap_or_default(),
        };
        proto::Done {
            attempt: Some(encode_attempt(done.task, done.attempt)),
            partial: done.partial.into(),
            wrote: done.wrote.into_iter().map(wrote).collect(),
            pieces: done.pieces,
            cut_rows: done.cut_rows,
            lane: done.lane,
            spans: all(done.spans),
            peak_anonymous_bytes: done.peak_anonymous_bytes,
            traffic: all(done.traffic),
        }
    }
}

impl TryFrom<proto::Done> for Done {
    type Error = Malformed;

    fn try_from(done: proto::Done) -> Result<Self, Malformed> {
        let (task, attempt) = attempt(done.attempt)?;
        let wrote = done.wrote.into_iter().map(|w| {
            Ok(Wrote {
                key: required("key", w.key)?,
                bytes: w.bytes,
                digest: match &w.digest[..] {
                    [] => None,
                    bytes => Some(digest(bytes)?),
                },
            })
        });
        Ok(Done {
            task,
            attempt,
            partial: done.partial.into(),
            wrote: wrote.collect::<Result<_, Malformed>>()?,
            pieces: done.pieces,
            cut_rows: done.cut_rows,
            lane: done.lane,
            spans: each(done.spans)?,
            peak_anonymous_bytes: done.peak_anonymous_bytes,
            traffic: each(done.traffic)?,
        })
    }
}

impl From<Totals> for proto::Closed {
    fn from(totals: Totals) -> Self {
        proto::Closed {
            tasks: totals.tasks,
            peak_anonymous_bytes: totals.peak_anonymous_bytes,
            storage_bytes: totals.storage_bytes,
            traffic: all(totals.traffic),
        }
    }
}

impl TryFrom<proto::Closed> for Totals {
    type Error = Malformed;

    fn try_from(closed: proto::Closed) -> Result<Self, Malformed> {
        Ok(Totals {
            tasks: closed.tasks,
            peak_anonymous_bytes: closed.peak_anonymous_bytes,
            storage_bytes: closed.storage_bytes,
            traffic: each(closed.traffic)?,
        })
    }
}

impl From<FromWorker> for proto::FromWorker {
    fn from(message: FromWorker) -> Self {
        use proto::from_worker::Message;
        let message = match message {
            FromWorker::Hello { build, profile } => Message::Hello(proto::Hello {
                build,
                threads: profile.threads,
                memory_bytes: profile.memory_bytes,
            }),
            FromWorker::Opened => Message::Opened(proto::Opened {}),
            FromWorker::Busy(sentence) => Message::Busy(proto::Busy { sentence }),
            FromWorker::Alive { anonymous_bytes } => {
                Message::Alive(proto::Alive { anonymous_bytes })
            }
            FromWorker::Done(done) => Message::Done(done.into()),
            FromWorker::Failed {
                task,
                attempt,
                failure,
            } => Message::Failed(proto::Failed {
                attempt: Some(encode_attempt(task, attempt)),
                failure: Some(failure.into()),
            }),
            FromWorker::Returned { task, attempt } => {
                Message::Returned(encode_attempt(task, attempt))
            }
            FromWorker::Draining => Message::Draining(proto::Draining {}),
            FromWorker::Closed(totals) => Message::Closed(totals.into()),
            FromWorker::Refused(failure) => Message::Refused(failure.into()),
        };
        proto::FromWorker {
            message: Some(message),
        }
    }
}

impl TryFrom<proto::FromWorker> for FromWorker {
    type Error = Malformed;

    fn try_from(message: proto::FromWorker) -> Result<Self, Malformed> {
        use proto::from_worker::Message;
        Ok(
            match message.message.ok_or(Malformed::Missing("message"))? {
                Message::Hello(m) => FromWorker::Hello {
                    build: m.build,
                    profile: Profile {
                        threads: m.threads,
                        memory_bytes: m.memory_bytes,
                    },
                },
                Message::Opened(_) => FromWorker::Opened,
                Message::Busy(m) => FromWorker::Busy(m.sentence),
                Message::Alive(m) => FromWorker::Alive {
                    anonymous_bytes: m.anonymous_bytes,
                },
                Message::Done(m) => FromWorker::Done(m.try_into()?),
                Message::Failed(m) => {
                    let (task, attempt) = attempt(m.attempt)?;
                    FromWorker::Failed {
                        task,
                        attempt,
                        failure: required("failure", m.failure)?,
                    }
                }
                Message::Returned(m) => {
                    let (task, attempt) = attempt(Some(m))?;
                    FromWorker::Returned { task, attempt }
                }
                Message::Draining(_) => FromWorker::Draining,
                Message::Closed(m) => FromWorker::Closed(m.try_into()?),
                Message::Refused(m) => FromWorker::Refused(m.try_into()?),
            },
        )
    }
}
