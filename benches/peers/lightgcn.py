"""A step of LightGCN in PyTorch beside ours, on Gowalla's public split: three layers of 64 columns, BPR, Adam.

    lightgcn.py SPLIT FOLDER --coordinator PROGRAM [--threads 2] [--steps 60] [--epochs 3]

SPLIT holds `s_adj_mat.npz`, as gowalla.py says. In PyTorch the normalised adjacency is a CSR tensor and a step goes through all of it
forwards and backwards, as the authors' program does, with their batches of 2,048 pairs, rate of 0.001 and λ of 0.0001; each pair has a rival of its
own. Ours takes as many batches an epoch as that makes, then twenty with the default rate. Printed are seconds of a step, and the mean loss of
pairs by seconds of training.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import time
import warnings

import numpy as np
import scipy.sparse
import torch
from gowalla import USERS, convert

BATCH, WIDTH, LAYERS = 2_048, 64, 3

JOB = """[input]
files = ["train.parquet"]
user = "user"
product = "product"
[model]
kind = "lightgcn"
rank = 64
layers = 3
loss = "bpr"
epochs = {epochs}
batches = {batches}
rate = {rate}
regularization = 0.0001
[output]
data = "data"
model = "model"
"""


def theirs(adjacency, steps):
    """Seconds of each step, and the loss of its pairs."""
    torch.manual_seed(1)
    degrees = np.asarray(adjacency.sum(axis=1)).ravel()
    scale = scipy.sparse.diags(1.0 / np.sqrt(np.maximum(degrees, 1.0)))
    matrix = (scale @ adjacency @ scale).tocsr().astype(np.float32)
    graph = torch.sparse_csr_tensor(
        torch.from_numpy(matrix.indptr.astype(np.int64)), torch.from_numpy(matrix.indices.astype(np.int64)),
        torch.from_numpy(matrix.data), matrix.shape,
    )
    rows = torch.nn.Parameter(0.1 * torch.randn(matrix.shape[0], WIDTH))
    adam = torch.optim.Adam([rows], lr=0.001)
    pairs = adjacency[:USERS].tocoo()
    users, products = torch.from_numpy(pairs.row.astype(np.int64)), torch.from_numpy(pairs.col.astype(np.int64))
    took, losses = [], []
    for _ in range(steps):
        began = time.perf_counter()
        batch = torch.randint(len(users), (BATCH,))
        u, p = users[batch], products[batch]
        rival = torch.randint(USERS, matrix.shape[0], (BATCH,))
        layer, total = rows, rows
        for _ in range(LAYERS):
            layer = torch.sparse.mm(graph, layer)
            total = total + layer
        scored = total / (LAYERS + 1)
        margin = (scored[u] * (scored[p] - scored[rival])).sum(dim=1)
        loss = torch.nn.functional.softplus(-margin).mean()
        held = (rows[u].square().sum() + rows[p].square().sum() + rows[rival].square().sum()) / (2 * BATCH)
        adam.zero_grad()
        (loss + 1e-4 * held).backward()
        adam.step()
        took.append(time.perf_counter() - began)
        losses.append(loss.item())
    return took, losses


def ours(given, settings):
    """The report of a training run."""
    with open(os.path.join(given.folder, "lightgcn-job.toml"), "w") as file:
        file.write(JOB.format(**settings))
    reports = []
    for place in ("data", "model"):
        shutil.rmtree(os.path.join(given.folder, place), ignore_errors=True)
    for verb in ("ingest", "train"):
        command = [given.coordinator, "--json", "--threads", given.threads, verb, file.name]
        done = subprocess.run(command, capture_output=True, text=True)
        reports.append(json.loads(done.stdout))
        if done.returncode:
            raise SystemExit(reports[-1]["error"]["message"])
    return reports[-1]["epochs"]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("split")
    arguments.add_argument("folder")
    arguments.add_argument("--coordinator", required=True)
    arguments.add_argument("--threads", default="2")
    arguments.add_argument("--steps", type=int, default=60)
    arguments.add_argument("--epochs", type=int, default=3)
    given = arguments.parse_args()
    torch.set_num_threads(int(given.threads))
    # That CSR is in beta is known.
    warnings.filterwarnings("ignore", category=UserWarning, module="__main__")
    convert(given.split, given.folder)
    adjacency = scipy.sparse.load_npz(os.path.join(given.split, "s_adj_mat.npz")).tocsr()
    adjacency.data[:] = 1.0
    pairs = adjacency.nnz // 2
    took, losses = theirs(adjacency, given.steps)
    step = statistics.median(took)
    print(f"PyTorch: a step {step:.3f} s, an epoch of {-(-pairs // BATCH)} steps {step * -(-pairs // BATCH):.0f} s")
    print(f"  loss {statistics.mean(losses[-20:]):.4f} after {sum(took):.1f} s, {given.steps} steps")
    for batches, rate, epochs in [(-(-pairs // BATCH), 0.001, 1), (20, 0.01, given.epochs)]:
        told = ours(given, {"batches": batches, "rate": rate, "epochs": epochs})
        step = statistics.median(epoch["seconds"] for epoch in told) / batches
        print(f"ours, {batches} steps an epoch, rate {rate}: a step {step:.3f} s, an epoch {step * batches:.1f} s")
        seconds = 0.0
        for epoch in told:
            seconds += epoch["seconds"]
            print(f"  mean loss of epoch {epoch['epoch']} {epoch['objective'] / pairs:.4f} after {seconds:.1f} s")


if __name__ == "__main__":
    main()
