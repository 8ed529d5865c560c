"""Time to one objective: implicit's ALS beside ours on the generated matrix.

    objective.py MATRIX.parquet FOLDER --coordinator PROGRAM [--ranks 64,128] [--solvers cg] [--iterations 6] [--runs 5]

MATRIX.parquet is what `generate-matrix` writes. The objective of both is that of Hu, Koren and Volinsky with weights 1 + y and
lambda 1, implicit's taken from its factors in f64 after each iteration while its clock stands. Ours: one embedded worker of two
threads, all seconds of an epoch counted, also the first one's, which opens the files. Of each level that implicit reaches the time is
printed that it took and that ours took to come within a thousandth of it or below: medians over the runs, in each of which both train anew,
one after the other, and the least and the greatest ratio of a run.
"""

import argparse
import json
import os
import statistics
import subprocess
import time

import numpy as np
import pyarrow.parquet
import scipy.sparse
import threadpoolctl
from fetching import run
from implicit.cpu.als import AlternatingLeastSquares

PART = 500_000


def read(path):
    table = pyarrow.parquet.read_table(path, columns=["user", "product", "value"])
    user, product, value = (table[name].to_numpy() for name in ("user", "product", "value"))
    matrix = scipy.sparse.coo_matrix((value.astype(np.float32), (user, product))).tocsr()
    matrix.sum_duplicates()
    return matrix


def objective(matrix, users, products):
    """sum over all cells of w (p - u v)^2 and the squares of the factors; w = 1 + y and p = 1 where there is an interaction."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    total = 0.0
    for first in range(0, matrix.nnz, PART):
        part = slice(first, first + PART)
        scores = np.einsum("ij,ij->i", users[rows[part]], products[matrix.indices[part]], dtype=np.float64)
        total += np.sum((1.0 + matrix.data[part]) * (1.0 - scores) ** 2 - scores**2, dtype=np.float64)
    users, products = users.astype(np.float64), products.astype(np.float64)
    return total + np.sum((users.T @ users) * (products.T @ products)) + np.sum(users**2) + np.sum(products**2)


def theirs(matrix, rank, solver, iterations):
    """Seconds so far and the objective, after each iteration."""
    model = AlternatingLeastSquares(
        factors=rank, regularization=1.0, alpha=1.0, use_native=True, use_cg=solver == "cg", iterations=iterations,
        num_threads=2, random_state=0,
    )
    confidence = matrix.copy()
    confidence.data = 1.0 + matrix.data
    curve, spent = [], 0.0
    began = time.perf_counter()

    def mark(*_):
        nonlocal spent, began
        spent += time.perf_counter() - began
        curve.append((spent, objective(matrix, np.asarray(model.user_factors), np.asarray(model.item_factors))))
        began = time.perf_counter()

    model.fit(confidence, show_progress=False, callback=mark)
    return curve


def ours(coordinator, matrix, folder, rank, solver, epochs):
    keys = {
        "input.files": matrix, "input.user": "user", "input.product": "product", "input.value": "value",
        "input.duplicates": "sum", "model.preset": "hu", "model.alpha": 1.0, "model.regularization": 1.0, "model.nu": 0.0,
        "model.rank": rank, "model.solver": solver, "model.epochs": epochs,
        "output.data": os.path.join(folder, "data"), "output.model": os.path.join(folder, "model"),
    }
    os.makedirs(folder, exist_ok=True)
    job = os.path.join(folder, "empty.toml")
    open(job, "w").close()
    subprocess.run(["rm", "-rf", keys["output.model"]], check=True)
    sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    verbs = ["train"] if os.path.exists(keys["output.data"]) else ["ingest", "train"]
    for verb in verbs:
        report = json.loads(run(coordinator, "--json", "--workers", "1", "--threads", "2", verb, job, *sets))
    seconds = np.cumsum([epoch["seconds"] for epoch in report["epochs"]])
    return list(zip(seconds, [epoch["objective"] for epoch in report["epochs"]]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("matrix")
    parser.add_argument("folder")
    parser.add_argument("--coordinator", required=True)
    parser.add_argument("--ranks", default="64,128")
    parser.add_argument("--solvers", default="cg", help="of implicit")
    parser.add_argument("--our-solvers", default="cg,cholesky")
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    matrix = read(options.matrix)
    print(f"{matrix.nnz} interactions, {matrix.shape[0]} x {matrix.shape[1]}", flush=True)
    threadpoolctl.threadpool_limits(1, "blas")
    for rank in (int(word) for word in options.ranks.split(",")):
        for solver in options.solvers.split(","):
            runs = [one_run(options, matrix, rank, solver) for _ in range(options.runs)]
            for number, levels in enumerate(zip(*runs), 1):
                print(f"rank {rank}, implicit {solver}, iteration {number}: {row(levels)}", flush=True)


def one_run(options, matrix, rank, solver):
    """Of each iteration of theirs: its level, its seconds, and of each solver of ours the seconds to that level."""
    curves = {
        name: ours(options.coordinator, options.matrix, options.folder, rank, name, options.iterations + 2)
        for name in options.our_solvers.split(",")
    }
    reached = lambda curve, level: next((spent for spent, value in curve if value <= 1.001 * level), float("inf"))
    return [
        (level, seconds, {name: reached(curve, level) for name, curve in curves.items()})
        for seconds, level in theirs(matrix, rank, solver, options.iterations)
    ]


def row(levels):
    """A level as all runs reached it."""
    seconds = [spent for _, spent, _ in levels]
    words = [f"{levels[0][0]:.6g} after {statistics.median(seconds):.2f} s"]
    for name in levels[0][2]:
        ours_seconds = [reached[name] for _, _, reached in levels]
        ratios = [spent / own for spent, own in zip(seconds, ours_seconds)]
        words.append(
            f"ours {name} {statistics.median(ours_seconds):.2f} s, {statistics.median(ratios):.1f} times ({min(ratios):.1f} to {max(ratios):.1f})"
        )
    return "; ".join(words)


if __name__ == "__main__":
    main()
