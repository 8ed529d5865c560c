"""SPLATT beside ours on a tensor: CP decomposition, completion, and the way from the file to the first iteration.

    splatt.py FOLDER --coordinator PROGRAM [--ranks 16,32,64] [--iterations 5] [--repeats 3] [--parts cpd,complete]

FOLDER holds the planted tensor (planted.py FOLDER --bins 52 --forms parquet,tns); sources, builds and our outputs go
there too. SPLATT is built twice at pinned commits: its main branch for CP-ALS, in single precision as ours is, and its branch
of the SC16 paper for completion, which knows double precision only. OpenBLAS comes with the package scipy-openblas32.
Both sides have two threads; ours one embedded worker. Needs cmake, a C compiler, and requirements.txt.
"""

import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import time

import scipy_openblas32
from fetching import checkout, run

REPOSITORY = "https://github.com/ShadenSmith/splatt"
COMMITS = {"cpd": "6cb8628", "complete": "6a89e1d"}
# The package's names have a prefix.
NAMES = [kind + name for kind in "sd" for name in ["potrf_", "potrs_", "syrk_", "getrf_", "getrs_", "gelss_"]]


def build(folder, part, repository):
    source = checkout(repository, COMMITS[part], os.path.join(folder, f"splatt-{part}"), leave_out=["tests"])
    program = os.path.join(source, "build", "bin", "splatt")
    if os.path.exists(program):
        return program
    os.makedirs(os.path.join(source, "tests"), exist_ok=True)
    open(os.path.join(source, "tests", "CMakeLists.txt"), "w").close()
    library = os.path.join(scipy_openblas32.get_lib_dir(), f"lib{scipy_openblas32.get_library()}.so")
    names = " ".join(f"-D{name}=scipy_{name}" for name in NAMES)
    width = ["-DUSER_VAL_WIDTH=single", "-DUSER_IDX_WIDTH=32"] if part == "cpd" else []
    run(
        "cmake", "-S", source, "-B", os.path.join(source, "build"), "-DCMAKE_BUILD_TYPE=Release",
        "-DCMAKE_POLICY_VERSION_MINIMUM=3.5", f"-DUSER_LAPACK_LIB={library}", f"-DUSER_BLAS_LIB={library}",
        f"-DCMAKE_C_FLAGS={names} -O3 -fcommon -w -Wno-error", *width,
    )
    run("cmake", "--build", os.path.join(source, "build"), "--parallel", "2")
    return program


