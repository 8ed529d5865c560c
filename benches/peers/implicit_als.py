"""Seconds per iteration of implicit's ALS on a matrix dumped by the half_step bench.

    implicit_als.py DUMP [--ranks 64,128] [--solvers cg,cholesky] [--iterations 3] [--threads 2]

An iteration is both half-steps, as in half_step. Besides wall seconds it prints processor seconds per thread, which
neighbours on the machine disturb less. Cholesky above rank 64 takes minutes: it runs for one iteration only.
"""

import argparse
import time

import numpy as np
import scipy.sparse
import threadpoolctl
from implicit.cpu.als import AlternatingLeastSquares

ALPHA, RIDGE = 1.0, 1.0


def read(path):
    """The dump: rows, columns, interactions and offsets as u64, ids as u32, values as f32, little-endian."""
    with open(path, "rb") as file:
        rows, columns, count = (int(x) for x in np.fromfile(file, "<u8", 3))
        offsets = np.fromfile(file, "<u8", rows + 1).astype(np.int32)
        ids = np.fromfile(file, "<u4", count).astype(np.int32)
        values = np.fromfile(file, "<f4", count)
    if len(offsets) != rows + 1 or len(values) != count or offsets[-1] != count:
        raise SystemExit(f"{path} is cut short: write it again with half_step --dump")
    return scipy.sparse.csr_matrix((values, ids, offsets), shape=(rows, columns))


def measure(matrix, rank, solver, iterations, threads):
    """Seconds and processor seconds per thread of each iteration."""
    model = AlternatingLeastSquares(
        factors=rank,
        regularization=RIDGE,
        # implicit's confidence is the value itself: 1 + alpha y of half_step, less the 1 it adds to what is there.
        alpha=1.0,
        use_native=True,
        use_cg=solver == "cg",
        iterations=iterations,
        num_threads=threads,
        random_state=0,
    )
    confidence = matrix.copy()
    confidence.data = 1.0 + ALPHA * matrix.data
    marks = [(time.perf_counter(), time.process_time())]

    def mark(*_):
        marks.append((time.perf_counter(), time.process_time()))

    model.fit(confidence, show_progress=False, callback=mark)
    pairs = zip(marks, marks[1:])
    return [(b[0] - a[0], (b[1] - a[1]) / threads) for a, b in pairs]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dump")
    parser.add_argument("--ranks", default="64,128")
    parser.add_argument("--solvers", default="cg,cholesky")
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    matrix = read(options.dump)
    print(f"{matrix.nnz} interactions, {matrix.shape[0]} x {matrix.shape[1]}, {options.threads} threads")
    threadpoolctl.threadpool_limits(1, "blas")
    for rank in (int(word) for word in options.ranks.split(",")):
        for solver in options.solvers.split(","):
            iterations = 1 if solver == "cholesky" and rank > 64 else options.iterations
            seconds = measure(matrix, rank, solver, iterations, options.threads)
            for number, (wall, processor) in enumerate(seconds):
                print(
                    f"implicit rank {rank} {solver} iteration {number}: {wall:.2f} s"
                    f" ({processor:.2f} s of processor per thread)",
                    flush=True,
                )


if __name__ == "__main__":
    main()
