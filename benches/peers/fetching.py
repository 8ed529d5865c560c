"""Pinned sources of peers that have no package, fetched and built once."""

import os
import subprocess


def run(*words, **options):
    """The program's output; its words where it fails."""
    done = subprocess.run(words, capture_output=True, text=True, **options)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def checkout(repository, commit, folder, leave_out=()):
    """A work tree of a commit without some of its folders."""
    if not os.path.exists(folder):
        run("git", "clone", "--quiet", "--no-checkout", repository, folder)
    run("git", "-C", folder, "checkout", "--quiet", commit, "--", ".", *[f":!{path}" for path in leave_out])
    return folder
