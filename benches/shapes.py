"""What an epoch of factorization and of graph models costs by the shape m x n of the matrix, at equal interactions.

    shapes.py FOLDER --coordinator PROGRAM --generate PROGRAM [--interactions 5000000] [--rank 64] [--threads 2]

The programs are `coordinator` and `generate-matrix`. Seconds are medians of the epochs after the first; of models by steps every epoch
has one step, so that an epoch is each time once through the interactions, forwards and backwards.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess

SHAPES = [(1_000_000, 10_000), (500_000, 20_000), (200_000, 50_000), (100_000, 100_000), (50_000, 200_000)]
STEP = ["model.batches=1", "model.epochs=4"]
KINDS = {
    "als": ["model.kind=als", "model.epochs=4"],
    "als, cg": ["model.kind=als", "model.solver=cg", "model.epochs=4"],
    "spectral": ["model.kind=spectral", "model.epochs=4"],
    "lightgcn, 0 layers": ["model.kind=lightgcn", "model.layers=0", *STEP],
    "lightgcn, 1 layer": ["model.kind=lightgcn", "model.layers=1", *STEP],
    "lightgcn, 2 layers": ["model.kind=lightgcn", "model.layers=2", *STEP],
    "lightgcn, 3 layers": ["model.kind=lightgcn", "model.layers=3", *STEP],
    "gcn, 1 layer": ["model.kind=gcn", "model.layers=1", *STEP],
    "gcn, 2 layers": ["model.kind=gcn", "model.layers=2", *STEP],
}
JOB = """[input]
files = ["matrix.parquet"]
user = "user"
product = "product"
value = "value"
duplicates = "sum"
[model]
rank = {rank}
[output]
data = "data"
model = "model"
"""


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder")
    arguments.add_argument("--coordinator", required=True)
    arguments.add_argument("--generate", required=True)
    arguments.add_argument("--interactions", type=int, default=5_000_000)
    arguments.add_argument("--rank", type=int, default=64)
    arguments.add_argument("--threads", default="2")
    given = arguments.parse_args()
    os.makedirs(given.folder, exist_ok=True)
    job = os.path.join(given.folder, "job.toml")
    with open(job, "w") as file:
        file.write(JOB.format(rank=given.rank))

    def run(verb, settings):
        sets = [word for setting in settings for word in ("--set", setting)]
        command = [given.coordinator, "--json", "--threads", given.threads, *sets, verb, job]
        done = subprocess.run(command, capture_output=True, text=True)
        report = json.loads(done.stdout)
        if done.returncode:
            raise SystemExit(report["error"]["message"])
        return report

    print("| m x n | interactions | " + " | ".join(KINDS) + " |\n" + "|---" * (len(KINDS) + 2) + "|")
    for users, products in SHAPES:
        matrix = os.path.join(given.folder, "matrix.parquet")
        sizes = {"users": users, "products": products, "interactions": given.interactions}
        flags = [word for name, size in sizes.items() for word in (f"--{name}", str(size))]
        subprocess.run([given.generate, matrix, *flags], check=True, capture_output=True)
        shutil.rmtree(os.path.join(given.folder, "data"), ignore_errors=True)
        interactions = run("ingest", [])["interactions"]
        took = []
        for settings in KINDS.values():
            shutil.rmtree(os.path.join(given.folder, "model"), ignore_errors=True)
            epochs = run("train", settings)["epochs"]
            took.append(statistics.median(epoch["seconds"] for epoch in epochs[1:]))
        cells = " | ".join(f"{seconds:.2f}" for seconds in took)
        print(f"| {users:,} x {products:,} | {interactions / 1e6:.1f} M | {cells} |", flush=True)


if __name__ == "__main__":
    main()
