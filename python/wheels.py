#!/usr/bin/env python3
"""Builds the wheel, with the licences of all crates in it and a list of them (CycloneDX), and looks at it.

    python3 python/wheels.py [--out FOLDER] [--profile PROFILE] [--compatibility TAG]

Needs `cargo` and `maturin`. `auditwheel`, where it is installed, says for which manylinux the wheel will do; it is an error where
that is none.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LICENCES = HERE / "strata" / "licenses"


def crates() -> list[dict[str, Any]]:
    """What is linked into the library: all that it uses on this machine, but for what only builds or tests use."""
    host = next(
        line.split(": ")[1]
        for line in subprocess.check_output(["rustc", "-vV"], text=True).splitlines()
        if line.startswith("host: ")
    )
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", host]
    metadata = json.loads(subprocess.check_output([*command, "--manifest-path", str(HERE / "Cargo.toml")], text=True))
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    # That of the whole workspace, seen from a member.
    [start] = [id for id, package in packages.items() if package["name"] == "strata-python"]
    found: set[str] = set()
    open_ids = [start]
    while open_ids:
        id = open_ids.pop()
        if id in found:
            continue
        found.add(id)
        for used in nodes[id]["deps"]:
            if any(kind["kind"] is None for kind in used["dep_kinds"]):
                open_ids.append(used["pkg"])
    return sorted((packages[id] for id in found), key=lambda package: (package["name"], package["version"]))


def checksums() -> dict[tuple[str, str], str]:
    """The SHA-256 of each crate's archive, from the lock file."""
    found: dict[tuple[str, str], str] = {}
    name = version = ""
    for line in (HERE.parent / "Cargo.lock").read_text().splitlines():
        key, _, value = line.partition(" = ")
        if key == "name":
            name = value.strip('"')
        elif key == "version":
            version = value.strip('"')
        elif key == "checksum":
            found[name, version] = value.strip('"')
    return found


def bill(packages: list[dict[str, Any]]) -> dict[str, Any]:
    """The list of crates, as CycloneDX 1.5 has it; the same sources give the same bytes."""
    sums = checksums()
    parts = []
    for package in packages:
        part: dict[str, Any] = {
            "type": "library",
            "bom-ref": f"pkg:cargo/{package['name']}@{package['version']}",
            "name": package["name"],
            "version": package["version"],
            "purl": f"pkg:cargo/{package['name']}@{package['version']}",
        }
        if package["license"]:
            part["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        digest = sums.get((package["name"], package["version"]))
        if digest:
            part["hashes"] = [{"alg": "SHA-256", "content": digest}]
        parts.append(part)
    own = next(part for part in parts if part["name"] == "strata-python")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {**own, "name": "strata"}},
        "components": [part for part in parts if part is not own],
    }


def licences(packages: list[dict[str, Any]]) -> None:
    """The texts of all licences into the package, each once however many crates have it."""
    shutil.rmtree(LICENCES, ignore_errors=True)
    LICENCES.mkdir()
    lines, bare = [], []
    for package in packages:
        if package["source"] is None:
            continue
        folder = Path(package["manifest_path"]).parent
        wanted = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")
        texts = sorted(file for file in folder.iterdir() if file.is_file() and file.name.upper().startswith(wanted))
        names = []
        for text in texts:
            content = text.read_bytes()
            name = f"{text.stem}-{hashlib.sha256(content).hexdigest()[:12]}.txt"
            (LICENCES / name).write_bytes(content)
            names.append(name)
        if not names:
            bare.append(package["name"])
        lines.append(f"{package['name']} {package['version']}: {package['license']} ({', '.join(names) or 'no text of its own'})")
    (LICENCES / "CRATES.txt").write_text("\n".join(lines) + "\n")
    if bare:
        print(f"NOTICE: crates without a licence text of their own, only its name: {', '.join(bare)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=HERE.parent / "target" / "wheels")
    parser.add_argument("--profile", default="release")
    parser.add_argument("--compatibility", help="as in manylinux_2_28; what the machine gives without it")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    packages = crates()
    before = set(given.out.glob("*.whl"))
    command = ["maturin", "build", "--manifest-path", str(HERE / "Cargo.toml"), "--out", str(given.out)]
    command += ["--profile", given.profile, "--locked"]
    if given.compatibility:
        command += ["--compatibility", given.compatibility]
    try:
        licences(packages)
        subprocess.run(command, check=True)
    finally:
        shutil.rmtree(LICENCES, ignore_errors=True)
    wheels = sorted(given.out.glob("*.whl"), key=lambda wheel: (wheel not in before, wheel.stat().st_mtime_ns))
    wheel = wheels[-1]
    names = set(zipfile.ZipFile(wheel).namelist())
    chart = HERE.parent / "deploy" / "helm" / "strata"
    carried = [f"strata/chart/{file.relative_to(chart).as_posix()}" for file in chart.rglob("*") if file.is_file()]
    for wanted in ("strata/py.typed", "strata/_engine.pyi", "strata/_engine.abi3.so", "strata/licenses/CRATES.txt", *carried):
        if wanted not in names:
            print(f"{wheel.name} lacks {wanted}", file=sys.stderr)
            return 1
    sbom = wheel.with_suffix(".cdx.json")
    sbom.write_text(json.dumps(bill(packages), indent=1) + "\n")
    print(f"{wheel}: {wheel.stat().st_size:,} bytes, {len(packages)} crates, listed in {sbom.name}")
    if shutil.which("auditwheel") is None:
        print("NOTICE: auditwheel is not installed: nobody has looked for which manylinux the wheel will do")
        return 0
    said = subprocess.run(["auditwheel", "show", str(wheel)], capture_output=True, text=True)
    print(said.stdout.strip())
    if said.returncode != 0 or "manylinux" not in said.stdout:
        print(f"{wheel.name} is for no manylinux: build it on an older system\n{said.stderr}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
