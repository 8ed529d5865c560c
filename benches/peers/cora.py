"""Labels of nodes on Cora's public split (Yang, Cohen and Salakhutdinov, 2016): 2,708 papers of seven fields, their citations and words;
20 papers of each field are taught, 500 choose the epoch, 1,000 are told.

    cora.py PLANETOID FOLDER --coordinator PROGRAM [--words no] [--model LINES]

PLANETOID holds `ind.cora.*`, as in `data` of the repository kimiyoung/planetoid. Cora is a graph of nodes of one kind, ours has users and
products: each paper is a user, and his products are itself and the papers that it cites or is cited by, R = A + I, and its words
beside them (`--words no`: without). So a paper's row û looks along those of its neighbours and words, and a classifier on û learns the
labels of 140 of them. Two runs: one is compared with the labels of validation, by which the epoch is chosen, one with those of the test.
They are the same run but for the labels that nobody learns from.

Published for this split, as Kipf and Welling (2017) list it: graph convolution 81.5 %, DeepWalk on citations alone 67.2 %, a network on
words alone 55.1 %. Liu, Zhang and Liu (arXiv 2007.09036) report results like those of graph convolution or better for their model.
"""

import argparse
import json
import os
import pickle
import shutil
import subprocess

import numpy as np
import pyarrow
import pyarrow.parquet

JOB = """[input]
files = ["edges.parquet"]
user = "paper"
product = "neighbour"
[input.user_attributes]
files = ["labels.parquet"]
columns = ["taught", "{compared}"]
[model]
kind = "ucmf"
user_label = "taught"
user_label_check = "{compared}"
{model}
[output]
data = "{compared}/data"
model = "{compared}/model"
"""

MODEL = 'rank = 64\nepochs = 120\nloss = "bpr"\ntemperature = 0.3\ncotraining = 0.01'


def read(planetoid):
    """Words of each paper as a sparse matrix, labels, neighbours, and the papers of the test."""
    parts = {}
    for name in ["x", "y", "tx", "ty", "allx", "ally", "graph"]:
        with open(os.path.join(planetoid, f"ind.cora.{name}"), "rb") as file:
            parts[name] = pickle.load(file, encoding="latin1")
    order = np.loadtxt(os.path.join(planetoid, "ind.cora.test.index"), dtype=int)
    first = parts["allx"].shape[0]
    papers = first + len(order)
    words = [np.empty(0, int)] * papers
    labels = np.empty(papers, int)
    for row in range(first):
        words[row] = parts["allx"][row].indices
    labels[:first] = parts["ally"].argmax(1)
    for place, row in enumerate(order):
        words[row] = parts["tx"][place].indices
    labels[order] = parts["ty"].argmax(1)
    return words, labels, parts["graph"], order, len(parts["y"])


def write(folder, read, with_words):
    words, labels, graph, order, taught = read
    pairs = {(paper, f"paper-{paper}") for paper in range(len(labels))}
    for paper, neighbours in graph.items():
        pairs |= {(paper, f"paper-{other}") for other in neighbours}
        pairs |= {(other, f"paper-{paper}") for other in neighbours}
    if with_words:
        pairs |= {(paper, f"word-{word}") for paper, some in enumerate(words) for word in some}
    papers, neighbours = zip(*sorted(pairs))
    os.makedirs(folder, exist_ok=True)
    edges = {"paper": np.array(papers), "neighbour": list(neighbours)}
    pyarrow.parquet.write_table(pyarrow.table(edges), os.path.join(folder, "edges.parquet"))
    tests = set(order.tolist())

    def field(part):
        return [f"field-{label}" if part(paper) else None for paper, label in enumerate(labels)]

    columns = {
        "paper": np.arange(len(labels)),
        "taught": field(lambda paper: paper < taught),
        "validation": field(lambda paper: taught <= paper < taught + 500),
        "test": field(lambda paper: paper in tests),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), os.path.join(folder, "labels.parquet"))
    return len(pairs)


def accuracies(options, compared):
    """Of the taught and of the compared, by epoch."""
    shutil.rmtree(os.path.join(options.folder, compared), ignore_errors=True)
    path = os.path.join(options.folder, f"{compared}.toml")
    with open(path, "w") as job:
        job.write(JOB.format(compared=compared, model=options.model.replace("\\n", "\n")))
    for verb in ["ingest", "train"]:
        command = [options.coordinator, "--json", verb, path]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        found = json.loads(done.stdout)
        if "error" in found:
            raise SystemExit(found["error"]["message"])
    metrics = [epoch["metrics"] for epoch in found["epochs"]]
    metrics = [dict(some) if isinstance(some, list) else some for some in metrics]
    return [(some["user_label_accuracy"], some["user_label_check_accuracy"]) for some in metrics]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("planetoid")
    parser.add_argument("folder")
    parser.add_argument("--coordinator", required=True)
    parser.add_argument("--words", choices=["yes", "no"], default="yes")
    parser.add_argument("--model", default=MODEL, help="lines of [model]")
    options = parser.parse_args()
    count = write(options.folder, read(options.planetoid), options.words == "yes")
    validation, test = (accuracies(options, part) for part in ["validation", "test"])
    best = max(range(len(validation)), key=lambda epoch: validation[epoch][1])
    print(f"{count:,} pairs; epoch {best + 1} of {len(validation)}: taught {test[best][0]:.1%}, "
          f"validation {validation[best][1]:.1%}, test {test[best][1]:.1%} (graph convolution, as published: 81.5 %)")


if __name__ == "__main__":
    main()
