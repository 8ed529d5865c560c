"""Seconds per iteration and memory of Spark MLlib's ALS on a matrix dumped by the half_step bench.

    spark_als.py DUMP [--rank 64] [--iterations 3] [--threads 2] [--blocks 4] [--memory 8g]

Implicit feedback with α = 1 and λ = 1, as in half_step. The seconds of an iteration are the difference between a fit
of so many iterations and one of a single iteration, so neither reading nor shuffling is counted; both are printed. Memory is
the most that the JVM held resident. Needs Java 17 and pyspark 3.5.6.
"""

import argparse
import os
import time

import numpy as np
import pyspark
from implicit_als import read
from pyspark.ml.recommendation import ALS


def resident(java):
    """The most bytes that a process held, as the system counts."""
    with open(f"/proc/{java}/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dump")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--memory", default="8g")
    options = parser.parse_args()
    matrix = read(options.dump).tocoo()
    table = os.path.splitext(options.dump)[0] + "-spark.parquet"
    import pyarrow as pa
    import pyarrow.parquet

    columns = {"user": matrix.row.astype(np.int32), "item": matrix.col.astype(np.int32), "rating": matrix.data}
    pa.parquet.write_table(pa.table(columns), table, row_group_size=1_000_000)
    session = (
        pyspark.sql.SparkSession.builder.master(f"local[{options.threads}]")
        .config("spark.driver.memory", options.memory)
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    ratings = session.read.parquet(table)
    seconds = {}
    for iterations in (1, 1 + options.iterations):
        als = ALS(
            rank=options.rank, maxIter=iterations, regParam=1.0, implicitPrefs=True, alpha=1.0, seed=0,
            numUserBlocks=options.blocks, numItemBlocks=options.blocks,
        )
        begin = time.perf_counter()
        als.fit(ratings)
        seconds[iterations] = time.perf_counter() - begin
        print(f"a fit of {iterations} iterations: {seconds[iterations]:.1f} s", flush=True)
    java = session.sparkContext._gateway.java_process.pid
    children = [int(word) for word in open(f"/proc/{java}/task/{java}/children").read().split()]
    memory = max(resident(process) for process in [java, *children])
    each = (seconds[1 + options.iterations] - seconds[1]) / options.iterations
    print(f"spark rank {options.rank}: {each:.2f} s an iteration, {memory / 1e9:.2f} GB resident at most")


if __name__ == "__main__":
    main()
