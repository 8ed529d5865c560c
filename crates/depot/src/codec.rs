//! Manifests to bytes and back: a magic number, the BLAKE3 of the message, the message. Whatever the bytes, decoding
//! ends in a manifest or in a reason.

use crate::manifest::{
    Body, Checkpoint, CheckpointObject, Manifest, Model, ModelTable, Versioned, ViewOf, Withdrawal,
};
use crate::messages as m;
use prost::Message;
use std::collections::BTreeMap;
use tensor::{
    Attribute, AttributeKind, Attributes, Axis, BlockId, CONTEXTS_MAX, ContextAxis, Cycle, DataSet,
    Decay, Delta, DepotId, Digest, Duplicates, Forgotten, Grid, IdKind, Mode, ModeEdges, ObjectKey,
    PartitionRef, Partitions, SealedRef, SplitPart, TableId, TimeAxis, TimeBin, View, ViewSpec,
    newcomers::{Kept, Moment, Newcomers},
};

/// Its last digit is the version of the frame.
const MAGIC: &[u8; 8] = b"STRAMAN1";
const HEAD_BYTES: usize = 8 + 32;

type Reason = String;

// What is stored is the place in the list, from 1: 0 is an absent field.
const ID_KINDS: [IdKind; 4] = [IdKind::Int64, IdKind::UInt64, IdKind::Utf8, IdKind::Binary];
const TIME_BINS: [TimeBin; 6] = [
    TimeBin::Hour,
    TimeBin::Day,
    TimeBin::Week,
    TimeBin::Month,
    TimeBin::Quarter,
    TimeBin::None,
];
const CYCLES: [Cycle; 3] = [Cycle::HourOfDay, Cycle::DayOfWeek, Cycle::MonthOfYear];
const DUPLICATES: [Duplicates; 4] = [
    Duplicates::Sum,
    Duplicates::Max,
    Duplicates::Last,
    Duplicates::Count,
];
const MODES: [Mode; 2] = [Mode::User, Mode::Product];
const KEPT: [Kept; 3] = [Kept::Before, Kept::First, Kept::Later];
const SPLIT_PARTS: [SplitPart; 3] = [SplitPart::Train, SplitPart::Validation, SplitPart::Test];

