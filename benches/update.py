"""What 1 % of new rows costs: `update` beside an ingest and a training of everything, and whether its model is as good.

    update.py FOLDER --coordinator PROGRAM [--rows 20e6] [--rank 64] [--epochs 10] [--share 0.01] [--repeats 5] [--threads 2] [--memory 4GiB]

Generated purchases of 400 days, a folder a day; the last ones, a hundredth of the rows, are new. Once, all but these are ingested and trained
on. Then, in turns: everything is ingested and trained on anew; the new rows are added to a copy of the earlier data set (`update`), and the
earlier model takes them by `update.fold_in`, and another copy by an epoch of training on. The parts are by a hash of the cell, so the new
rows have their tenth in the test, too; a model is judged by NDCG@20 on the new products of all test rows. Medians, and ratios to the whole.
The data set is on the disk's cache for all alike; `--rows 20e6` takes 5 GB.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys

DAYS = 400


def shared(folder, name, days):
    """A folder with links to the files of these days."""
    place = os.path.join(folder, name)
    shutil.rmtree(place, ignore_errors=True)
    os.makedirs(place)
    for day in days:
        os.makedirs(os.path.join(place, day))
        for name in os.listdir(os.path.join(folder, "shop", "interactions", day)):
            os.link(os.path.join(folder, "shop", "interactions", day, name), os.path.join(place, day, name))
    return place


class Job:
    def __init__(self, options, place, files):
        self.options, self.place, self.files = options, place, files

    def verb(self, verb, **more):
        options = self.options
        keys = {
            "input.files": self.files, "input.user": "user", "input.product": "product", "input.time": "day", "input.time_bin": "day",
            "input.duplicates": "count", "split.test_fraction": 0.1, "model.preset": "hu", "model.time": "ignore", "model.rank": options.rank, "model.epochs": options.epochs, "output.data": os.path.join(self.place, "data"),
            "output.model": os.path.join(self.place, "model"), **more,
        }
        sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
        program = [options.coordinator, "--json", "--workers", "1", "--threads", str(options.threads), "--memory", options.memory]
        # What the generated job says of parts is of bins.
        job = os.path.join(options.folder, "empty.toml")
        open(job, "w").close()
        done = subprocess.run([*program, *sets, verb, job], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{verb} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def ndcg(self):
        return self.verb("evaluate")["tasks"]["new_products"]["model"]["ndcg@20"]


def copied(options, name, earlier, files):
    place = os.path.join(options.folder, name)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(earlier.place, place)
    return Job(options, place, files)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=os.path.abspath)
    parser.add_argument("--coordinator", required=True)
    parser.add_argument("--rows", type=lambda rows: int(float(rows)), default=20_000_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--share", type=float, default=0.01, help="of the days that are new")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", default="4GiB")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    counts = ["--users", str(max(1000, options.rows // 50)), "--products", str(max(500, options.rows // 2000)), "--days", str(DAYS)]
    generate = [options.coordinator, "generate", os.path.join(options.folder, "shop"), *counts, "--interactions", str(options.rows)]
    subprocess.run([*generate, "--layout", "days"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    days = sorted(os.listdir(os.path.join(options.folder, "shop", "interactions")))
    new = max(1, round(options.share * len(days)))
    before, all_days = shared(options.folder, "before", days[:-new]), shared(options.folder, "all", days)
    earlier = Job(options, os.path.join(options.folder, "earlier"), before)
    shutil.rmtree(earlier.place, ignore_errors=True)
    earlier.verb("ingest")
    earlier.verb("train")
    seconds = {what: [] for what in ["ingest", "train", "update", "fold in", "an epoch"]}
    quality, share = {}, 0.0
    for _ in range(options.repeats):
        place = os.path.join(options.folder, "whole")
        shutil.rmtree(place, ignore_errors=True)
        whole = Job(options, place, all_days)
        ingest = whole.verb("ingest")
        seconds["ingest"].append(ingest["seconds"])
        seconds["train"].append(whole.verb("train")["seconds"])
        quality["train"] = whole.ndcg()
        for what, more in [("fold in", {"update.fold_in": "true"}), ("an epoch", {"update.epochs": 1})]:
            job = copied(options, "updated", earlier, all_days)
            added = job.verb("update")
            seconds["update"].append(added["seconds"])
            share = added["added"]["input_rows"] / ingest["input_rows"]
            seconds[what].append(job.verb("update", **more)["seconds"])
            quality[what] = job.ndcg()
    print(f"{options.rows / 1e6:,g} M rows, {100 * share:.2f} % of them new; rank {options.rank}, {options.epochs} epochs\n")
    print("| what | seconds | of the whole | NDCG@20 | of the whole's |\n|---|---|---|---|---|")
    for what, of in [("ingest", "ingest"), ("update", "ingest"), ("train", "train"), ("fold in", "train"), ("an epoch", "train")]:
        middle, base = statistics.median(seconds[what]), statistics.median(seconds[of])
        judged = f"{quality[what]:.4f} | {quality[what] / quality['train']:.4f}" if what in quality else "- | -"
        spread = f"{middle:.2f} ({min(seconds[what]):.2f} to {max(seconds[what]):.2f})"
        print(f"| {what} | {spread} | {100 * middle / base:.1f} % | {judged} |")
    for name in ["before", "all", "earlier", "whole", "updated"]:
        shutil.rmtree(os.path.join(options.folder, name), ignore_errors=True)


if __name__ == "__main__":
    main()
