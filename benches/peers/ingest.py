"""Ingest beside the same work in polars and duckdb: purchases in Parquet to numbered ids and sums, sorted two ways and written.

    ingest.py FOLDER --coordinator PROGRAM [--rows 20e6] [--ids integer,text] [--engines ours,polars,duckdb] [--repeats 5]
              [--threads 2] [--memory 4GiB]

The work: number users and products by their count of rows, the most frequent first; group by user, product and day, with the sum of
quantities; write that in the order (user, product, day) and in the order (product, user, day), and force it to the disk. Ours seals it as
the partitions and dictionaries of a data set, polars writes Arrow IPC without compression by its streaming engine, duckdb Parquet without
compression. `--memory` is a bound of ours and of duckdb (which spills, too); polars has none. Each runs in a process of its own, in
turns; seconds are from its start to its end, memory is the most anonymous memory that it was seen with, every 20 ms. Medians, and ratios
to ours; the counts of interactions must agree. Needs requirements.txt. `--rows 200e6` takes 20 GB of disk.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time

COLUMNS = ["user", "product"]


def synced(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def with_polars(options):
    import polars as pl

    rows = pl.scan_parquet(os.path.join(options.folder, "interactions", "*.parquet"))
    for name in COLUMNS:
        ids = rows.group_by(name).len().sort(["len", name], descending=[True, False]).collect(engine="streaming")
        ids = ids.select(pl.col(name), pl.int_range(pl.len(), dtype=pl.UInt32).alias(f"{name}_row"))
        ids.write_ipc(os.path.join(options.out, f"{name}.arrow"))
        rows = rows.join(ids.lazy(), on=name)
    key = ["user_row", "product_row", "day"]
    sums = rows.group_by(key).agg(pl.col("quantity").cast(pl.Float32).sum()).collect(engine="streaming")
    for order in [key, ["product_row", "user_row", "day"]]:
        sums.lazy().sort(order).sink_ipc(os.path.join(options.out, f"by_{order[0]}.arrow"), compression="uncompressed")
    return sums.height


def with_duckdb(options):
    import duckdb

    connection = duckdb.connect()
    spill = os.path.join(options.out, "spill")
    for setting in [
        f"threads = {options.threads}",
        f"memory_limit = '{options.memory}'",
        f"temp_directory = '{spill}'",
        "preserve_insertion_order = false",
    ]:
        connection.execute(f"SET {setting}")
    files = os.path.join(options.folder, "interactions", "*.parquet")
    for name in COLUMNS:
        connection.execute(
            f"CREATE TABLE {name}s AS SELECT {name}, (row_number() OVER (ORDER BY count(*) DESC, {name}) - 1)::UINTEGER AS {name}_row "
            f"FROM '{files}' GROUP BY {name}"
        )
        connection.execute(f"COPY {name}s TO '{options.out}/{name}.parquet' (COMPRESSION uncompressed)")
    connection.execute(
        f"CREATE TABLE sums AS SELECT user_row, product_row, day, sum(quantity)::FLOAT AS quantity FROM '{files}' "
        "JOIN users USING (user) JOIN products USING (product) GROUP BY ALL"
    )
    for first, second in [("user_row", "product_row"), ("product_row", "user_row")]:
        connection.execute(
            f"COPY (SELECT * FROM sums ORDER BY {first}, {second}, day) TO '{options.out}/by_{first}.parquet' (COMPRESSION uncompressed)"
        )
    return connection.execute("SELECT count(*) FROM sums").fetchone()[0]


def with_peer(options):
    """What a process of its own does; prints how many interactions it found."""
    found = {"polars": with_polars, "duckdb": with_duckdb}[options.engine](options)
    for name in os.listdir(options.out):
        if os.path.isfile(os.path.join(options.out, name)):
            synced(os.path.join(options.out, name))
    print(json.dumps({"interactions": found}))


def anonymous(process):
    try:
        with open(f"/proc/{process}/status") as status:
            line = next((line for line in status if line.startswith("RssAnon")), "RssAnon: 0 kB")
            return int(line.split()[1]) * 1024
    except OSError:
        return 0


def watched(command, environment):
    """Seconds of a process, the most anonymous memory that it was seen with, and its last line."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    most = 0
    while True:
        most = max(most, anonymous(process.pid))
        try:
            process.wait(timeout=0.02)
            break
        except subprocess.TimeoutExpired:
            pass
    seconds = time.perf_counter() - began
    said = process.stdout.read()
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}: {said}")
    return seconds, most, json.loads(said)["interactions"]


def run(options, engine, folder):
    out = os.path.join(folder, "out")
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    environment = dict(os.environ, POLARS_MAX_THREADS=str(options.threads))
    if engine == "ours":
        keys = {"input.time_bin": "day", "input.value": "quantity", "input.duplicates": "sum", "output.data": out}
        sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
        command = [options.coordinator, "--json", "--workers", "1", "--threads", str(options.threads), "--memory", options.memory]
        command += [*sets, "ingest", os.path.join(folder, "job.toml")]
    else:
        command = [sys.executable, __file__, folder, "--coordinator", options.coordinator, "--engine", engine, "--out", out]
        command += ["--threads", str(options.threads), "--memory", options.memory]
    found = watched(command, environment)
    shutil.rmtree(out)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--coordinator", required=True)
    parser.add_argument("--rows", type=lambda rows: int(float(rows)), default=20_000_000)
    parser.add_argument("--ids", default="integer,text")
    parser.add_argument("--engines", default="ours,polars,duckdb")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", default="4GiB")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        with_peer(options)
        return
    if not re.fullmatch(r"\d+[KMGT]iB", options.memory):
        sys.exit("--memory: give a number and KiB, MiB, GiB or TiB, as in 4GiB, which all engines understand")
    os.makedirs(options.folder, exist_ok=True)
    engines = options.engines.split(",")
    lines = []
    for ids in options.ids.split(","):
        folder = os.path.join(options.folder, f"{ids}-{options.rows}")
        counts = ["--users", str(max(1000, options.rows // 50)), "--products", str(max(500, options.rows // 2000)), "--days", "365"]
        generate = [options.coordinator, "generate", folder, *counts, "--interactions", str(options.rows), "--ids", ids, "--quantity", "3"]
        subprocess.run(generate, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        runs = {engine: [] for engine in engines}
        for _ in range(options.repeats):
            for engine in engines:
                runs[engine].append(run(options, engine, folder))
        shutil.rmtree(folder)
        found = {interactions for measured in runs.values() for *_, interactions in measured}
        if len(found) != 1:
            sys.exit(f"the engines do not agree on the number of interactions: {found}")
        base = statistics.median(seconds for seconds, *_ in runs[engines[0]])
        for engine, measured in runs.items():
            seconds = [seconds for seconds, *_ in measured]
            middle, most = statistics.median(seconds), statistics.median(most for _, most, _ in measured)
            lines.append(
                f"| {options.rows / 1e6:,g} M, {ids} | {engine} | {middle:.2f} ({min(seconds):.2f} to {max(seconds):.2f}) "
                f"| {middle / base:.2f} | {options.rows / middle / 1e6:.2f} M | {most / 2**20:,.0f} MiB |"
            )
            print(lines[-1], file=sys.stderr)
    print(f"| rows, ids | engine | seconds | over {engines[0]} | rows/s | anonymous memory |\n|---|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
