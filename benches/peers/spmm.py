"""Milliseconds of the sparse product beside MKL, PyTorch and scipy, on a matrix dumped by the half_step bench.

    spmm.py DUMP [--widths 64,128] [--order given,random] [--libraries mkl,torch,scipy] [--threads 2] [--repeats 7]

Both directions of a layer: users from rows of products, products from rows of users, f32, all weights 1 (peers have no products without
weights). Medians. MKL 2019.0 is the last that can be told to take its AVX2 path on every processor (MKL_DEBUG_CPU_TYPE=5); later ones
take a slow path on those of other makers. scipy has one thread.
"""

import argparse
import ctypes
import os
import statistics
import sys
import time

import numpy as np
import scipy.sparse

from implicit_als import read

ROW_MAJOR, GENERAL, NOT_TRANSPOSED = 101, 20, 10


class Description(ctypes.Structure):
    """struct matrix_descr of mkl_spblas.h."""

    _fields_ = [("type", ctypes.c_int), ("mode", ctypes.c_int), ("diagonal", ctypes.c_int)]


def loaded():
    """MKL out of this Python's packages."""
    path = os.path.join(sys.prefix, "lib", "libmkl_rt.so")
    if not os.path.exists(path):
        raise SystemExit(f"{path} is not there: install mkl==2019.0, or leave mkl out of --libraries")
    return ctypes.CDLL(path)


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


def by_mkl(mkl, matrix, table, out):
    """A function that multiplies once."""
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    handle = ctypes.c_void_p()
    rows, columns = (ctypes.c_int(size) for size in matrix.shape)
    starts, ends = matrix.indptr[:-1].copy(), matrix.indptr[1:].copy()
    status = mkl.mkl_sparse_s_create_csr(
        ctypes.byref(handle), 0, rows, columns, pointer(starts), pointer(ends),
        pointer(matrix.indices), pointer(matrix.data),
    )
    if status != 0:
        raise SystemExit(f"MKL refuses the matrix: status {status}")
    description = Description(GENERAL, 0, 0)
    width = ctypes.c_int(table.shape[1])
    hint = ctypes.c_int(1000)
    mkl.mkl_sparse_set_mm_hint(handle, NOT_TRANSPOSED, description, ROW_MAJOR, width, hint)
    mkl.mkl_sparse_optimize(handle)

    def once():
        status = mkl.mkl_sparse_s_mm(
            NOT_TRANSPOSED, ctypes.c_float(1.0), handle, description, ROW_MAJOR, pointer(table), width, width,
            ctypes.c_float(0.0), pointer(out), width,
        )
        if status != 0:
            raise SystemExit(f"MKL fails: status {status}")

    once.kept = (starts, ends)
    return once


def by_torch(matrix, table, out):
    """A function that multiplies once, with PyTorch's own form of sparse rows."""
    import torch

    form = [torch.from_numpy(array) for array in (matrix.indptr, matrix.indices, matrix.data)]
    sparse = torch.sparse_csr_tensor(*form, size=matrix.shape)
    table = torch.from_numpy(table)

    def once():
        out[:] = (sparse @ table).numpy()

    return once


def by_scipy(matrix, table, out):
    def once():
        out[:] = matrix @ table

    return once


def median(once, repeats):
    once()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        once()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dump")
    parser.add_argument("--widths", default="64,128")
    parser.add_argument("--order", default="given,random")
    parser.add_argument("--libraries", default="mkl,torch,scipy")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    os.environ["MKL_DEBUG_CPU_TYPE"] = "5"
    os.environ["MKL_NUM_THREADS"] = str(options.threads)
    libraries = options.libraries.split(",")
    mkl = loaded() if "mkl" in libraries else None
    if "torch" in libraries:
        import torch

        torch.set_num_threads(options.threads)
    given = read(options.dump)
    given.data[:] = 1.0
    print("| library | order | width | users, ms | products, ms |\n|---|---|---|---|---|")
    for order in options.order.split(","):
        matrix = given
        if order == "random":
            numbers = np.random.default_rng(1)
            rows, columns = (numbers.permutation(size) for size in given.shape)
            matrix = given[rows][:, columns].tocsr()
            matrix.sort_indices()
        sides = [matrix, matrix.T.tocsr()]
        for width in (int(word) for word in options.widths.split(",")):
            for library in libraries:
                cells = []
                for side in sides:
                    table = np.random.default_rng(2).standard_normal((side.shape[1], width), dtype=np.float32)
                    out = np.empty((side.shape[0], width), np.float32)
                    makers = {"mkl": lambda *all: by_mkl(mkl, *all), "torch": by_torch, "scipy": by_scipy}
                    once = makers[library](side, table, out)
                    cells.append(median(once, 1 if library == "scipy" else options.repeats) * 1e3)
                    expected = side[:50].astype(np.float64) @ table
                    if not np.allclose(out[:50], expected, atol=1e-2, rtol=1e-4):
                        raise SystemExit(f"{library} has found something else than numpy")
                print(f"| {library} | {order} | {width} | {cells[0]:.0f} | {cells[1]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
