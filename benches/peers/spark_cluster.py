"""MLlib's ALS beside `strata.spark` on one local cluster of Spark and the same data frame.

    spark_cluster.py MATRIX.parquet [--rank 64] [--iterations 5] [--executors 2] [--memory 6g]

MATRIX.parquet is what `generate-matrix` writes. Each side has a cluster of its own, executors of one core that are processes, and is
warmed up by a fit of one iteration on 200,000 rows. Then one fit is counted, from the data frame to the model: seconds, and
the most anonymous memory of all processes below the driver's together, the driver included. Both have
weights 1 + y; MLlib multiplies lambda by the interactions of a row, ours is plain, so each has a lambda of its own. A twentieth of the
pairs is held out: recall@20 of 2,000 users says what came of it.
Needs Java 17, requirements.txt and the package, built for release.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np

USERS, TOP = 2_000, 20


def tree(process):
    """A process and all below it."""
    found, waiting = [], [process]
    while waiting:
        each = waiting.pop()
        found.append(each)
        try:
            for task in os.listdir(f"/proc/{each}/task"):
                waiting += [int(word) for word in open(f"/proc/{each}/task/{task}/children").read().split()]
        except OSError:
            pass
    return found


def anonymous(process):
    total = 0
    for each in tree(process):
        try:
            with open(f"/proc/{each}/status") as status:
                total += sum(int(line.split()[1]) for line in status if line.startswith("RssAnon")) * 1024
        except OSError:
            pass
    return total


class Watched:
    """Seconds within, and the most anonymous memory of all processes together."""

    def __enter__(self):
        self.most, self.ended = 0, threading.Event()
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()
        self.began = time.perf_counter()
        return self

    def watch(self):
        while not self.ended.wait(0.1):
            self.most = max(self.most, anonymous(os.getpid()))

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.began
        self.ended.set()
        self.watcher.join()


def session(options):
    import pyspark

    # Executors have the packages of this process.
    os.environ["PYSPARK_PYTHON"] = sys.executable

    builder = pyspark.sql.SparkSession.builder.master(f"local-cluster[{options.executors},1,{megabytes(options.memory)}]")
    for key, value in {
        "spark.executor.memory": options.memory,
        "spark.driver.memory": "2g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }.items():
        builder = builder.config(key, value)
    made = builder.getOrCreate()
    made.sparkContext.setLogLevel("ERROR")
    return made


def megabytes(memory):
    """As a local cluster wants it."""
    return int(memory[:-1]) * {"g": 1024, "m": 1}[memory[-1]]


def with_mllib(options, frame, iterations):
    from pyspark.ml.recommendation import ALS

    als = ALS(
        userCol="user", itemCol="product", ratingCol="value", rank=options.rank, maxIter=iterations, regParam=options.mllib_regularization,
        implicitPrefs=True, alpha=1.0, seed=0, numUserBlocks=2 * options.executors, numItemBlocks=2 * options.executors,
    )
    with Watched() as watched:
        fitted = als.fit(frame)
        # Of a lazy evaluation nothing is left undone.
        fitted.userFactors.count(), fitted.itemFactors.count()
    sides = []
    for factors in (fitted.userFactors, fitted.itemFactors):
        columns = factors.toArrow() if hasattr(factors, "toArrow") else factors.toPandas()
        ids = np.asarray(columns["id"])
        sides.append((ids, np.asarray(list(columns["features"]), dtype=np.float32)))
    return watched, sides


def with_strata(options, frame, iterations):
    import strata
    import strata.spark

    als = strata.ALS(
        rank=options.rank, epochs=iterations, preset="hu", alpha=1.0, regularization=options.regularization, nu=0.0, progress=False
    )
    with Watched() as watched:
        fitted = strata.spark.train(frame, als, value="value", duplicates="sum", num_workers=options.executors)
    sides = []
    for side in ("user", "product"):
        table = fitted.model.factors(side)
        sides.append((np.asarray(table[side]), np.asarray(table["factors"])))
    return watched, sides


def recall(sides, train, test):
    """The mean share of a user's held-out products among the 20 best that are not of the user's training."""
    (users, user_factors), (products, product_factors) = sides
    row_of = {user: row for row, user in enumerate(users.tolist())}
    had, wanted = ({}, {})
    for pairs, by_user in ((test, wanted), (train, had)):
        for user, product in zip(*(column.tolist() for column in pairs)):
            by_user.setdefault(user, set()).add(product)
    shares = []
    for user in sorted(wanted)[:USERS]:
        if user not in row_of:
            continue
        scores = product_factors @ user_factors[row_of[user]]
        scores[np.isin(products, list(had.get(user, ())))] = -np.inf
        best = set(products[np.argpartition(-scores, TOP)[:TOP]].tolist())
        shares.append(len(best & wanted[user]) / min(TOP, len(wanted[user])))
    return float(np.mean(shares))


def one(options):
    """What a process with a cluster of its own measures."""
    from pyspark.sql import functions

    spark = session(options)
    fit = {"mllib": with_mllib, "strata": with_strata}[options.side]
    frame = spark.read.parquet(options.matrix)
    held_out = functions.abs(functions.hash("user", "product")) % 20 == 0
    train = frame.where(~held_out)
    fit(options, train.limit(200_000), 1)
    watched, sides = fit(options, train, options.iterations)
    test = pairs(frame.where(held_out))
    asked = functions.col("user") <= int(np.unique(test[0])[:USERS][-1])
    quality = recall(sides, pairs(train.where(asked)), test)
    spark.stop()
    return {"seconds": watched.seconds, "bytes": watched.most, "recall": quality}


def pairs(frame):
    columns = frame.select("user", "product").toPandas()
    return columns["user"].to_numpy(), columns["product"].to_numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("matrix")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--regularization", type=float, default=1.0)
    parser.add_argument("--mllib-regularization", type=float, default=0.1)
    parser.add_argument("--executors", type=int, default=2)
    parser.add_argument("--memory", default="6g", help="of an executor")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(one(options)))
        return
    found = {}
    for side in ("strata", "mllib"):
        program = [sys.executable, __file__, *sys.argv[1:], "--side", side]
        text = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[side] = json.loads(text.splitlines()[-1])
        figures = found[side]
        print(f"{side}: {figures['seconds']:.1f} s, {figures['bytes'] / 1e9:.2f} GB, recall@20 {figures['recall']:.4f}", flush=True)
    ratio = {what: found["mllib"][what] / found["strata"][what] for what in ("seconds", "bytes")}
    print(f"{ratio['seconds']:.1f} times the time, {ratio['bytes']:.1f} times the memory")


if __name__ == "__main__":
    main()
