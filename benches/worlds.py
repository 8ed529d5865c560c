"""Whether `advise` is right where the truth is known: generated worlds, some seeds each.

    worlds.py FOLDER --coordinator PROGRAM [--worlds low-rank,drift] [--seeds 5] [--seconds 3]

A world is made by `coordinator generate`. For each the families are named that a right verdict advises, of new products or of all; no other
model may be advised with confidence. Ends with 1 where a world has fewer right verdicts than four of five.
"""

import argparse
import json
import os
import shutil
import subprocess

SHOP = ["--users", "3000", "--products", "600", "--days", "364", "--interactions", "150000"]
ATTRIBUTES = ['--set', 'input.user_attributes.files={folder}/users', '--set', 'input.product_attributes.files={folder}/products']
EDGES = ['--set', 'input.user_edges.files={folder}/edges']
# What is generated, what of it the job reads besides purchases, the task that is judged, and what may be said.
WORLDS = {
    "low rank": (SHOP, [], "new_products", {"matrix"}),
    "nothing": ([*SHOP, "--popularity", "1"], [], "new_products", {"nothing_beats_popularity"}),
    "seasons": (["--users", "3000", "--products", "600", "--days", "728", "--interactions", "300000", "--season", "4"], [], "new_products", {"tensor"}),
    "edges": (["--users", "3000", "--products", "600", "--interactions", "15000", "--popularity", "0.5", "--friends", "20", "--homophily", "0.95"], EDGES, "new_products", {"graph"}),
    "attributes": (["--users", "3000", "--products", "600", "--interactions", "12000", "--departments", "16", "--attributes", "1"], ATTRIBUTES, "new_products", {"side_information", "popularity by segment"}),
    "repeat": ([*SHOP, "--popularity", "1", "--repeat", "0.9"], [], "all_products", {"repeat"}),
    "drift": ([*SHOP, "--drift", "1"], [], "new_products", {"fading"}),
    "tiny": (["--users", "60", "--products", "40", "--interactions", "600"], [], "new_products", {"too_little_data"}),
}


def said(report, task):
    """What a verdict comes to: an answer that is none, a family, or the model of one that has several."""
    found = report["tasks"][task]
    if found["answer"] != "use":
        return found["answer"]
    return found["model"] if found["model"].startswith("popularity by") else found["family"]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder")
    arguments.add_argument("--coordinator", required=True)
    arguments.add_argument("--worlds", default=",".join(WORLDS))
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--first-seed", type=int, default=0)
    arguments.add_argument("--seconds", default="3")
    given = arguments.parse_args()
    os.makedirs(given.folder, exist_ok=True)
    print("| world | right | verdicts |\n|---|---|---|")
    wrong = False
    for name in given.worlds.split(","):
        generate, beside, task, right = WORLDS[name]
        verdicts = []
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            folder = os.path.join(given.folder, f"{name.replace(' ', '-')}-{seed}")
            shutil.rmtree(folder, ignore_errors=True)

            def run(*command):
                done = subprocess.run([given.coordinator, "--json", *command], capture_output=True, text=True)
                report = json.loads(done.stdout)
                if done.returncode:
                    raise SystemExit(report["error"]["message"])
                return report

            run("generate", folder, *generate, "--seed", str(seed))
            report = run("advise", f"{folder}/job.toml", "--set", f"advise.seconds={given.seconds}", *(word.format(folder=folder) for word in beside))
            with open(folder + ".json", "w") as file:
                json.dump(report, file, indent=1)
            verdicts.append(said(report, task))
            shutil.rmtree(folder)
        good = sum(verdict in right for verdict in verdicts)
        wrong |= good < 0.8 * len(verdicts)
        print(f"| {name} | {good} of {len(verdicts)} | {', '.join(verdicts)} |", flush=True)
    raise SystemExit(int(wrong))


if __name__ == "__main__":
    main()
