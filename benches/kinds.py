"""Every kind of model on the bundled purchases side by side: quality with intervals, time and memory.

    kinds.py FOLDER --coordinator PROGRAM [--kinds als,lightgcn,...] [--threads 2]

All run on one sealed data set at rank 64 with the split of examples/complete-journey/job.toml, end where the validation part says
(`patience`, where a kind learns by steps), and are evaluated on the test part once: means over households, 95 % intervals by bootstrap.
"""

import argparse
import json
import os
import shutil
import subprocess

EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../examples/complete-journey")
STOPS = ["model.patience=8"]
KINDS = {
    "als": ["model.kind=als", "model.epochs=10", "model.alpha=0.5", "model.regularization=0.003"],
    "als, tensor": ["model.kind=als", "model.time=factor", "model.epochs=10", "model.alpha=0.5"],
    "sgd, bpr": ["model.kind=sgd", "model.loss=bpr", "model.biases=true", "model.epochs=60", *STOPS],
    "sgd, logistic": ["model.kind=sgd", "model.loss=logistic", "model.epochs=40", *STOPS],
    "line": ["model.kind=line", "model.epochs=40", *STOPS],
    "spectral": ["model.kind=spectral", "model.epochs=6"],
    "spectral, walks of 3": ["model.kind=spectral", "model.walk_length=3", "model.epochs=6"],
    "filter": ["model.kind=filter", "model.epochs=4"],
    "filter, as 64 factors": ["model.kind=filter", "model.distill=64", "model.epochs=4"],
    "filter, as 256 factors": ["model.kind=filter", "model.distill=256", "model.epochs=4"],
    "lightgcn, 2 layers": ["model.kind=lightgcn", "model.layers=2", "model.epochs=40", *STOPS],
    "gcn, 1 layer": ["model.kind=gcn", "model.layers=1", "model.epochs=40", *STOPS],
    "gcn, 2 layers": ["model.kind=gcn", "model.layers=2", "model.epochs=40", *STOPS],
    "gcn, 3 layers": ["model.kind=gcn", "model.layers=3", "model.epochs=40", *STOPS],
    "ucmf": ["model.kind=ucmf", "model.epochs=60", *STOPS],
}
JOB = """[input]
files = ["{example}/transactions.parquet"]
user = "household_id"
product = "product_id"
time = "day"
time_bin = "week"
duplicates = "count"
[split]
validation_bins = 4
test_bins = 4
[model]
rank = 64
[output]
data = "data"
model = "model"
"""


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder")
    arguments.add_argument("--coordinator", required=True)
    arguments.add_argument("--kinds", default=";".join(KINDS), help="separated by semicolons")
    arguments.add_argument("--threads", default="2")
    given = arguments.parse_args()
    os.makedirs(given.folder, exist_ok=True)
    job = os.path.join(given.folder, "job.toml")
    with open(job, "w") as file:
        file.write(JOB.format(example=EXAMPLE))

    def run(verb, settings):
        sets = [word for setting in settings for word in ("--set", setting)]
        command = [given.coordinator, "--json", "--threads", given.threads, *sets, verb, job]
        done = subprocess.run(command, capture_output=True, text=True)
        report = json.loads(done.stdout)
        if done.returncode:
            raise SystemExit(report["error"]["message"])
        return report

    run("ingest", [])
    print("| kind | recall@20, new products | NDCG@20, new products | recall@20, all products | epochs | seconds | MB |")
    print("|---|---|---|---|---|---|---|")
    for name in given.kinds.split(";"):
        model = os.path.join(given.folder, "model")
        shutil.rmtree(model, ignore_errors=True)
        settings = KINDS[name]
        trained, evaluated = run("train", settings), run("evaluate", settings)
        # The report of a verb has the evaluation beside it or as it.
        evaluation = evaluated.get("evaluation", evaluated)

        def told(task, metric):
            value = evaluation["tasks"][task]["model"][metric]
            low, high = evaluation["intervals"][task]["model"][metric]
            return f"{value:.4f} [{low:.4f}, {high:.4f}]"

        seconds = sum(epoch["seconds"] for epoch in trained["epochs"])
        best = (trained.get("best") or {}).get("epoch") or len(trained["epochs"])
        quality = " | ".join(told(*of) for of in [("new_products", "recall@20"), ("new_products", "ndcg@20"), ("all_products", "recall@20")])
        print(f"| {name} | {quality} | {best} of {len(trained['epochs'])} | {seconds:.1f} | {trained['peak_anonymous_bytes'] / 1e6:.0f} |", flush=True)


if __name__ == "__main__":
    main()
