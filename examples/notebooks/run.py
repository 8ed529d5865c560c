"""Executes notebooks from beginning to end, and says how long each took.

    pip install ./python ipykernel==7.4.0 matplotlib==3.11.2 nbclient==0.11.0 nbformat==5.11.1 pandas pyarrow scipy
    python examples/notebooks/run.py                         # all of them
    python examples/notebooks/run.py quick-start             # some
    python examples/notebooks/run.py --out FOLDER            # and keeps them there with what their cells showed

What lies here has no outputs: a notebook with some is refused (`jupyter nbconvert --clear-output --inplace` takes them away).
"""

import argparse
import sys
import time
from pathlib import Path

import nbclient
import nbformat

HERE = Path(__file__).resolve().parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="as in quick-start; all without any")
    parser.add_argument("--out", type=Path, help="where executed notebooks are written")
    parser.add_argument("--timeout", type=int, default=600, help="seconds that a cell may take")
    given = parser.parse_args()
    failed = []
    for file in [HERE / f"{name}.ipynb" for name in given.names] or sorted(HERE.glob("*.ipynb")):
        if not file.is_file():
            raise SystemExit(f"{file.name} is not there: {', '.join(sorted(each.stem for each in HERE.glob('*.ipynb')))}")
        book = nbformat.read(file, as_version=4)
        nbformat.validate(book)
        if any(cell.cell_type == "code" and (cell.outputs or cell.execution_count) for cell in book.cells):
            raise SystemExit(f"{file.name} has outputs: clear them before it is kept")
        began = time.monotonic()
        # Paths start at the notebook, as they do for its readers.
        client = nbclient.NotebookClient(book, timeout=given.timeout, kernel_name="python3", resources={"metadata": {"path": str(HERE)}})
        try:
            client.execute()
        except nbclient.exceptions.CellExecutionError as error:
            print(f"{file.stem}: {error}", file=sys.stderr)
            failed.append(file.stem)
        print(f"{file.stem}: {'FAILED' if file.stem in failed else 'done'} in {time.monotonic() - began:.0f} s", flush=True)
        if given.out:
            given.out.mkdir(parents=True, exist_ok=True)
            nbformat.write(book, given.out / file.name)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
