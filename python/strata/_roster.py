"""The workers of a call on a cluster that somebody else runs: the side of the driver.

Workers report where they listen to a roster, each over a connection that it keeps, and the roster writes all addresses into a file that
the engine reads again and again: who is started anew somewhere else is found there. A worker works as long as its connection lasts, so
none is left behind, whatever the driver's end is like. Who talks with whom shows a certificate of an authority that is made for this
call alone.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from strata.errors import BugError, UnavailableError

#: How long either end may take to show its certificate, in seconds.
GREETING_SECONDS = 10.0
#: A report, an address and the names of tables, has fewer bytes than that.
_REPORT_BYTES_MAX = 1 << 20
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Invitation:
    """All that a node must know to become a worker of a roster. It holds a private key."""

    host: str
    port: int
    certificates: Mapping[str, bytes]
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Held:
    """Rows in the memory of a worker: the number of the first, where they are read, how many there are, and whether a file has them."""

    first: int
    url: str
    rows: int
    in_file: bool


class Roster:
    """Who works for a call.

    Parameters
    ----------
    host : str
        Where nodes reach this process.
    arguments : list of str
        What every worker daemon is started with.
    bind : str, optional
        Where to listen, if that is not ``host``.
    """

    def __init__(self, host: str, arguments: list[str], bind: str | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="strata-roster-")
        folder = Path(self._folder.name)
        certificates = folder / "certificates"
        _authority(certificates)
        self._tls = certificates / "coordinator"
        self._file = folder / "workers"
        self._changed = threading.Condition()
        self._there: dict[socket.socket, tuple[str, list[Held]] | None] = {}
        self._closing = False
        self._write()
        context = tls_context(ssl.PROTOCOL_TLS_SERVER, self._tls)
        try:
            self._listener = socket.create_server((bind or host, 0))
        except OSError as error:
            self._folder.cleanup()
            raise UnavailableError(f"workers cannot report to {bind or host}: {error}") from error
        shown = {path.name: path.read_bytes() for path in (certificates / "worker").iterdir()}
        self.invitation = Invitation(host, self._listener.getsockname()[1], shown, tuple(arguments))
        threading.Thread(target=self._accept, args=(context,), name="strata-roster", daemon=True).start()

    @property
    def settings(self) -> dict[str, Any]:
        """What a job says to run on these workers. Theirs alone are the threads."""
        return {"run.workers": f"file://{self._file}", "run.tls": str(self._tls), "run.threads": None}

    @property
    def closing(self) -> bool:
        """Whether workers are being let go."""
        return self._closing

    def addresses(self) -> list[str]:
        """Where workers listen now."""
        with self._changed:
            return sorted(report[0] for report in self._there.values() if report is not None)

    def held(self) -> list[Held]:
        """The rows that workers began with, in the order of their numbers."""
        with self._changed:
            return sorted((held for report in self._there.values() if report for held in report[1]), key=lambda held: held.first)

    def wait(self, workers: int, seconds: float, look: Callable[[], bool | None]) -> bool:
        """Wait until so many have reported; ``look`` raises if they never will, and time does not count while it says that something is
        being done for them. Whether they have in time."""
        until = time.monotonic() + seconds
        while len(self.addresses()) < workers:
            if look():
                until = time.monotonic() + seconds
            if time.monotonic() > until:
                return False
            with self._changed:
                self._changed.wait(_LOOK_SECONDS)
        return True

    def close(self) -> None:
        """Let all workers go."""
        with self._changed:
            self._closing = True
            there = list(self._there)
        # Closing alone would not wake who waits in it.
        for each in [self._listener, *there]:
            _shut(each)
        self._listener.close()
        self._folder.cleanup()

    def __enter__(self) -> Roster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _accept(self, context: ssl.SSLContext) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(context, connection), daemon=True).start()

    def _serve(self, context: ssl.SSLContext, connection: socket.socket) -> None:
        """Hear one worker until it is gone."""
        try:
            connection.settimeout(GREETING_SECONDS)
            with context.wrap_socket(connection, server_side=True) as worker:
                try:
                    with self._changed:
                        if self._closing:
                            return
                        self._there[worker] = None
                    worker.settimeout(None)
                    notice_death(worker)
                    reports = worker.makefile("rb")
                    while report := reports.readline(_REPORT_BYTES_MAX):
                        self._put(worker, json.loads(report))
                finally:
                    with self._changed:
                        self._there.pop(worker, None)
                    self._write()
        except (OSError, ValueError, KeyError, TypeError):
            # One that is no worker, or a worker that died.
            connection.close()

    def _put(self, worker: socket.socket, report: dict[str, Any]) -> None:
        held = [Held(int(first), str(url), int(rows), bool(in_file)) for first, url, rows, in_file in report["held"]]
        with self._changed:
            self._there[worker] = (str(report["address"]), held)
        self._write()

    def _write(self) -> None:
        with self._changed:
            if self._closing:
                return
            unfinished = self._file.with_suffix(".part")
            unfinished.write_text("".join(f"{address}\n" for address in self.addresses()), encoding="ascii")
            unfinished.replace(self._file)
            self._changed.notify_all()


def tls_context(protocol: int, folder: Path) -> ssl.SSLContext:
    """TLS 1.3 with the certificate of a folder, for those who have one of the same authority."""
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def notice_death(connection: socket.socket) -> None:
    """Have a connection end some 30 seconds after the machine at its other end is gone without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # Nobody is at its other end, or the end is there already.
        pass


def _authority(folder: Path) -> None:
    command = [sys.executable, "-m", "strata", "tls", "init", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode != 0:
        raise BugError(f"no certificates could be made: {done.stderr.strip()}")


def environment() -> dict[str, str]:
    """That of a process of ours: without settings, and with this package where it is now."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STRATA_")}
    here = str(Path(__file__).resolve().parents[1])
    paths = [here, *kept.get("PYTHONPATH", "").split(os.pathsep)]
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
