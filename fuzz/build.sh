#!/bin/sh
# Builds all targets as cargo-fuzz does with `--sanitizer none`, where there is no cargo-fuzz: coverage in all that is ours or a library's.
set -eu
cd "$(dirname "$0")"
passes="-Cpasses=sancov-module"
for argument in level=4 inline-8bit-counters pc-table trace-compares; do
    passes="$passes -Cllvm-args=-sanitizer-coverage-$argument"
done
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
RUSTFLAGS="--cfg fuzzing $passes" cargo +nightly build --release --target "$host" "$@"
