//! The machine: `[run]`.

use super::{Key, choice, count, real, text, with_default, with_flag};
use crate::job::value::Shape;

pub(super) const KEYS: &[Key] = &[
    with_flag(
        with_default(
            text(
                "run.workers",
                "A number of workers inside this process, addresses of daemons (HOST:PORT,...), dns://SERVICE:PORT, or file:///PATH with an address a line.",
            ),
            "1",
        ),
        "workers",
    ),
    Key {
        path: "run.memory",
        shape: Shape::Size,
        default: None,
        flag: Some("memory"),
        help: "The memory of each process, as in 8GiB; at least 256MiB. Absent: 60 % of what the machine or its cgroup allows.",
    },
    with_flag(
        count(
            "run.threads",
            1,
            4096,
            None,
            "Compute threads of each embedded worker. Absent: the cores, shared out.",
        ),
        "threads",
    ),
    with_flag(
        choice(
            "run.io",
            &["mmap", "pread"],
            "mmap",
            "How sealed files are read.",
        ),
        "io",
    ),
    with_flag(
        choice(
            "run.simd",
            &["auto", "avx512", "avx2", "portable"],
            "auto",
            "The instructions of the kernels; `auto` takes the widest that the machine has.",
        ),
        "simd",
    ),
    with_flag(
        text(
            "run.scratch",
            "The directory for caches and spilled blocks of embedded workers. Absent: one in the temporary directory, removed at the end; a data set on the same disk is then read where it lies, without a copy.",
        ),
        "scratch",
    ),
    count(
        "run.checkpoint_epochs",
        1,
        100_000,
        Some("1"),
        "A checkpoint after so many epochs at the earliest; the last epoch always has one.",
    ),
    count(
        "run.checkpoint_percent",
        1,
        100,
        Some("5"),
        "The most of the time that may pass while a checkpoint is made: after one that took a second, the next begins 19 seconds later at the earliest, or 24 until the first and the last, which are always made, are made up for. 100: one after every `checkpoint_epochs`.",
    ),
    real(
        "run.ingest_checkpoint_seconds",
        0.0,
        1e9,
        Some("60"),
        "An ingest keeps what it has done beside the data set after so many seconds at the earliest, and goes on there after a fall. 0: never.",
    ),
    with_flag(
        real(
            "run.verify_fraction",
            0.0,
            1.0,
            Some("0"),
            "The share of tasks that a second worker computes as well, to compare: of three results the one that differs shuts its worker out of the run. 1 takes twice as long, and lets nothing through that one machine gets wrong.",
        ),
        "verify-fraction",
    ),
    count(
        "run.slow_factor",
        0,
        1000,
        Some("3"),
        "A task that takes so many times as long as others of its step, by their cost, and a second more, is given to an idle worker as well, and the first result counts. 0: never.",
    ),
    with_flag(
        text(
            "run.trace",
            "Write what every worker did and when to this file, for a viewer of Chrome traces.",
        ),
        "trace",
    ),
    with_flag(
        text(
            "run.trace_endpoint",
            "Tell a collector of OpenTelemetry what every worker did and when: the URL at which it takes OTLP over HTTP, as http://localhost:4318 (docs/operations.md). Absent: nobody.",
        ),
        "trace-endpoint",
    ),
    with_flag(
        text(
            "run.http",
            "Show the run while it goes on at this HOST:PORT: a page for people, /metrics, /status.json, /healthz and /readyz (docs/live.md). Absent: nowhere.",
        ),
        "http",
    ),
    with_flag(
        text(
            "run.tls",
            "A folder with ca.crt, tls.crt and tls.key, as `coordinator tls init` makes them: daemons are reached over TLS, and each end shows who it is. Absent: nothing is encrypted.",
        ),
        "tls",
    ),
    with_flag(
        with_default(
            text(
                "run.log",
                "What to log to stderr: error, warn, info, debug, trace, or a filter such as `warn,plan=debug`.",
            ),
            "warn",
        ),
        "log",
    ),
];
