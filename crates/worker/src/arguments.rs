//! The command line of the daemon, where its program and the manual find it.

use clap::Parser;
use std::path::PathBuf;
use tensor::ByteSize;
use wire::settings::NEW_CONNECTIONS_A_SECOND;

/// Serves jobs of a Strata coordinator: computes tasks, holds blocks in memory, hands them to its peers.
///
/// A worker keeps nothing that cannot be made or fetched again: its directory may be wiped between runs.
/// On SIGTERM it finishes the tasks in progress, stays readable until the coordinator lets it go (30
/// seconds at most) and exits with 143.
#[derive(Debug, Parser)]
#[command(name = "worker", version)]
pub struct Arguments {
    /// Where to listen, as in 127.0.0.1:7001; port 0 takes any free one. The address is printed on stderr.
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "STRATA_LISTEN",
        default_value = "127.0.0.1:0"
    )]
    pub listen: String,

    /// Where to answer probes and scrapers over plain HTTP: /healthz, /readyz, /metrics, /status.json. Absent: nowhere.
    #[arg(long, value_name = "HOST:PORT", env = "STRATA_HTTP")]
    pub http: Option<String>,

    /// A directory of this worker alone, for sealed files and spilled blocks; made if it is not there.
    #[arg(long, value_name = "DIR", env = "STRATA_DATA")]
    pub data: PathBuf,

    /// The anonymous memory it may use, as in 8GiB; at least 256MiB.
    #[arg(
        long,
        value_name = "SIZE",
        env = "STRATA_MEMORY",
        default_value = "2GiB"
    )]
    pub memory: ByteSize,

    /// The most its directory may hold; what is needed least recently goes first.
    #[arg(
        long,
        value_name = "SIZE",
        env = "STRATA_DISK",
        default_value = "100GiB"
    )]
    pub disk: ByteSize,

    /// Compute threads; without it, one for each core.
    #[arg(long, value_name = "N", env = "STRATA_THREADS", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub threads: Option<u32>,

    /// How sealed files are read. The results are the same.
    #[arg(long, value_name = "MODE", default_value = "mmap", value_parser = ["mmap", "pread"])]
    pub io: String,

    /// The instructions of the kernels. The results are the same.
    #[arg(long, value_name = "PATH", default_value = "auto", value_parser = ["auto", "avx512", "avx2", "portable"])]
    pub simd: String,

    /// A folder with ca.crt, tls.crt and tls.key, as `coordinator tls init` makes them: only who has a certificate of the same authority
    /// is served. New files are taken from the next connection on.
    #[arg(long, value_name = "DIR", env = "STRATA_TLS")]
    pub tls: Option<PathBuf>,

    /// Listen beyond loopback although nothing is encrypted and nobody is asked who he is.
    #[arg(long, env = "STRATA_INSECURE")]
    pub insecure: bool,

    /// New connections that one address may make in a second; what is beyond is closed at once. All addresses together may make four
    /// times as many, and what is beyond waits. Connections that are open do not count.
    #[arg(
        long,
        value_name = "N",
        env = "STRATA_CONNECTIONS_PER_SECOND",
        default_value_t = NEW_CONNECTIONS_A_SECOND,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub connections_per_second: u32,

    /// End at once when standard input ends: whoever started the worker holds its other end, and when he goes, however he goes, so
    /// does the worker.
    #[arg(long)]
    pub until_stdin_ends: bool,

    /// What to log on stderr, as in info or worker=debug.
    #[arg(
        long,
        value_name = "FILTER",
        env = "STRATA_LOG",
        default_value = "info"
    )]
    pub log: String,

    /// How lines of the log look: text for people, json for programs (one object a line).
    #[arg(long, value_name = "FORM", env = "STRATA_LOG_FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub log_format: String,
}
