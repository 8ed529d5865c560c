//! What this machine can do at most, by the processor time that it gave.

use kernels::Simd;
use std::time::Instant;

/// GFLOP/s of all threads together by their processor time, the best of five.
pub fn peak(simd: Simd, threads: usize) -> f64 {
    const ROUNDS: u64 = if cfg!(debug_assertions) {
        20_000
    } else {
        20_000_000
    };
    let one = || {
        let (start, before) = (Instant::now(), processor_seconds());
        let (done, sum) = kernels::peak::multiply_add(simd, ROUNDS);
        assert!(sum.is_finite());
        let spent = processor_seconds() - before;
        done as f64
            / if spent > 0.0 {
                spent
            } else {
                start.elapsed().as_secs_f64()
            }
            / 1e9
    };
    let together = || -> f64 {
        std::thread::scope(|scope| {
            let started: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
            started
                .into_iter()
                .map(|thread| thread.join().expect("a thread"))
                .sum()
        })
    };
    (0..5).map(|_| together()).fold(0.0, f64::max)
}

/// Processor seconds of this thread so far, where the system tells: what neighbours do not disturb.
pub fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|word| word.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1e9
}
