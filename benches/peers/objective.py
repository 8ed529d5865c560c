"""Time to one objective: implicit's ALS beside ours on the generated matrix.

    objective.py MATRIX.parquet FOLDER --coordinator PROGRAM [--ranks 64,128] [--solvers cg] [--iterations 6]

MATRIX.parquet is what `generate-matrix` writes. The objective of both is that of Hu, Koren and Volinsky with weights 1 + y and
lambda 1, implicit's taken from its factors in f64 after each iteration while its clock stands. Ours: one embedded worker of two
threads, all seconds of an epoch counted, also the first one's, which opens the files. Of each level that implicit reaches the time is
printed that it took and that ours took to come within a thousandth of it or below.
"""

import argparse
import json
import os
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
    options = parser.parse_args()
    matrix = read(options.matrix)
    print(f"{matrix.nnz} interactions, {matrix.shape[0]} x {matrix.shape[1]}", flush=True)
    threadpoolctl.threadpool_limits(1, "blas")
    for rank in (int(word) for word in options.ranks.split(",")):
        curves = {
            solver: ours(options.coordinator, options.matrix, options.folder, rank, solver, options.iterations + 2)
            for solver in options.our_solvers.split(",")
        }
        for solver in options.solvers.split(","):
            for number, (seconds, level) in enumerate(theirs(matrix, rank, solver, options.iterations), 1):
                words = [f"rank {rank}, implicit {solver}, iteration {number}: {level:.6g} after {seconds:.2f} s"]
                for name, curve in curves.items():
                    reached = next((spent for spent, value in curve if value <= 1.001 * level), None)
                    words.append(f"ours {name} {reached:.2f} s, {seconds / reached:.1f} times" if reached else f"ours {name} not")
                print("; ".join(words), flush=True)


if __name__ == "__main__":
    main()
