//! What to read: `[input]` and its tables.

use super::{Key, choice, count, text, texts, with_default};
use crate::job::value::Shape;

pub(super) const KEYS: &[Key] = &[
    texts(
        "input.files",
        "Parquet files, directories of them (with all that lies below, as `day=2026-01-01/part-0.parquet`), globs (`*`, `?`, `**`), or URLs (`s3://`, `gs://`, `az://`, `https://`; one that ends with a slash is a directory). Needed to ingest.",
    ),
    text(
        "input.user",
        "The column of user ids: integers, text or bytes. Needed to ingest.",
    ),
    text(
        "input.product",
        "The column of product ids: integers, text or bytes. Needed to ingest.",
    ),
    text(
        "input.time",
        "The column of times: dates, timestamps, or integers (seconds since 1970 UTC). Folders may tell it instead, as `day=2026-01-01`. Absent: no time.",
    ),
    choice(
        "input.time_bin",
        &["hour", "day", "week", "month", "quarter", "none"],
        "week",
        "The width of a bin of time, in UTC; weeks start on Monday. Read only where `time` names a column.",
    ),
    text(
        "input.from",
        "Rows before this time are left out: a day (YYYY-MM-DD, in UTC), or a number where times are integers. Folders and row groups without a \
         wanted row are not read.",
    ),
    text(
        "input.until",
        "Rows from this time on are left out: `from = \"2025-01-01\"` and `until = \"2026-01-01\"` leave a year.",
    ),
    text(
        "input.context",
        "The column of contexts, as the store or the channel: integers, text or bytes, at most 65,536 of them. Absent: no context, \
         unless `context_cycle` makes one.",
    ),
    choice(
        "input.context_cycle",
        &["none", "hour-of-day", "day-of-week", "month-of-year"],
        "none",
        "A context from the times instead of a column: the place of each in a cycle, in UTC. Needs `time` and a `time_bin`.",
    ),
    text(
        "input.value",
        "The column of values: integers, floats or decimals. Absent: every row counts 1.",
    ),
    text(
        "input.event",
        "The column of events, text or integers: what a row is, a view or a purchase. Needs `event_weights`.",
    ),
    Key {
        path: "input.event_weights",
        shape: Shape::Weights,
        default: None,
        flag: None,
        help: "What each event counts: values (1 without a column of values) are multiplied by it before duplicates are combined. \
               An event that is not named is a bad row.",
    },
    choice(
        "input.negative",
        &["refuse", "net"],
        "refuse",
        "Values below 0, as of returns, for models that weigh by values: bad rows, or `net`: taken off the other values of the pair \
         by every view; pairs that come to 0 or less are left out. Needs `duplicates` = \"sum\".",
    ),
    choice(
        "input.duplicates",
        &["sum", "max", "last", "count"],
        "count",
        "What becomes of several rows of one user, product, bin and context. `count` counts rows (by their events' weights) and reads no values.",
    ),
    choice(
        "input.on_bad_row",
        &["reject", "skip"],
        "reject",
        "Null ids, values that are not finite or not allowed, unreadable times: fail at the first, or leave out and count.",
    ),
    texts(
        "input.user_attributes.files",
        "Parquet files, directories of them, or globs. Without them there are no attributes of users.",
    ),
    text(
        "input.user_attributes.id",
        "The column of user ids in them. Absent: the name that `input.user` gives.",
    ),
    texts(
        "input.user_attributes.columns",
        "The columns to take. Absent: all others.",
    ),
    texts(
        "input.user_attributes.categorical",
        "Columns of integers that are names (codes, numbers of shops) and not quantities.",
    ),
    count(
        "input.user_attributes.max_levels",
        1,
        65_536,
        Some("100"),
        "Levels that an attribute keeps, the most frequent ones; all rarer ones together become one more.",
    ),
    count(
        "input.user_attributes.max_columns",
        1,
        65_536,
        Some("512"),
        "Columns that all attributes may take: one a number, one a level. More are refused.",
    ),
    texts(
        "input.product_attributes.files",
        "Parquet files, directories of them, or globs. Without them there are no attributes of products.",
    ),
    text(
        "input.product_attributes.id",
        "The column of product ids in them. Absent: the name that `input.product` gives.",
    ),
    texts(
        "input.product_attributes.columns",
        "The columns to take. Absent: all others.",
    ),
    texts(
        "input.product_attributes.categorical",
        "Columns of integers that are names (codes, numbers of shops) and not quantities.",
    ),
    count(
        "input.product_attributes.max_levels",
        1,
        65_536,
        Some("100"),
        "Levels that an attribute keeps, the most frequent ones; all rarer ones together become one more.",
    ),
    count(
        "input.product_attributes.max_columns",
        1,
        65_536,
        Some("512"),
        "Columns that all attributes may take: one a number, one a level. More are refused.",
    ),
    texts(
        "input.user_edges.files",
        "Parquet files, directories of them, or globs. Without them there are no edges between users.",
    ),
    with_default(
        text(
            "input.user_edges.from",
            "The column of the users that take from others: of those who follow.",
        ),
        "from",
    ),
    with_default(
        text(
            "input.user_edges.to",
            "The column of the users that they take from: of those who are followed.",
        ),
        "to",
    ),
    text(
        "input.user_edges.weight",
        "The column of weights, 0 or more, added up where an edge stands several times. Absent: each edge weighs 1, however often it \
         stands.",
    ),
    Key {
        path: "input.user_edges.directed",
        shape: Shape::Flag,
        default: Some("false"),
        flag: None,
        help: "Whether edges lead one way, from `from` to `to`. Else each is also one back, and need stand only once.",
    },
    texts(
        "input.product_edges.files",
        "Parquet files, directories of them, or globs. Without them there are no edges between products.",
    ),
    with_default(
        text(
            "input.product_edges.from",
            "The column of the products that take from others: of those who follow.",
        ),
        "from",
    ),
    with_default(
        text(
            "input.product_edges.to",
            "The column of the products that they take from: of those who are followed.",
        ),
        "to",
    ),
    text(
        "input.product_edges.weight",
        "The column of weights, 0 or more, added up where an edge stands several times. Absent: each edge weighs 1, however often it \
         stands.",
    ),
    Key {
        path: "input.product_edges.directed",
        shape: Shape::Flag,
        default: Some("false"),
        flag: None,
        help: "Whether edges lead one way, from `from` to `to`. Else each is also one back, and need stand only once.",
    },
];
