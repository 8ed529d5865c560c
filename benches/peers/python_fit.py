"""The package beside the command line and beside implicit, each in a process of its own, in turns.

    python_fit.py MATRIX.parquet FOLDER --coordinator PROGRAM [--rank 64] [--epochs 3] [--repeats 5] [--parts arrow,strings]

MATRIX.parquet is what `generate-matrix` writes. `arrow`: `fit` of a table that lies in memory beside `ingest` and `train` of the file.
`strings`: `fit` of a data frame of pandas with ids of text beside implicit's, which numbers them first (`pandas.factorize`) and makes
its matrix; both are counted from the data frame to the fitted model, implicit with as many iterations. Seconds are medians, memory is
the most anonymous memory of the process while it fits, less what it had before (its data). Two threads a side; seconds of processors,
the system's included, stand beside, which other work on the machine changes less. Needs the package, built for release, and
requirements.txt with pandas.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time

SETTINGS = {"alpha": 1.0, "regularization": 1.0, "nu": 0.0}


def anonymous():
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("RssAnon")).split()[1]) * 1024


class Watched:
    """Seconds within, and by how much anonymous memory grew at most."""

    def __enter__(self):
        self.before = self.most = anonymous()
        self.ended = threading.Event()
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()
        self.processors = time.process_time()
        self.began = time.perf_counter()
        return self

    def watch(self):
        while not self.ended.wait(0.02):
            self.most = max(self.most, anonymous())

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.began
        self.processors = time.process_time() - self.processors
        self.ended.set()
        self.watcher.join()
        self.most = max(self.most, anonymous())

    def figures(self, **more):
        return {"seconds": self.seconds, "processors": self.processors, "bytes": self.most - self.before, **more}


def matrix(path, strings):
    """Users, products and values: numbers, or text of some ten characters for the first two."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet

    table = pa.parquet.read_table(path, columns=["user", "product", "value"])
    if strings:
        for place, (name, prefix) in enumerate([("user", "household-"), ("product", "article-")]):
            text = pc.binary_join_element_wise(prefix, pc.cast(table[name], pa.string()), "")
            table = table.set_column(place, name, text)
    return table.combine_chunks()


def fit(options, frame):
    import strata

    model = strata.ALS(rank=options.rank, epochs=options.epochs, preset="hu", threads=2, progress=False, **SETTINGS)
    with Watched() as watched:
        model.fit(frame, value="value", duplicates="sum")
    return watched.figures(digest=model.digest)


def with_implicit(options, frame):
    import numpy as np
    import pandas
    import scipy.sparse
    import threadpoolctl
    from implicit.cpu.als import AlternatingLeastSquares

    # As it asks for.
    threadpoolctl.threadpool_limits(1, "blas")
    with Watched() as watched:
        users, _ = pandas.factorize(frame["user"])
        products, _ = pandas.factorize(frame["product"])
        values = 1.0 + frame["value"].to_numpy(dtype=np.float32)
        counts = scipy.sparse.coo_matrix((values, (users, products))).tocsr()
        model = AlternatingLeastSquares(
            factors=options.rank, regularization=1.0, alpha=1.0, iterations=options.epochs, num_threads=2, random_state=0
        )
        model.fit(counts, show_progress=False)
    return watched.figures()


def one(options):
    """What a process of its own measures."""
    if options.side == "arrow":
        return fit(options, matrix(options.matrix, strings=False))
    frame = matrix(options.matrix, strings=True).to_pandas()
    return fit(options, frame) if options.side == "pandas" else with_implicit(options, frame)


def command_line(options):
    place = os.path.join(options.folder, "line")
    subprocess.run(["rm", "-rf", place], check=True)
    os.makedirs(place)
    job = os.path.join(place, "empty.toml")
    open(job, "w").close()
    keys = {
        "input.files": os.path.abspath(options.matrix), "input.user": "user", "input.product": "product", "input.value": "value",
        "input.duplicates": "sum", "model.preset": "hu", "model.rank": options.rank, "model.epochs": options.epochs,
        "output.data": os.path.join(place, "data"), "output.model": os.path.join(place, "model"),
        **{f"model.{key}": value for key, value in SETTINGS.items()},
    }
    sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    began, spent, most = time.perf_counter(), of_children(), 0
    for verb in ["ingest", "train"]:
        program = [options.coordinator, "--json", "--workers", "1", "--threads", "2", verb, job, *sets]
        report = json.loads(subprocess.run(program, check=True, capture_output=True, text=True).stdout)
        most = max(most, report["peak_anonymous_bytes"])
    return {
        "seconds": time.perf_counter() - began, "processors": of_children() - spent, "bytes": most, "digest": report["digest"],
    }


def of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measured(options, side):
    if side == "line":
        return command_line(options)
    program = [sys.executable, __file__, *sys.argv[1:], "--side", side]
    return json.loads(subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("matrix")
    parser.add_argument("folder")
    parser.add_argument("--coordinator", required=True)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--parts", default="arrow,strings")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(one(options)))
        return
    for part in options.parts.split(","):
        sides = {"arrow": ["line", "arrow"], "strings": ["implicit", "pandas"]}[part]
        runs = {side: [] for side in sides}
        for _ in range(options.repeats):
            for side in sides:
                runs[side].append(measured(options, side))
        for side, found in runs.items():
            seconds, spent, most = ([run[what] for run in found] for what in ("seconds", "processors", "bytes"))
            print(
                f"{side}: median {statistics.median(seconds):.2f} s, from {min(seconds):.2f} to {max(seconds):.2f}; "
                f"processors {statistics.median(spent):.2f} s; {statistics.median(most) / 1e6:.0f} MB",
                flush=True,
            )
        digests = {run["digest"] for found in runs.values() for run in found if "digest" in run}
        assert len(digests) == 1, f"{part}: {digests}"


if __name__ == "__main__":
    main()
