"""What `plan` says beside what a run came to, over five shapes: memory, disk, traffic and time, with their ratios.

    plan.py FOLDER --coordinator PROGRAM --worker PROGRAM [--scale 1.0] [--memory 4GiB] [--threads 1]

Prints a table in Markdown. `plan` is asked after ingest, when it counts. Two workers are two daemons on this machine, so their time is that of
two workers with as many threads only where the machine has so many. Each shape is removed before the next.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys

SHAPES = [
    # name, users, products, rows, settings, workers
    ("tall: many users, few products", 400_000, 2_000, 8_000_000, ["model.rank=64"], 1),
    ("wide: few users, many products", 20_000, 200_000, 8_000_000, ["model.rank=64"], 1),
    ("weeks as a factor", 100_000, 20_000, 8_000_000, ["model.rank=32", "model.time=factor"], 1),
    ("two workers", 200_000, 20_000, 8_000_000, ["model.rank=64"], 2),
    ("graph, two workers", 100_000, 20_000, 4_000_000, ["model.kind=lightgcn", "model.rank=64", "model.batches=1"], 2),
]
EPOCHS = 3


def size_of(folder):
    return sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(folder) for name in names)


class Daemons:
    """Workers on this machine, ended when it is left."""

    def __init__(self, program, folder, count, memory, threads):
        self.processes, self.addresses = [], []
        for number in range(count if count > 1 else 0):
            data = os.path.join(folder, f"worker-{number}")
            command = [program, "--listen", "127.0.0.1:0", "--data", data, "--memory", memory, "--threads", threads, "--until-stdin-ends"]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.processes.append(process)
            self.addresses.append(listening(process))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.stdin.close()
            process.wait()


def without_preset(job):
    """Keys of the kind that the generated job has are not those of another."""
    with open(job) as file:
        lines = [line for line in file if not line.startswith("preset")]
    with open(job, "w") as file:
        file.writelines(lines)


def listening(process):
    for line in process.stdout:
        for word in line.replace('"', " ").split():
            if word.startswith("127.0.0.1:"):
                return word.rstrip(",.;")
    sys.exit("a worker ended before it listened")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder")
    arguments.add_argument("--coordinator", required=True)
    arguments.add_argument("--worker", required=True)
    arguments.add_argument("--scale", type=float, default=1.0, help="of users, products and rows")
    arguments.add_argument("--memory", default="4GiB")
    arguments.add_argument("--threads", default="1")
    given = arguments.parse_args()
    print("| shape | figure | plan | measured | plan / measured |\n|---|---|---|---|---|")
    for name, users, products, rows, settings, workers in SHAPES:
        work = os.path.join(given.folder, "shape")
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(given.folder, exist_ok=True)
        users, products, rows = (max(200, int(of * given.scale)) for of in (users, products, rows))
        generate = [given.coordinator, "generate", work, "--users", str(users), "--products", str(products), "--days", "365",
                    "--interactions", str(rows)]
        subprocess.run(generate, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        job = os.path.join(work, "job.toml")
        if any(of.startswith("model.kind=") for of in settings):
            without_preset(job)
        with Daemons(given.worker, work, workers, given.memory, given.threads) as daemons:
            sets = [word for of in [*settings, f"model.epochs={EPOCHS}"] for word in ("--set", of)]
            crew = ["--memory", given.memory]
            crew += ["--workers", ",".join(daemons.addresses)] if workers > 1 else ["--workers", "1", "--threads", given.threads]

            def verb(word):
                done = subprocess.run([given.coordinator, "--json", *crew, *sets, word, job], capture_output=True, text=True)
                if done.returncode:
                    sys.exit(f"{word} of {name} ended with {done.returncode}: {done.stdout}{done.stderr}")
                return json.loads(done.stdout)

            ingest = verb("ingest")
            data = os.path.join(work, "strata", "data")
            sealed = size_of(data)
            plan = verb("plan")["estimate"]
            train = verb("train")
            epochs = sorted(epoch["seconds"] for epoch in train["epochs"][1:])
            moved = sum(train["work"]["bytes_to_peers"].values() if isinstance(train["work"]["bytes_to_peers"], dict)
                        else train["work"]["bytes_to_peers"])
            figures = [
                ("memory of a worker, MiB", max(phase["whole"] for phase in plan["phases"]) / 2**20, train["peak_anonymous_bytes"] / 2**20),
                ("data set on disk, MB", plan["data_disk"] / 1e6, sealed / 1e6),
                ("traffic of an epoch, MB", plan["traffic_per_epoch"] / 1e6, moved / len(train["epochs"]) / 1e6),
                ("ingest, s", plan["ingest_seconds"], ingest["seconds"]),
                ("an epoch, s", plan["epoch_seconds"], epochs[len(epochs) // 2]),
            ]
        for figure, planned, measured in figures:
            ratio = f"{planned / measured:.2f}" if measured else "-"
            print(f"| {name} | {figure} | {planned:.2f} | {measured:.2f} | {ratio} |", flush=True)
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
