"""Planted ratings for the comparisons on values: a matrix, or a tensor of three modes, in every form that a program reads.

    planted.py FOLDER [--users 200000] [--products 50000] [--bins 0] [--interactions 20000000] [--rank 16] [--forms FORMS]

A value is 3.5, a bias of its user and one of its product, a planted product of factors and noise (σ = 0.5), rounded to
halves from 0.5 to 5. Counts of users are log-normal (σ = 1), products follow Zipf's law of exponent 0.8 with its head
flattened by ten, bins (where there are some) are uniform; repeated cells are drawn once. One cell in ten, drawn
at random, is the test. The same arguments give the same files. Forms:

    parquet  train.parquet, test.parquet: user, product, bin (as seconds, one day a bin), value
    text     train.txt, test.txt: `user product value`, from 0, for libmf
    tns      train.tns, test.tns: `user product bin value`, from 1, for SPLATT
"""

import argparse
import os

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

NOISE, BIAS = 0.5, 0.3


def cells(users, products, bins, interactions, random):
    """Distinct cells by user, product and bin."""
    location = np.log(interactions / users) - 0.5
    counts = np.exp(location + random.standard_normal(users)).astype(np.int64).clip(1, products // 4)
    weights = 1.0 / (np.arange(products) + 10.0) ** 0.8
    cumulative = np.cumsum(weights)
    user = np.repeat(np.arange(users, dtype=np.int64), counts)
    product = np.searchsorted(cumulative, random.random(len(user)) * cumulative[-1]).clip(0, products - 1)
    key = user * products + product
    if bins:
        key = key * bins + random.integers(0, bins, len(key))
    key = np.unique(key)
    key, bin = (key // bins, key % bins) if bins else (key, None)
    return key // products, key % products, bin


def values(user, product, bin, sizes, rank, random):
    """The rounded value of each cell."""
    tables = [random.standard_normal((size, rank)).astype(np.float32) for size in sizes]
    biases = [BIAS * random.standard_normal(size).astype(np.float32) for size in sizes[:2]]
    out = np.empty(len(user), dtype=np.float32)
    noise = NOISE * random.standard_normal(len(user)).astype(np.float32)
    part = 1 << 20
    for start in range(0, len(user), part):
        here = slice(start, start + part)
        rows = tables[0][user[here]] * tables[1][product[here]]
        if bin is not None:
            rows *= tables[2][bin[here]]
        out[here] = rows.sum(axis=1) / np.sqrt(rank) * 0.6
    out += 3.5 + biases[0][user] + biases[1][product] + noise
    return np.round(out * 2).clip(1, 10).astype(np.float32) / 2


def write(folder, name, forms, columns, value):
    user, product, bin = columns
    if "parquet" in forms:
        arrays = {"user": user, "product": product}
        if bin is not None:
            arrays["bin"] = bin * 86_400
        table = pa.table({**arrays, "value": value})
        pa.parquet.write_table(table, os.path.join(folder, f"{name}.parquet"), row_group_size=250_000)
    for form, suffix, first in [("text", "txt", 0), ("tns", "tns", 1)]:
        if form not in forms:
            continue
        ids = [column + first for column in columns if column is not None]
        table = pa.table([pa.array(array) for array in [*ids, value]], names=list("abcd")[: len(ids) + 1])
        options = pa.csv.WriteOptions(include_header=False, delimiter=" ")
        pa.csv.write_csv(table, os.path.join(folder, f"{name}.{suffix}"), options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    for name, usual in [("users", 200_000), ("products", 50_000), ("bins", 0), ("interactions", 20_000_000), ("rank", 16)]:
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--forms", default="parquet,text")
    options = parser.parse_args()
    random = np.random.default_rng(7)
    user, product, bin = cells(options.users, options.products, options.bins, options.interactions, random)
    sizes = (options.users, options.products, options.bins)
    value = values(user, product, bin, sizes, options.rank, random)
    held_out = random.random(len(user)) < 0.1
    os.makedirs(options.folder, exist_ok=True)
    for name, keep in [("train", ~held_out), ("test", held_out)]:
        columns = [column if column is None else column[keep] for column in (user, product, bin)]
        write(options.folder, name, options.forms.split(","), columns, value[keep])
        print(f"{name}: {keep.sum()} cells, variance {value[keep].var():.3f}")


if __name__ == "__main__":
    main()
