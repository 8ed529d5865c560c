"""libmf beside ours on ratings: the error on held-out ratings by seconds of training.

    libmf.py FOLDER --coordinator PROGRAM [--ranks 16,32,64] [--epochs 15] [--parts libmf,sgd,als]

FOLDER holds planted ratings (planted.py FOLDER) or others in the same two forms; sources, builds and our outputs go there too.
libmf is built at a pinned commit with AVX. Both sides have two threads, each setting of a small grid gets the same epochs,
and for each the error after every epoch stands beside the seconds until then: libmf's own clock of its epochs, and the
seconds of our epochs, which hold all that training does but not the measuring. Reading is left out on both sides: libmf
parses text, ours has a sealed data set. Then, for targets of error, the first second at which each side was there.
"""

import argparse
import itertools
import json
import os
import re
import subprocess

from fetching import checkout, run

REPOSITORY = "https://github.com/cjlin1/libmf"
COMMIT = "1498368"
# λ for both sides; the rates are those that suit AdaGrad of either.
LAMBDAS = [0.03, 0.05, 0.1]
RATES = {"libmf": [0.05, 0.1, 0.2], "sgd": [0.05, 0.1, 0.2]}


def build(folder, repository):
    source = checkout(repository, COMMIT, os.path.join(folder, "libmf"))
    program = os.path.join(source, "mf-train")
    if not os.path.exists(program):
        run("make", "-C", source, "mf-train", "DFLAG=-DUSEAVX -DUSEOMP", "OMPFLAG=-fopenmp -mavx")
    return program


def libmf(program, folder, rank, epochs, regularization, rate):
    """Seconds and errors after each epoch."""
    words = [program, "-f", "0", "-s", "2", "-k", str(rank), "-t", str(epochs), "-r", str(rate)]
    words += ["-l2", f"{regularization}", "-p", os.path.join(folder, "test.txt")]
    text = subprocess.run([*words, os.path.join(folder, "train.txt"), "/dev/null"], capture_output=True, text=True)
    rows = re.findall(r"^ *\d+ +([\d.]+) +([\d.]+) +([\d.]+) +[\d.e+]+", text.stdout, re.M)
    return [(None, float(error)) for _, error, _ in rows] if False else text.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options = parser.parse_args()


if __name__ == "__main__":
    main()
