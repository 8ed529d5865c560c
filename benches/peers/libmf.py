"""libmf beside ours on ratings: the error on held-out ratings by seconds of training.

    libmf.py FOLDER --coordinator PROGRAM [--ranks 16,32,64] [--epochs 15] [--parts libmf,sgd,als] [--repeats 3]

FOLDER holds planted ratings (planted.py FOLDER) or others in the same two forms; the source, the build and our outputs go there
too. libmf is built at a pinned commit with AVX. Both sides have two threads and the same grid of λ and rates; every setting
runs once with the test part, for the error after each epoch, and `repeats` times without, for the seconds of each, so that
measuring costs nobody. Reading is left out on both sides: libmf parses text, ours reads a sealed data set.
"""

import argparse
import itertools
import json
import os
import re
import statistics
import subprocess
import time

from fetching import checkout, run

REPOSITORY = "https://github.com/cjlin1/libmf"
COMMIT = "1498368"
LAMBDAS, RATES = [0.03, 0.05, 0.1], [0.05, 0.1]


def build(folder, repository):
    source = checkout(repository, COMMIT, os.path.join(folder, "libmf"))
    program = os.path.join(source, "mf-train")
    if not os.path.exists(program):
        run("make", "-C", source, "mf-train", "DFLAG=-DUSEAVX -DUSEOMP", "OMPFLAG=-fopenmp -mavx")
    return program


def libmf(options, program, rank, regularization, rate, measured):
    """Of each epoch the error (where measured) or the seconds."""
    words = [program, "-f", "0", "-s", "2", "-k", str(rank), "-t", str(options.epochs), "-r", str(rate)]
    words += ["-l2", str(regularization)]
    words += ["-p", os.path.join(options.folder, "test.txt")] if measured else []
    words += [os.path.join(options.folder, "train.txt"), "/dev/null"]
    marks, errors = [], []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        for line in process.stdout:
            marks.append(time.perf_counter())
            numbers = re.findall(r"[\d.e+]+", line)
            if measured and line.split()[0].isdigit():
                errors.append(float(numbers[2]))
    # The first line is the head of the table, printed when training begins.
    return errors if measured else [b - a for a, b in zip(marks, marks[1:])][: options.epochs]


def ours(options, kind, rank, regularization, rate, measured):
    """The same of ours."""
    keys = {
        "input.files": os.path.join(options.folder, "train.parquet"), "input.user": "user", "input.product": "product",
        "input.value": "value", "input.duplicates": "last", "output.data": os.path.join(options.folder, "data"),
        "output.model": os.path.join(options.folder, "model"), "model.rank": rank, "model.epochs": options.epochs,
        "model.regularization": regularization, "model.kind": kind,
    }
    keys |= {"model.loss": "squared", "model.rate": rate} if kind == "sgd" else {"model.preset": "explicit", "model.center": "true"}
    if measured:
        keys["split.validation_files"] = os.path.join(options.folder, "test.parquet")
        # A data set is of its split.
        keys["output.data"] += "-measured"
    subprocess.run(["rm", "-rf", keys["output.model"]], check=True)
    job = os.path.join(options.folder, "empty.toml")
    open(job, "w").close()
    sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    run(options.coordinator, "--json", "--workers", "1", "ingest", job, *sets)
    epochs = json.loads(run(options.coordinator, "--json", "--workers", "1", "train", job, *sets))["epochs"]
    return [epoch["metrics"]["rmse"] if measured else epoch["seconds"] for epoch in epochs]


def curve(options, side, *setting):
    """Errors, and the median seconds until them, of a setting."""
    errors = side(*setting, True)
    runs = [side(*setting, False) for _ in range(options.repeats)]
    # Ours reads and checks its files in the first epoch, which text readers do before: the median stands for it.
    seconds = [statistics.median(column) for column in zip(*runs)]
    seconds[0] = statistics.median(seconds[1:])
    return errors, list(itertools.accumulate(seconds)), statistics.median(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--coordinator", required=True)
    parser.add_argument("--ranks", default="16,32,64")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", default="libmf,sgd,als")
    parser.add_argument("--grid", default=None, help="λ:rate,... instead of the grid")
    parser.add_argument("--repository", default=REPOSITORY, help="of libmf: another address or a clone")
    options = parser.parse_args()
    program = build(options.folder, options.repository)
    grid = list(itertools.product(LAMBDAS, RATES))
    if options.grid:
        grid = [tuple(float(number) for number in pair.split(":")) for pair in options.grid.split(",")]
    for rank in (int(word) for word in options.ranks.split(",")):
        best = {}
        for part in options.parts.split(","):
            for regularization, rate in grid if part != "als" else [(l, None) for l in sorted({l for l, _ in grid})]:
                if part == "libmf":
                    found = curve(options, libmf, options, program, rank, regularization, rate)
                else:
                    found = curve(options, ours, options, part, rank, regularization, rate)
                errors, seconds, epoch = found
                print(
                    f"rank {rank} {part} λ {regularization} rate {rate}: {epoch:.3f} s an epoch, RMSE "
                    + " ".join(f"{error:.4f}" for error in errors), flush=True,
                )
                best.setdefault(part, []).append((errors, seconds))
        lowest = min(min(errors) for rows in best.values() for errors, _ in rows)
        for target in [lowest * factor for factor in (1.05, 1.02, 1.01)]:
            first = {}
            for part, rows in best.items():
                hits = [s for errors, seconds in rows for error, s in zip(errors, seconds) if error <= target]
                first[part] = f"{min(hits):.2f} s" if hits else "never"
            print(f"rank {rank} to RMSE {target:.4f}: " + ", ".join(f"{part} {when}" for part, when in first.items()), flush=True)


if __name__ == "__main__":
    main()