def splatt(program, part, arguments):
    """Seconds of each iteration, of the whole run, and what it printed."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"}
    begin = time.perf_counter()
    text = run(program, *arguments, env=environment)
    whole = time.perf_counter() - begin
    line = r"its = *\d+ \(([\d.]+)s\)" if part == "cpd" else r"epoch: .*time: *([\d.e+-]+)s"
    seconds = [float(seconds) for seconds in re.findall(line, text)]
    if part == "complete":
        # Counted from the start, with the error after each epoch.
        seconds = [after - before for before, after in zip(seconds, seconds[1:])]
    return seconds, whole, text


def ours(coordinator, folder, name, settings, fresh_data):
    """The report of a training run from the Parquet file or, unless `fresh_data`, from the sealed data set; with it how long all took,
    and how long from the start of the programs to the end of the first epoch."""
    for place in [f"model-{name}"] + (["data"] if fresh_data else []):
        subprocess.run(["rm", "-rf", os.path.join(folder, place)], check=True)
    keys = {
        "input.files": os.path.join(folder, "train.parquet"), "input.user": "user", "input.product": "product",
        "input.time": "bin", "input.time_bin": "day", "input.value": "value", "input.duplicates": "sum",
        "model.time": "factor", "output.data": os.path.join(folder, "data"),
        # SPLATT writes nothing; of ours the last epoch is a checkpoint.
        "output.model": os.path.join(folder, f"model-{name}"), "run.checkpoint_epochs": 1000, **settings,
    }
    job = os.path.join(folder, "empty.toml")
    open(job, "w").close()
    sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    began = time.time()
    verbs = (["ingest"] if fresh_data else []) + ["train"]
    for verb in verbs:
        report = json.loads(run(coordinator, "--json", "--workers", "1", verb, job, *sets))
    whole = time.time() - began
    # The journal says when an epoch ended.
    journal = json.loads(run(coordinator, "--json", "log", job, *sets))["runs"][-1]["events"]
    ended = next(event["at"] for event in journal if event["event"] == "epoch")
    return report | {"whole": whole, "first": datetime.datetime.fromisoformat(ended).timestamp() - began}


def show(title, rows):
    print(title)
    for name, seconds in rows:
        print(f"  {name}: median {statistics.median(seconds):.3f} s, from {min(seconds):.3f} to {max(seconds):.3f}", flush=True)


def later(report):
    """Seconds of the epochs after the first."""
    return [epoch["seconds"] for epoch in report["epochs"]][1:]


def compare_cpd(options, program, rank):
    tensor = os.path.join(options.folder, "train.tns")
    theirs, mine, to_first, my_first = [], [], [], []
    for repeat in range(options.repeats):
        arguments = ["cpd", tensor, "-r", str(rank), "-i", str(options.iterations), "-t", "2", "--tol", "0", "--nowrite", "-v"]
        iterations, whole, text = splatt(program, "cpd", arguments)
        theirs += iterations[1:]
        to_first.append(whole - sum(iterations[1:]))
        settings = {"model.preset": "full", "model.rank": rank, "model.epochs": options.iterations}
        report = ours(options.coordinator, options.folder, f"cpd-{rank}", settings, fresh_data=False)
        mine += later(report)
        my_first.append(report["first"])
    show(f"CP-ALS, rank {rank}, an iteration", [("SPLATT", theirs), ("ours", mine)])
    show(f"CP-ALS, rank {rank}, start to the end of the first iteration", [("SPLATT, from its text", to_first), ("ours, sealed data", my_first)])
    print(f"  ratio of an iteration {statistics.median(theirs) / statistics.median(mine):.2f}")


def compare_completion(options, program, rank):
    train, test = (os.path.join(options.folder, f"{part}.tns") for part in ("train", "test"))
    rows = []
    for algorithm in ["als", "sgd", "ccd"]:
        arguments = ["complete", train, test, "-r", str(rank), "-i", str(options.iterations), "-t", "2", "-a", algorithm, "--nowrite"]
        iterations, _, text = splatt(program, "complete", arguments)
        rows.append((f"SPLATT {algorithm}", iterations[1:]))
    both = {"model.rank": rank, "model.epochs": options.iterations + 1}
    als = {"model.preset": "explicit", "model.regularization": 0.02, "model.solver": options.solver}
    descent = {"model.kind": "sgd", "model.loss": "squared"}
    for name, settings in [("als", als), ("sgd", descent)]:
        report = ours(options.coordinator, options.folder, f"complete-{rank}", both | settings, fresh_data=False)
        rows.append((f"ours, {name}", later(report)))
    show(f"completion, rank {rank}, an epoch", rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--coordinator", required=True)
    parser.add_argument("--ranks", default="16,32,64")
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", default="cpd,complete")
    parser.add_argument("--solver", default="cholesky", help="ours, of completion")
    parser.add_argument("--repository", default=REPOSITORY, help="of SPLATT: another address or a clone")
    options = parser.parse_args()
    programs = {part: build(options.folder, part, options.repository) for part in options.parts.split(",")}
    settings = {"model.preset": "full", "model.rank": 16, "model.epochs": 1}
    report = ours(options.coordinator, options.folder, "first", settings, fresh_data=True)
    print(f"ours, from Parquet to the end of the first iteration at rank 16: {report['first']:.2f} s")
    for rank in (int(word) for word in options.ranks.split(",")):
        for part, program in programs.items():
            (compare_cpd if part == "cpd" else compare_completion)(options, program, rank)


if __name__ == "__main__":
    main()
