"""The workers of a call on a cluster that somebody else runs: the side of a node, inside an actor or a task."""

from __future__ import annotations

import bisect
import fcntl
import json
import os
import select
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from strata._holder import FIRST
from strata._roster import GREETING_SECONDS, Invitation, environment, notice_death, tls_context
from strata.errors import UnavailableError

#: Folders of workers in the temporary directory of a node.
_PREFIX = "strata-worker-"
#: A daemon that ends though nobody told it is started anew so often.
_RESTARTS_MAX = 5
_SAYS = "worker: listening on "
#: As `coordinator tls init` names who starts jobs.
_DRIVER = "coordinator.strata"


@dataclass(frozen=True)
class Rows:
    """What a worker begins with: Arrow batches in the order of a column of numbers, of which the upper bits say where a table ends."""

    batches: Iterable[Any]
    #: The column of numbers. All others are taken.
    number: str
    #: Rows whose numbers differ in the lowest of these bits alone are of one table.
    low_bits: int
    #: Bytes of memory for them; more lies in files.
    room: int


def serve(invitation: Invitation, host: str, rows: Rows | None = None) -> None:
    """Be a worker that listens at ``host``, until the roster lets it go or is gone.

    The daemon is a process of its own, which ends with this one, however this one ends. One that is started anew has no rows.
    """
    _sweep()
    making = Path(tempfile.mkdtemp(prefix="strata-new-"))
    # Held as long as this process lives: a folder of that name that nobody holds is left over from one that was killed.
    with (making / "held").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        folder = making.rename(making.with_name(making.name.replace("strata-new-", _PREFIX)))
        try:
            certificates = folder / "certificates"
            certificates.mkdir(mode=0o700)
            for name, content in invitation.certificates.items():
                (certificates / name).write_bytes(content)
            with _reported(invitation, certificates) as roster:
                _work(invitation, host, folder, roster, rows)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _reported(invitation: Invitation, certificates: Path) -> ssl.SSLSocket:
    at = (invitation.host, invitation.port)
    try:
        connection = socket.create_connection(at, timeout=GREETING_SECONDS)
        context = tls_context(ssl.PROTOCOL_TLS_CLIENT, certificates)
        secured = context.wrap_socket(connection, server_hostname=_DRIVER)
    except OSError as error:
        raise UnavailableError(f"the driver is not reached at {at[0]}:{at[1]}: {error}") from error
    notice_death(secured)
    return secured


def _work(invitation: Invitation, host: str, folder: Path, roster: ssl.SSLSocket, rows: Rows | None) -> None:
    over, talking = threading.Event(), threading.Lock()
    running: list[subprocess.Popen[bytes]] = []

    def heed() -> None:
        while not _ended(roster, talking):
            pass
        over.set()
        for child in running:
            child.kill()

    arguments = ["--until-stdin-ends", "--log", "warn", "--listen", f"{host}:0", "--data", str(folder / "data")]
    arguments += ["--tls", str(folder / "certificates"), *invitation.arguments]
    listening = False
    for attempt in range(_RESTARTS_MAX + 1):
        child, pipe = _started(arguments, folder, rows if attempt == 0 else None)
        assert child.stderr is not None and child.stdin is not None
        with child, child.stdin, child.stderr:
            running[:] = [child]
            if attempt == 0:
                threading.Thread(target=heed, name="strata-roster", daemon=True).start()
            elif over.is_set():
                child.kill()
            held = _fed(child, pipe, rows) if pipe is not None and rows is not None else []
            last: deque[str] = deque(maxlen=3)
            address = _address(child.stderr, last)
            if address is not None and not over.is_set():
                listening = True
                tables = [[first, f"resident://{address}/{name}", *more] for first, name, *more in held]
                try:
                    with talking:
                        roster.settimeout(GREETING_SECONDS)
                        roster.sendall(json.dumps({"address": address, "held": tables}).encode() + b"\n")
                except OSError:
                    over.set()
                    child.kill()
            _pass_on(child.stderr, last)
            code = child.wait()
        if over.is_set():
            return
        said = "; ".join(last) or "without a word"
        if not listening:
            raise UnavailableError(f"the worker on {host} does not start (exit code {code}): {said}")
        print(f"strata: the worker on {host} ended with {code} and is started anew: {said}", file=sys.stderr, flush=True)
    raise UnavailableError(f"the worker on {host} ended {_RESTARTS_MAX + 1} times, with {code} at last: {said}")


def _started(arguments: list[str], folder: Path, rows: Rows | None) -> tuple[subprocess.Popen[bytes], IO[bytes] | None]:
    """The daemon, and where it takes rows from."""
    command, theirs, pipe = [sys.executable, "-m", "strata.worker"], [], None
    if rows is not None:
        end, ours = os.pipe()
        pipe, theirs = os.fdopen(ours, "wb"), [end]
        place = folder / "rows"
        place.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "strata._holder", str(end), str(place), str(rows.room)]
    child = subprocess.Popen(
        command + arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL if rows is None else subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        pass_fds=theirs,
    )
    for end in theirs:
        os.close(end)
    return child, pipe


def _fed(child: subprocess.Popen[bytes], pipe: IO[bytes], rows: Rows) -> list[list[Any]]:
    """Give a daemon its rows, and hear what became of them; nothing, where it ended over them."""
    assert child.stdout is not None
    with child.stdout:
        try:
            with pipe:
                _feed(pipe, rows)
        except BrokenPipeError:
            return []
        told = child.stdout.read()
    held: list[list[Any]] = json.loads(told) if told else []
    return held


def _feed(pipe: IO[bytes], rows: Rows) -> None:
    import pyarrow as pa

    stream, table = None, -1
    for batch in rows.batches:
        numbers = batch.column(rows.number)
        bare = batch.drop_columns([rows.number])
        start = 0
        while start < len(batch):
            first = numbers[start].as_py()
            if stream is None or first >> rows.low_bits != table:
                if stream is not None:
                    stream.close()
                table = first >> rows.low_bits
                stream = pa.ipc.new_stream(pipe, bare.schema.with_metadata({FIRST: str(first)}))
            beyond = (table + 1) << rows.low_bits
            end = bisect.bisect_left(range(len(batch)), beyond, lo=start, key=lambda at: numbers[at].as_py())
            stream.write_batch(bare.slice(start, end - start))
            start = end
    if stream is not None:
        stream.close()


def _ended(roster: ssl.SSLSocket, talking: threading.Lock) -> bool:
    """Whether the roster is gone; it says nothing. Looked for a while."""
    try:
        readable, _, _ = select.select([roster], [], [], 1.0)
        if not readable:
            return False
        # One end of TLS is for one thread at a time, and what came may be a word of TLS alone.
        with talking:
            roster.settimeout(0.1)
            return not roster.recv(1)
    except TimeoutError:
        return False
    except (OSError, ValueError):
        # It broke, or is closed on this side.
        return True


def _address(said: IO[bytes], last: deque[str]) -> str | None:
    """Where the daemon listens, once it says so."""
    for line in said:
        text = line.decode(errors="replace").rstrip()
        if text.startswith(_SAYS):
            return text.removeprefix(_SAYS)
        last.append(text)
    return None


def _pass_on(said: IO[bytes], last: deque[str]) -> None:
    """What the daemon says is what its actor or task says."""
    for line in said:
        text = line.decode(errors="replace").rstrip()
        last.append(text)
        print(text, file=sys.stderr, flush=True)


def _sweep() -> None:
    """Remove what workers left behind that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            with (folder / "held").open("r") as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            # Somebody holds it, or it is not ours, or was only just made.
            continue
