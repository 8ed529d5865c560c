"""Seconds of an epoch and the objective by rank and solver, through the command line, on the generated matrix.

    solvers.py MATRIX.parquet FOLDER --coordinator PROGRAM [--ranks 16,32,64,128,256] [--epochs 3]
        [--solvers cholesky,dual,cg,subspace,auto] [--sets KEY=VALUE,...]

MATRIX.parquet is what `generate-matrix` writes; the data set is sealed once. One embedded worker, two threads. The first
epoch, which reads and checks the files, is not counted; the objective is that of the last.
"""

import argparse
import json
import os
import statistics
import subprocess

from fetching import run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("matrix")
    parser.add_argument("folder")
    parser.add_argument("--coordinator", required=True)
    parser.add_argument("--ranks", default="16,32,64,128,256")
    parser.add_argument("--solvers", default="cholesky,dual,cg,subspace,auto")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--sets", default="")
    options = parser.parse_args()
    keys = {
        "input.files": options.matrix, "input.user": "user", "input.product": "product", "input.value": "value",
        "input.duplicates": "sum", "output.data": os.path.join(options.folder, "data"),
        "output.model": os.path.join(options.folder, "model"), "model.epochs": options.epochs,
    }
    keys |= dict(pair.split("=") for pair in options.sets.split(",") if pair)
    os.makedirs(options.folder, exist_ok=True)
    job = os.path.join(options.folder, "empty.toml")
    open(job, "w").close()

    def verb(name, more):
        sets = [word for key, value in (keys | more).items() for word in ("--set", f"{key}={value}")]
        return json.loads(run(options.coordinator, "--json", "--workers", "1", name, job, *sets))

    verb("ingest", {})
    for rank in options.ranks.split(","):
        for solver in options.solvers.split(","):
            subprocess.run(["rm", "-rf", keys["output.model"]], check=True)
            epochs = verb("train", {"model.rank": rank, "model.solver": solver})["epochs"]
            seconds = statistics.median(epoch["seconds"] for epoch in epochs[1:])
            print(f"rank {rank} {solver}: {seconds:.2f} s an epoch, objective {epochs[-1]['objective']:.6g}", flush=True)


if __name__ == "__main__":
    main()
