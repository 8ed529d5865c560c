"""Recommendation quality on Gowalla's public split, ours alone: the figures to compare with are published.

    gowalla.py SPLIT FOLDER --coordinator PROGRAM [--models filter,als-256,...] [--threads 2]

SPLIT holds `s_adj_mat.npz` and `test.txt` from `data/gowalla` of the repository gusye1234/LightGCN-PyTorch: the adjacency of
29,858 users and 40,981 products with 810,128 training interactions, and what is held out. They are written to FOLDER as Parquet
files, and each model runs from there with given `test_files`. All products are ranked, those of training masked; recall@20 and NDCG@20
are means over users. Seconds: ingest, training, and the lists of 20 of all users, which are read back and measured
here; "all" is one command from the files to the lists, without the evaluation.
"""

import argparse
import json
import os
import shutil
import subprocess
import time

import numpy as np
import pyarrow
import pyarrow.parquet
import scipy.sparse

USERS = 29_858
K = 20

JOB = """[input]
files = ["train.parquet"]
user = "user"
product = "product"
[model]
{model}
[output]
data = "{name}/data"
model = "{name}/model"
recommend = {{ top = 20, file = "{name}/lists.parquet" }}
"""

# Those of als come from a small grid with another implementation, those of lightgcn from one on a tenth of the training part.
MODELS = {
    "filter": 'kind = "filter"\nrank = 256\nepochs = 4',
    "filter-192": 'kind = "filter"\nrank = 192\nepochs = 3',
    "linear": 'kind = "filter"\nrank = 16\nepochs = 1\nfilter_weight = 0',
    "als-256": 'kind = "als"\npreset = "rendle"\nrank = 256\nalpha0 = 0.02\nregularization = 0.006\nepochs = 6',
    "als-64": 'kind = "als"\npreset = "rendle"\nrank = 64\nalpha0 = 0.02\nregularization = 0.006\nepochs = 12',
    "lightgcn-384": 'kind = "lightgcn"\nrank = 384\nlayers = 3\nepochs = 36\nalpha0 = 0.005\nrate = 0.02\nregularization = 0.01',
    "lightgcn": 'kind = "lightgcn"\nrank = 64\nlayers = 3\nepochs = 36\nalpha0 = 0.005\nrate = 0.02\nregularization = 0.01',
    "lightgcn-bpr": 'kind = "lightgcn"\nrank = 64\nlayers = 3\nloss = "bpr"\nepochs = 140\nbatches = 20\nrate = 0.02\nregularization = 0.0001',
    "spectral": 'kind = "spectral"\nrank = 64\nepochs = 6',
}


def convert(split, folder):
    """Writes the training part, and gives the products that are held out, by user."""
    adjacency = scipy.sparse.load_npz(os.path.join(split, "s_adj_mat.npz")).tocsr()
    train = adjacency[:USERS, USERS:].tocoo()
    columns = {"user": train.row.astype(np.int64), "product": train.col.astype(np.int64)}
    os.makedirs(folder, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), os.path.join(folder, "train.parquet"))
    held_out = {}
    with open(os.path.join(split, "test.txt")) as lines:
        for line in lines:
            user, *products = map(int, line.split())
            if products:
                held_out[user] = set(products)
    return held_out


def measure(lists, held_out):
    table = pyarrow.parquet.read_table(lists).sort_by([("user", "ascending"), ("rank", "ascending")])
    users, first = np.unique(table["user"].to_numpy(), return_index=True)
    listed = dict(zip(users, np.split(table["product"].to_numpy(), first[1:])))
    discounts = 1.0 / np.log2(np.arange(2, K + 2))
    found = []
    for user, truth in held_out.items():
        hits = np.isin(listed.get(user, []), list(truth))
        ideal = discounts[: min(K, len(truth))].sum()
        found.append((hits.sum() / len(truth), discounts[: len(hits)][hits].sum() / ideal))
    return np.mean(found, axis=0)


def seconds(command):
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    took = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr or json.loads(done.stdout)["error"]["message"])
    return took


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("split")
    arguments.add_argument("folder")
    arguments.add_argument("--coordinator", required=True)
    arguments.add_argument("--models", default=",".join(MODELS))
    arguments.add_argument("--threads", default="2")
    given = arguments.parse_args()
    held_out = convert(given.split, given.folder)
    print("| model | recall@20 | NDCG@20 | ingest | training | lists | all |\n|---|---|---|---|---|---|---|")
    for name in given.models.split(","):
        job = os.path.join(given.folder, f"{name}.toml")
        with open(job, "w") as file:
            file.write(JOB.format(model=MODELS[name], name=name))

        def run(verb):
            return seconds([given.coordinator, "--json", "--threads", given.threads, verb, job])

        work = os.path.join(given.folder, name)
        shutil.rmtree(work, ignore_errors=True)
        parts = [run(verb) for verb in ("ingest", "train", "recommend")]
        recall, ndcg = measure(os.path.join(work, "lists.parquet"), held_out)
        shutil.rmtree(work)
        took = " | ".join(f"{part:.2f}" for part in [*parts, run("run")])
        print(f"| {name} | {recall:.4f} | {ndcg:.4f} | {took} |", flush=True)


if __name__ == "__main__":
    main()