pub(crate) fn encode(manifest: &Manifest) -> Vec<u8> {
    let message = m::ManifestMessage {
        number: manifest.number,
        term: manifest.term,
        predecessor: manifest.predecessor.map_or_else(Vec::new, from_digest),
        body: Some(from_body(&manifest.body)),
    };
    let message = message.encode_to_vec();
    let mut bytes = Vec::with_capacity(HEAD_BYTES + message.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(blake3::hash(&message).as_bytes());
    bytes.extend_from_slice(&message);
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Manifest, Reason> {
    let Some((head, message)) = bytes.split_at_checked(HEAD_BYTES) else {
        return Err(format!("it has only {} bytes", bytes.len()));
    };
    if head[..8] != *MAGIC {
        return Err("it does not begin as a manifest that this version reads".to_owned());
    }
    if head[8..] != *blake3::hash(message).as_bytes() {
        return Err("its bytes are not those that were written".to_owned());
    }
    let message = m::ManifestMessage::decode(message).map_err(|error| error.to_string())?;
    let predecessor = if message.predecessor.is_empty() {
        None
    } else {
        Some(digest(&message.predecessor)?)
    };
    let body = body(
        message
            .body
            .ok_or("it records nothing that this version knows")?,
    )?;
    Ok(Manifest {
        number: message.number,
        term: message.term,
        predecessor,
        body,
    })
}

fn code<T: PartialEq>(list: &[T], value: &T) -> u32 {
    list.iter()
        .position(|entry| entry == value)
        .map_or(0, |place| place as u32 + 1)
}

fn value<T: Copy>(list: &[T], code: u32, what: &str) -> Result<T, Reason> {
    let place = (code as usize).checked_sub(1);
    place
        .and_then(|place| list.get(place))
        .copied()
        .ok_or_else(|| format!("its {what} has the unknown code {code}"))
}

fn from_digest(digest: Digest) -> Vec<u8> {
    digest.0.to_vec()
}

fn digest(bytes: &[u8]) -> Result<Digest, Reason> {
    bytes
        .try_into()
        .map(Digest)
        .map_err(|_| format!("a hash has {} bytes", bytes.len()))
}

fn required<T>(value: Option<T>, what: &str) -> Result<T, Reason> {
    value.ok_or_else(|| format!("it has no {what}"))
}

fn each<A, B>(list: Vec<A>, convert: impl Fn(A) -> Result<B, Reason>) -> Result<Vec<B>, Reason> {
    list.into_iter().map(convert).collect()
}

fn from_sealed(object: &SealedRef) -> m::SealedMessage {
    m::SealedMessage {
        digest: from_digest(object.digest),
        bytes: object.bytes,
    }
}

fn sealed(message: m::SealedMessage) -> Result<SealedRef, Reason> {
    Ok(SealedRef {
        digest: digest(&message.digest)?,
        bytes: message.bytes,
    })
}

fn from_partition(partition: &PartitionRef) -> m::PartitionMessage {
    m::PartitionMessage {
        object: Some(from_sealed(&partition.object)),
        rows: partition.rows,
        interactions: partition.interactions,
    }
}

fn partition(message: m::PartitionMessage) -> Result<PartitionRef, Reason> {
    Ok(PartitionRef {
        object: sealed(required(message.object, "object of a partition")?)?,
        rows: message.rows,
        interactions: message.interactions,
    })
}

fn from_list(list: &[PartitionRef]) -> Vec<m::PartitionMessage> {
    list.iter().map(from_partition).collect()
}

fn list(messages: Vec<m::PartitionMessage>) -> Result<Vec<PartitionRef>, Reason> {
    each(messages, partition)
}

fn from_delta(delta: &Delta) -> m::DeltaMessage {
    let side = |side: &BTreeMap<u32, PartitionRef>| {
        let one = |(&block, partition): (&u32, &PartitionRef)| m::BlockPartitionMessage {
            block,
            partition: Some(from_partition(partition)),
        };
        side.iter().map(one).collect()
    };
    m::DeltaMessage {
        user_major: side(&delta.user_major),
        product_major: side(&delta.product_major),
        interactions: delta.interactions,
    }
}

/// A delta of data with so many blocks of users and of products.
fn delta(message: m::DeltaMessage, blocks: [u32; 2]) -> Result<Delta, Reason> {
    let side = |messages: Vec<m::BlockPartitionMessage>, blocks: u32| {
        let one = |message: m::BlockPartitionMessage| {
            if message.block >= blocks {
                return Err(format!("a delta is of the unknown block {}", message.block));
            }
            let found = required(message.partition, "partition of a delta")?;
            Ok((message.block, partition(found)?))
        };
        let side = messages.into_iter().map(one);
        side.collect::<Result<BTreeMap<u32, PartitionRef>, Reason>>()
    };
    let [users, products] = blocks;
    Ok(Delta {
        user_major: side(message.user_major, users)?,
        product_major: side(message.product_major, products)?,
        interactions: message.interactions,
    })
}

fn from_partitions(partitions: &Partitions) -> m::PartitionsMessage {
    m::PartitionsMessage {
        user_major: from_list(&partitions.user_major),
        product_major: from_list(&partitions.product_major),
        interactions: partitions.interactions,
        netted: partitions.netted,
    }
}

fn partitions(message: Option<m::PartitionsMessage>) -> Result<Partitions, Reason> {
    let message = required(message, "partitions")?;
    Ok(Partitions {
        user_major: list(message.user_major)?,
        product_major: list(message.product_major)?,
        interactions: message.interactions,
        netted: message.netted,
    })
}

fn from_grid(grid: &Grid) -> m::GridMessage {
    m::GridMessage {
        stride_log2: grid.stride_log2.into(),
        rows: grid.rows.clone(),
    }
}

fn grid(message: Option<m::GridMessage>) -> Result<Grid, Reason> {
    let message = required(message, "grid")?;
    let ids = 1_u64
        .checked_shl(message.stride_log2)
        .filter(|_| message.stride_log2 <= 32);
    let fits = ids.is_some_and(|stride| {
        message.rows.iter().all(|&rows| u64::from(rows) <= stride)
            && (message.rows.len() as u64)
                .checked_mul(stride)
                .is_some_and(|ids| ids <= 1 << 32)
    });
    if !fits {
        return Err("its grid does not fit row ids of 32 bits".to_owned());
    }
    Ok(Grid {
        stride_log2: message.stride_log2 as u8,
        rows: message.rows,
    })
}

fn from_axis(axis: &Axis) -> m::AxisMessage {
    m::AxisMessage {
        column: axis.column.clone(),
        id_kind: code(&ID_KINDS, &axis.id_kind),
        grid: Some(from_grid(&axis.grid)),
        dictionary: axis.dictionary.iter().map(from_sealed).collect(),
    }
}

fn axis(message: Option<m::AxisMessage>) -> Result<Axis, Reason> {
    let message = required(message, "axis")?;
    Ok(Axis {
        column: message.column,
        id_kind: value(&ID_KINDS, message.id_kind, "kind of ids")?,
        grid: grid(message.grid)?,
        dictionary: each(message.dictionary, sealed)?,
    })
}

fn from_context(axis: &ContextAxis) -> m::ContextAxisMessage {
    match axis {
        ContextAxis::Ids(ids) => m::ContextAxisMessage {
            ids: Some(from_axis(ids)),
            ..m::ContextAxisMessage::default()
        },
        ContextAxis::Cycle { column, cycle } => m::ContextAxisMessage {
            ids: None,
            column: column.clone(),
            cycle: code(&CYCLES, cycle),
        },
    }
}

fn context(message: m::ContextAxisMessage) -> Result<ContextAxis, Reason> {
    if message.ids.is_none() {
        return Ok(ContextAxis::Cycle {
            column: message.column,
            cycle: value(&CYCLES, message.cycle, "cycle")?,
        });
    }
    let ids = axis(message.ids)?;
    let fits = ids.grid.blocks() == 1 && ids.grid.rows_total() <= u64::from(CONTEXTS_MAX);
    if !fits || ids.dictionary.len() != 1 {
        return Err("its contexts do not stand in one small block".to_owned());
    }
    Ok(ContextAxis::Ids(ids))
}

fn from_attributes(mode: Mode, attributes: &Attributes) -> m::AttributesMessage {
    let one = |attribute: &Attribute| {
        let name = attribute.name.clone();
        match &attribute.kind {
            AttributeKind::Number { mean, deviation } => m::AttributeMessage {
                name,
                moments: Some(m::MomentsMessage {
                    mean: *mean,
                    deviation: *deviation,
                }),
                ..m::AttributeMessage::default()
            },
            AttributeKind::Levels { levels, others } => m::AttributeMessage {
                name,
                levels: levels.clone(),
                others: *others,
                moments: None,
            },
        }
    };
    m::AttributesMessage {
        mode: code(&Mode::ALL, &mode),
        column: attributes.column.clone(),
        attributes: attributes.attributes.iter().map(one).collect(),
        blocks: attributes.blocks.iter().map(from_sealed).collect(),
        described: attributes.described,
        unknown: attributes.unknown,
    }
}

fn attributes(message: m::AttributesMessage) -> Result<(Mode, Attributes), Reason> {
    let one = |attribute: m::AttributeMessage| Attribute {
        name: attribute.name,
        kind: match attribute.moments {
            Some(moments) => AttributeKind::Number {
                mean: moments.mean,
                deviation: moments.deviation,
            },
            None => AttributeKind::Levels {
                levels: attribute.levels,
                others: attribute.others,
            },
        },
    };
    let attributes = Attributes {
        column: message.column,
        attributes: message.attributes.into_iter().map(one).collect(),
        blocks: each(message.blocks, sealed)?,
        described: message.described,
        unknown: message.unknown,
    };
    Ok((value(&Mode::ALL, message.mode, "mode")?, attributes))
}

fn from_bad_rows(bad_rows: &BTreeMap<String, u64>) -> Vec<m::BadRowsMessage> {
    let one = |(reason, &rows): (&String, &u64)| m::BadRowsMessage {
        reason: reason.clone(),
        rows,
    };
    bad_rows.iter().map(one).collect()
}

fn bad_rows(messages: Vec<m::BadRowsMessage>) -> BTreeMap<String, u64> {
    let rows = messages.into_iter().map(|bad| (bad.reason, bad.rows));
    rows.collect()
}

fn from_edges(mode: Mode, edges: &ModeEdges) -> m::EdgesMessage {
    m::EdgesMessage {
        mode: code(&Mode::ALL, &mode),
        from: edges.from.clone(),
        to: edges.to.clone(),
        weight: edges.weight.clone(),
        directed: edges.directed,
        forward: from_list(&edges.forward),
        backward: from_list(&edges.backward),
        input_rows: edges.input_rows,
        bad_rows: from_bad_rows(&edges.bad_rows),
        unknown: edges.unknown,
        loops: edges.loops,
    }
}

fn edges(message: m::EdgesMessage) -> Result<(Mode, ModeEdges), Reason> {
    let edges = ModeEdges {
        from: message.from,
        to: message.to,
        weight: message.weight,
        directed: message.directed,
        forward: list(message.forward)?,
        backward: list(message.backward)?,
        input_rows: message.input_rows,
        bad_rows: bad_rows(message.bad_rows),
        unknown: message.unknown,
        loops: message.loops,
    };
    Ok((value(&Mode::ALL, message.mode, "mode")?, edges))
}

fn from_data_set(data: &DataSet) -> m::DataSetMessage {
    m::DataSetMessage {
        lineage: from_digest(data.lineage),
        user: Some(from_axis(&data.user)),
        product: Some(from_axis(&data.product)),
        time: data.time.as_ref().map(|time| m::TimeAxisMessage {
            column: time.column.clone(),
            bin: code(&TIME_BINS, &time.bin),
            first_bin: time.first_bin,
            bins: time.bins,
            last_is_partial: time.last_is_partial,
        }),
        context: data.context.as_deref().map(from_context).map(Box::new),
        value_column: data.value_column.clone(),
        duplicates: code(&DUPLICATES, &data.duplicates),
        nets: data.nets,
        parts: data
            .parts
            .iter()
            .map(|(part, partitions)| m::PartMessage {
                part: code(&SPLIT_PARTS, part),
                partitions: Some(from_partitions(partitions)),
            })
            .collect(),
        input_rows: data.input_rows,
        bad_rows: from_bad_rows(&data.bad_rows),
        attributes: data
            .attributes
            .iter()
            .map(|(mode, known)| from_attributes(*mode, known))
            .collect(),
        edges: data
            .edges
            .iter()
            .map(|(mode, edges)| from_edges(*mode, edges))
            .collect(),
        first: data.first.map_or_else(Vec::new, from_digest),
        inputs: data.inputs.iter().copied().map(from_digest).collect(),
        deltas: data.deltas.iter().map(from_delta).collect(),
        forgotten: data.forgotten.map(|forgotten| m::ForgottenMessage {
            users: forgotten.users,
            before: from_digest(forgotten.before),
            after: from_digest(forgotten.after),
        }),
    }
}

fn data_set(message: m::DataSetMessage) -> Result<DataSet, Reason> {
    let time = message.time.map(|time| {
        Ok::<_, Reason>(TimeAxis {
            column: time.column,
            bin: value(&TIME_BINS, time.bin, "time bin")?,
            first_bin: time.first_bin,
            bins: time.bins,
            last_is_partial: time.last_is_partial,
        })
    });
    let (user, product) = (axis(message.user)?, axis(message.product)?);
    let attributes: BTreeMap<Mode, Attributes> =
        each(message.attributes, attributes)?.into_iter().collect();
    let edges: BTreeMap<Mode, ModeEdges> = each(message.edges, edges)?.into_iter().collect();
    let grid_of = |mode: Mode, what: &str| match mode {
        Mode::User => Ok(&user.grid),
        Mode::Product => Ok(&product.grid),
        Mode::Time | Mode::Context => Err(format!("it has {what} of {mode}")),
    };
    for (mode, edges) in &edges {
        let blocks = grid_of(*mode, "edges")?.rows.len();
        let backward = if edges.directed { blocks } else { 0 };
        if (edges.forward.len(), edges.backward.len()) != (blocks, backward) {
            return Err(format!("its edges of {mode}s do not fit their grid"));
        }
    }
    for (mode, known) in &attributes {
        let grid = grid_of(*mode, "attributes")?;
        if known.attributes.is_empty() || known.blocks.len() != grid.rows.len() {
            return Err(format!("its attributes of {mode} do not fit their grid"));
        }
    }
    let blocks = [user.grid.blocks(), product.grid.blocks()];
    let first = Some(&message.first).filter(|first| !first.is_empty());
    let forgotten = message.forgotten.map(|forgotten| {
        if forgotten.users > user.grid.rows_total() {
            return Err("it forgot more users than it has rows".to_owned());
        }
        Ok(Forgotten {
            users: forgotten.users,
            before: digest(&forgotten.before)?,
            after: digest(&forgotten.after)?,
        })
    });
    Ok(DataSet {
        lineage: digest(&message.lineage)?,
        first: first.map(|first| digest(first)).transpose()?,
        inputs: each(message.inputs, |input| digest(&input))?,
        deltas: each(message.deltas, |message| delta(message, blocks))?,
        forgotten: forgotten.transpose()?,
        attributes,
        edges,
        time: time.transpose()?,
        context: message
            .context
            .map(|axis| context(*axis).map(Box::new))
            .transpose()?,
        value_column: message.value_column,
        duplicates: value(&DUPLICATES, message.duplicates, "rule for duplicates")?,
        nets: message.nets,
        parts: each(message.parts, |part| {
            Ok((
                value(&SPLIT_PARTS, part.part, "part")?,
                partitions(part.partitions)?,
            ))
        })?,
        input_rows: message.input_rows,
        bad_rows: bad_rows(message.bad_rows),
        user,
        product,
    })
}

fn from_view(view: &ViewOf) -> m::ViewMessage {
    let spec = &view.view.spec;
    m::ViewMessage {
        lineage: from_digest(view.lineage),
        spec_hash: from_digest(view.spec_hash),
        part: code(&SPLIT_PARTS, &spec.part),
        bins: spec.bins.as_ref().map(|bins| m::BinsMessage {
            start: bins.start,
            end: bins.end,
        }),
        hash: spec.hash.as_ref().map(|(seed, range)| m::HashMessage {
            seed: *seed,
            start: range.start,
            end: range.end,
        }),
        collapse_time: spec.collapse_time,
        collapse_context: spec.collapse_context,
        tiles: spec.tiles,
        decay: spec.decay.map(|decay| m::DecayMessage {
            half_life: decay.half_life,
            last_bin: decay.last_bin,
            keeps_bin: decay.keeps_bin,
        }),
        newcomers: spec.newcomers.as_ref().map(from_newcomers),
        partitions: Some(from_partitions(&view.view.partitions)),
    }
}

fn from_newcomers(newcomers: &Newcomers) -> m::NewcomersMessage {
    let limits = || newcomers.limits.iter();
    m::NewcomersMessage {
        mode: code(&MODES, &newcomers.mode),
        kept: code(&KEPT, &newcomers.kept),
        seed: newcomers.seed,
        rows: limits().map(|(row, _)| *row).collect(),
        bins: limits().map(|(_, moment)| moment.bin).collect(),
        hashes: limits().map(|(_, moment)| moment.hash).collect(),
    }
}

fn newcomers(message: m::NewcomersMessage) -> Result<Newcomers, Reason> {
    let (rows, count) = (message.rows, message.bins.len());
    if rows.len() != count || message.hashes.len() != count {
        return Err("newcomers have lists of different lengths".to_owned());
    }
    let moments = message.bins.into_iter().zip(message.hashes);
    let moments = moments.map(|(bin, hash)| Moment { bin, hash });
    Ok(Newcomers {
        mode: value(&MODES, message.mode, "mode")?,
        kept: value(&KEPT, message.kept, "kept")?,
        seed: message.seed,
        limits: rows.into_iter().zip(moments).collect(),
    })
}

fn view(message: m::ViewMessage) -> Result<ViewOf, Reason> {
    let spec = ViewSpec {
        part: value(&SPLIT_PARTS, message.part, "part")?,
        bins: message.bins.map(|bins| bins.start..bins.end),
        hash: message.hash.map(|hash| (hash.seed, hash.start..hash.end)),
        collapse_time: message.collapse_time,
        collapse_context: message.collapse_context,
        tiles: message.tiles,
        decay: message.decay.map(|decay| Decay {
            half_life: decay.half_life,
            last_bin: decay.last_bin,
            keeps_bin: decay.keeps_bin,
        }),
        newcomers: message.newcomers.map(newcomers).transpose()?,
    };
    Ok(ViewOf {
        lineage: digest(&message.lineage)?,
        spec_hash: digest(&message.spec_hash)?,
        view: View {
            spec,
            partitions: partitions(message.partitions)?,
        },
    })
}

fn from_key(key: &ObjectKey) -> m::KeyMessage {
    match *key {
        ObjectKey::Block {
            table,
            block,
            version,
        } => m::KeyMessage::Block(m::BlockKeyMessage {
            table: table.0.into(),
            block: block.0,
            version,
        }),
        ObjectKey::Partial {
            reduction,
            level,
            index,
        } => m::KeyMessage::Partial(m::PartialKeyMessage {
            reduction,
            level: level.into(),
            index,
        }),
        ObjectKey::Sealed {
            depot,
            digest,
            bytes,
        } => m::KeyMessage::Sealed(m::SealedKeyMessage {
            depot: depot.0.into(),
            object: Some(from_sealed(&SealedRef { digest, bytes })),
        }),
    }
}

fn key(message: m::KeyMessage) -> Result<ObjectKey, Reason> {
    let small = |what: &str, value: u32| format!("a key has the impossible {what} {value}");
    Ok(match message {
        m::KeyMessage::Block(key) => ObjectKey::Block {
            table: TableId(
                key.table
                    .try_into()
                    .map_err(|_| small("table", key.table))?,
            ),
            block: BlockId(key.block),
            version: key.version,
        },
        m::KeyMessage::Partial(key) => ObjectKey::Partial {
            reduction: key.reduction,
            level: key
                .level
                .try_into()
                .map_err(|_| small("level", key.level))?,
            index: key.index,
        },
        m::KeyMessage::Sealed(key) => {
            let depot = DepotId(
                key.depot
                    .try_into()
                    .map_err(|_| small("depot", key.depot))?,
            );
            sealed(required(key.object, "object of a key")?)?.key(depot)
        }
    })
}

fn from_checkpoint(checkpoint: &Checkpoint) -> m::CheckpointMessage {
    m::CheckpointMessage {
        run: from_digest(checkpoint.run),
        epoch: checkpoint.epoch,
        program: checkpoint.program.clone(),
        state: checkpoint.state.clone(),
        objects: checkpoint
            .objects
            .iter()
            .map(|object| m::CheckpointObjectMessage {
                object: Some(from_sealed(&object.object)),
                row_bytes: object.row_bytes,
                key: Some(from_key(&object.key)),
            })
            .collect(),
        finished: checkpoint.finished,
    }
}

fn checkpoint(message: m::CheckpointMessage) -> Result<Checkpoint, Reason> {
    Ok(Checkpoint {
        run: digest(&message.run)?,
        epoch: message.epoch,
        program: message.program,
        state: message.state,
        objects: each(message.objects, |object| {
            Ok(CheckpointObject {
                key: key(required(object.key, "key of an object")?)?,
                object: sealed(required(object.object, "object of a checkpoint")?)?,
                row_bytes: object.row_bytes,
            })
        })?,
        finished: message.finished,
    })
}

fn from_model(model: &Model) -> m::ModelMessage {
    let versioned = |from: &Versioned| {
        Some(m::VersionedMessage {
            version: from.version,
            bytes: from.bytes.clone(),
        })
    };
    m::ModelMessage {
        run: from_digest(model.run),
        kind: model.kind.clone(),
        scorer: versioned(&model.scorer),
        settings: versioned(&model.settings),
        tables: model
            .tables
            .iter()
            .map(|table| m::TableMessage {
                name: table.name.clone(),
                mode: code(&Mode::ALL, &table.mode),
                rank: table.rank,
                width: table.width,
                grid: Some(from_grid(&table.grid)),
                blocks: table.blocks.iter().map(from_sealed).collect(),
            })
            .collect(),
        lineage: from_digest(model.lineage),
        factors: from_digest(model.factors),
    }
}

/// Letters, digits and underscores: exports name files by it.
fn is_name(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(known)
}

fn model(message: m::ModelMessage) -> Result<Model, Reason> {
    let versioned = |message: Option<m::VersionedMessage>, what: &str| {
        required(message, what).map(|found| Versioned {
            version: found.version,
            bytes: found.bytes,
        })
    };
    Ok(Model {
        run: digest(&message.run)?,
        kind: message.kind,
        scorer: versioned(message.scorer, "scorer")?,
        settings: versioned(message.settings, "settings")?,
        tables: each(message.tables, |table| {
            let grid = grid(table.grid)?;
            if !is_name(&table.name) {
                return Err(format!(
                    "it calls a table {:?}, which is no name",
                    table.name
                ));
            }
            if table.rank > table.width || table.blocks.len() != grid.rows.len() {
                return Err(format!("its table {} does not fit its grid", table.name));
            }
            Ok(ModelTable {
                mode: value(&Mode::ALL, table.mode, "mode")?,
                rank: table.rank,
                width: table.width,
                grid,
                blocks: each(table.blocks, sealed)?,
                name: table.name,
            })
        })?,
        lineage: digest(&message.lineage)?,
        factors: digest(&message.factors)?,
    })
}

fn from_body(body: &Body) -> m::BodyMessage {
    match body {
        Body::Term { run } => m::BodyMessage::Term(m::TermMessage {
            run: run.map_or_else(Vec::new, from_digest),
        }),
        Body::DataSet(data) if data.deltas.is_empty() => {
            m::BodyMessage::DataSet(from_data_set(data))
        }
        Body::DataSet(data) => m::BodyMessage::UpdatedDataSet(from_data_set(data)),
        Body::View(view) => m::BodyMessage::View(from_view(view)),
        Body::Checkpoint(checkpoint) => m::BodyMessage::Checkpoint(from_checkpoint(checkpoint)),
        Body::Model(model) => m::BodyMessage::Model(from_model(model)),
        Body::Withdrawal(withdrawal) => m::BodyMessage::Withdrawal(m::WithdrawalMessage {
            manifests: withdrawal.manifests.clone(),
            rows: withdrawal.rows.clone(),
            cleared: withdrawal.cleared.clone(),
        }),
    }
}

fn body(message: m::BodyMessage) -> Result<Body, Reason> {
    Ok(match message {
        m::BodyMessage::Term(term) => Body::Term {
            run: if term.run.is_empty() {
                None
            } else {
                Some(digest(&term.run)?)
            },
        },
        m::BodyMessage::DataSet(message) | m::BodyMessage::UpdatedDataSet(message) => {
            Body::DataSet(Box::new(data_set(message)?))
        }
        m::BodyMessage::View(message) => Body::View(view(message)?),
        m::BodyMessage::Checkpoint(message) => Body::Checkpoint(checkpoint(message)?),
        m::BodyMessage::Model(message) => Body::Model(model(message)?),
        m::BodyMessage::Withdrawal(message) => Body::Withdrawal(Withdrawal {
            manifests: message.manifests,
            rows: message.rows,
            cleared: message.cleared,
        }),
    })
}
