"""Training of partitions eight times as large as the budget: an epoch beside the slower of what computes it and what reads it.

    budget.py FOLDER --coordinator PROGRAM [--rows 150e6] [--share 8] [--rank 32] [--epochs 3] [--repeats 5] [--threads 2]

Generated purchases are ingested with 4 GiB, and trained on, in turns, (a) with memory for everything and the partitions in the page cache:
what an epoch computes; (b) with `--memory` of an eighth of the partitions that an epoch reads, in a memory cgroup of 256 MiB more, which the
page cache counts to: so nearly all is read from the disk again in every epoch. Between the two the partitions are read in large pieces
without the page cache: the rate of the disk. Prints the epoch (the median of all but the first ones) over max(a, bytes / rate).
256 MiB is the least budget, so fewer than some 140 million rows are read with a larger share, which is told. `--rows 150e6` takes 15 GB of
disk. Where no cgroup can be made (it takes root), the page cache is not bounded and the table says so.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

from cgroup import Group

LEAST = 256 << 20
PIECE = 8 << 20


def verb(options, job, verb, memory, group=None, **more):
    keys = {"model.rank": options.rank, "model.epochs": options.epochs, **more}
    sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    program = [options.coordinator, "--json", "--workers", "1", "--threads", str(options.threads), "--memory", str(memory)]
    enter = group.enter if group else None
    done = subprocess.run([*program, *sets, verb, job], capture_output=True, text=True, preexec_fn=enter)
    if done.returncode:
        sys.exit(f"{verb} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def epoch(report):
    """Seconds of the epochs behind the first, which also reads what was ingested."""
    epochs = [one["seconds"] for one in report["epochs"]]
    return statistics.median(epochs[1:] or epochs)


def disk_rate(folder, most):
    """Bytes a second of objects that are read from the disk itself."""
    paths = [os.path.join(folder, name) for name in os.listdir(folder)]
    paths.sort(key=os.path.getsize, reverse=True)
    read, began = 0, time.perf_counter()
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while part := os.read(file, PIECE):
            read += len(part)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)
        if read >= most:
            break
    return read / (time.perf_counter() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=os.path.abspath)
    parser.add_argument("--coordinator", required=True)
    parser.add_argument("--rows", type=lambda rows: int(float(rows)), default=150_000_000)
    parser.add_argument("--share", type=int, default=8, help="the partitions over the budget")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    shop = os.path.join(options.folder, "shop")
    os.makedirs(options.folder, exist_ok=True)
    counts = ["--users", str(max(1000, options.rows // 50)), "--products", str(max(500, options.rows // 2000)), "--days", "365"]
    generate = [options.coordinator, "generate", shop, *counts, "--interactions", str(options.rows)]
    subprocess.run(generate, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    job = os.path.join(shop, "job.toml")
    verb(options, job, "ingest", "4GiB")
    plan = verb(options, job, "plan", "4GiB")["estimate"]
    partitions = plan["read_per_epoch"]
    budget = max(LEAST, partitions // options.share)
    # Makes the views, which all courses then find.
    verb(options, job, "train", "4GiB", **{"output.model": os.path.join(options.folder, "first")})
    ours, computed, rates, peaks, plain = [], [], [], [], set()
    for _ in range(options.repeats):
        model = os.path.join(options.folder, "model")
        for tight in [False, True]:
            shutil.rmtree(model, ignore_errors=True)
            group = Group(budget + LEAST) if tight else None
            report = verb(options, job, "train", budget if tight else "8GiB", group, **{"output.model": model})
            (ours if tight else computed).append(epoch(report))
            if group:
                peaks.append(group.peak() or 0)
                plain.update([group.why] if group.why else [])
                group.remove()
        rates.append(disk_rate(os.path.join(shop, "strata", "data", "objects"), partitions))
    shutil.rmtree(options.folder)
    epoch_seconds, work, rate = (statistics.median(of) for of in (ours, computed, rates))
    reading = partitions / rate
    print(f"{options.rows / 1e6:,g} M rows, rank {options.rank}; an epoch reads {partitions / 1e6:,.0f} MB, the budget is "
          f"{budget / 2**20:,.0f} MiB, {partitions / budget:.1f} times less\n")
    print("| an epoch, s | computing alone, s | reading alone, s | disk, MB/s | over the slower | most of the group |\n|---|---|---|---|---|---|")
    print(f"| {epoch_seconds:.2f} ({min(ours):.2f} to {max(ours):.2f}) | {work:.2f} | {reading:.2f} | {rate / 1e6:,.0f} "
          f"| {epoch_seconds / max(work, reading):.2f} | {max(peaks) / 2**20:,.0f} MiB |")
    for why in sorted(plain):
        print(f"\n{why}")


if __name__ == "__main__":
    main()
