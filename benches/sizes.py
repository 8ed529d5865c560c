"""What an interaction costs from 10 M to 1 billion of them: generates, ingests and trains an epoch of each size in a memory cgroup.

    sizes.py FOLDER --coordinator PROGRAM [--rows 10e6,30e6,100e6,300e6,1e9] [--rank 32] [--memory 4GiB] [--limit 4.25] [--threads 2]

Prints a table in Markdown. Each size is removed before the next. The disk that the largest needs is said before anything begins, and
where there is less, nothing begins. Where none can be made (it takes root) the sizes run without the group's limit, and the table says so.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading

from cgroup import Group

# Bytes a row on disk at most, all at once: Parquet, runs of the sort beside what they become, two orientations, the training view.
DISK_PER_ROW = 100
# Beside it: dictionaries, factors, their durable copies.
DISK_BESIDE = 2 << 30


class Disk:
    """How much less was free at one time than when it began, looked at twice a second: what a size has on disk at most."""

    def __init__(self, folder):
        self.folder, self.free, self.least, self.done = folder, shutil.disk_usage(folder).free, None, threading.Event()
        self.least = self.free
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self):
        while not self.done.wait(0.5):
            self.least = min(self.least, shutil.disk_usage(self.folder).free)

    def taken(self):
        self.done.set()
        self.thread.join()
        return self.free - self.least


def size_of(folder):
    return sum(
        os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(folder) for name in names
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder")
    arguments.add_argument("--coordinator", required=True)
    arguments.add_argument("--rows", default="10e6,30e6,100e6,300e6,1e9")
    arguments.add_argument("--rank", type=int, default=32)
    arguments.add_argument("--memory", default="4GiB")
    arguments.add_argument("--limit", type=float, default=4.25, help="GiB of the cgroup")
    arguments.add_argument("--threads", default="2")
    given = arguments.parse_args()
    sizes = [int(float(rows)) for rows in given.rows.split(",")]
    if min(sizes) < 1:
        sys.exit("--rows: give numbers of rows above 0, as in 10e6,100e6")
    os.makedirs(given.folder, exist_ok=True)
    needed = max(sizes) * DISK_PER_ROW + DISK_BESIDE
    free = shutil.disk_usage(given.folder).free
    print(f"{max(sizes):,} rows need up to {needed / 1e9:.0f} GB of disk at once; {free / 1e9:.0f} GB are free", file=sys.stderr)
    if free < needed:
        most = max(0, (free - DISK_BESIDE) // DISK_PER_ROW)
        sys.exit(f"too little disk: free some, or give --rows up to {most:,}")
    limit = int(given.limit * (1 << 30))
    lines, first, plain = [], None, set()
    for rows in sizes:
        work = os.path.join(given.folder, f"rows-{rows}")
        shutil.rmtree(work, ignore_errors=True)
        # The shape of a billion purchases, 20 M users of 500,000 products, grown as sizes grow.
        disk = Disk(given.folder)
        counts = ["--users", str(max(1000, rows // 50)), "--products", str(max(500, rows // 2000)), "--days", "365"]
        generate = [given.coordinator, "generate", work, *counts, "--interactions", str(rows)]
        subprocess.run(generate, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        job = os.path.join(work, "job.toml")
        input_bytes = size_of(os.path.join(work, "interactions"))

        def verb(name):
            group = Group(limit)
            if group.why:
                plain.add(group.why)
            settings = ["--set", f"model.rank={given.rank}", "--set", "model.epochs=1", "--threads", given.threads]
            command = [given.coordinator, "--json", "--memory", given.memory, *settings, name, job]
            done = subprocess.run(command, capture_output=True, text=True, preexec_fn=group.enter)
            peak = group.peak()
            group.remove()
            if done.returncode:
                sys.exit(f"{name} of {rows:,} rows ended with {done.returncode}: {done.stdout}{done.stderr}")
            return json.loads(done.stdout), peak

        ingest, ingest_peak = verb("ingest")
        planned = json.loads(
            subprocess.run(
                [given.coordinator, "--json", "--memory", given.memory, "--set", f"model.rank={given.rank}", "plan", job],
                check=True, capture_output=True, text=True,
            ).stdout
        )["estimate"]
        train, train_peak = verb("train")
        interactions = ingest["interactions"]
        epoch = train["epochs"][-1]["seconds"]
        kept = size_of(os.path.join(work, "strata"))
        cost = epoch / interactions * 1e9
        first = first or cost
        group_peak = max(ingest_peak or 0, train_peak or 0)
        lines.append(
            f"| {rows / 1e6:,.0f} M | {interactions / 1e6:,.1f} M | {rows / ingest['seconds'] / 1e6:.2f} M | {epoch:.1f} | {cost:.0f} "
            f"| {cost / first:.2f} | {input_bytes / rows:.1f} | {kept / interactions:.1f} | {disk.taken() / rows:.1f} | "
            f"{max(ingest['peak_anonymous_bytes'], train['peak_anonymous_bytes']) / 2**30:.2f} GiB "
            f"| {f'{group_peak / 2**30:.2f} GiB' if group_peak else '-'} | {planned['epoch_seconds'] / epoch:.2f} |"
        )
        print(lines[-1], file=sys.stderr)
        shutil.rmtree(work)
    print("| rows | interactions | ingest, rows/s | epoch, s | ns an interaction | of the first | bytes a row of Parquet "
          "| bytes on disk an interaction | bytes of disk a row at most | anonymous peak | peak of the group | epoch as planned |")
    print("|" + "---|" * 12)
    print("\n".join(lines))
    for why in sorted(plain):
        print(f"\n{why}")


if __name__ == "__main__":
    main()
