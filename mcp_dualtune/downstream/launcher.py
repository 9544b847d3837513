"""A small process between us and one server on POSIX: nothing the server starts outlives us, however we end.

Run by file path as `python -I -S launcher.py FD PARENT_PID COMMAND ARGS...`. FD is one end of a socket pair: the
launcher writes `pid N`, `exit N` (minus a signal's number) or `error ERRNO` lines to it, and takes its end as the order
to stop. When that order comes, the server first sees its standard input end, then SIGTERM, then SIGKILL.
Owns process supervision. Refuses to own: the protocol; standard input and output belong to the server alone.
Uses the standard library only, so that it starts in a few milliseconds whatever environment the server gets.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import time

EXIT_GRACE = 1.0
"""Seconds a server has to leave by itself after its standard input ended."""
TERM_GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL."""
KILL_LIMIT = 2.0
"""Seconds for the kernel to take away what was killed."""
PARENT_CHECK = 0.5
"""Seconds between looks at the parent; the socket tells sooner, unless a forked copy of the parent holds it open."""
_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36
_LINUX = sys.platform == "linux"


def main(argv: list[str]) -> int:
    """Run one server until it or we end; give its exit status."""
    control = socket.socket(fileno=int(argv[0]))
    control.set_inheritable(False)
    parent, command = int(argv[1]), argv[2:]
    # The parent ends us over the socket; signals meant for the whole group reach the server without us.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    if _LINUX:
        # Grandchildren whose parent ends come to us, also those that left the process group.
        _prctl(_SET_CHILD_SUBREAPER, 1)
    child, error = _spawn(command)
    _report(control, f"error {error}" if error else f"pid {child}")
    _let_go_of_the_pipes()
    if error:
        return 127
    status = _watch(child, control, wake_read, parent)
    if status is None:
        status = _end_gently(child)
    if status is not None:
        _report(control, f"exit {status}")
    _end_the_rest()
    return status or 0


def _spawn(command: list[str]) -> tuple[int, int]:
    """Start the server; its process id and 0, or 0 and the error number."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.close(read_end)
            for number in (
                signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD, signal.SIGPIPE
            ):  # fmt: skip
                signal.signal(number, signal.SIG_DFL)
            if _LINUX:
                # Should the launcher itself be killed, at least the server goes with it.
                _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
            try:
                os.execvp(command[0], command)
            except OSError as problem:
                os.write(write_end, str(problem.errno or 1).encode())
        os._exit(127)
    os.close(write_end)
    told = os.read(read_end, 16)
    os.close(read_end)
    if told:
        os.waitpid(child, 0)
        return 0, int(told)
    return child, 0


def _watch(child: int, control: socket.socket, wake: int, parent: int) -> int | None:
    """Wait for the server's end (its exit status) or for the order to stop (None)."""
    while True:
        status = _reap(child)
        if status is not None:
            return status
        ready = select.select([control.fileno(), wake], [], [], PARENT_CHECK)[0]
        if wake in ready:
            os.read(wake, 4096)
        if control.fileno() in ready and not control.recv(64):
            return None
        if os.getppid() != parent:
            return None


def _end_gently(child: int) -> int | None:
    """Wait for the server to see the end of its input, then ask it to end; its exit status if it did."""
    status = _wait(child, EXIT_GRACE)
    if status is None:
        os.killpg(0, signal.SIGTERM)
        status = _wait(child, TERM_GRACE)
    return status


def _end_the_rest() -> None:
    """Kill all that is left below us, with us in it where the descendants cannot be listed."""
    deadline = time.monotonic() + KILL_LIMIT
    while _LINUX and (left := _descendants()) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.01)
        _reap(0)
    if not _LINUX:
        os.killpg(0, signal.SIGKILL)


def _wait(child: int, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while (status := _reap(child)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return status


def _reap(child: int) -> int | None:
    """Collect every ended process; the exit status of `child` when it is among them."""
    found = None
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if process == 0:
            return found
        if process == child:
            found = os.waitstatus_to_exitcode(status)


def _descendants() -> list[int]:
    """Every living process below this one (Linux)."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib would double the start time
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                    fields = file.read().rpartition(b")")[2].split()
                if fields[0] != b"Z":
                    parents[int(name)] = int(fields[1])
    found, new = [], [os.getpid()]
    while new:
        new = [process for process, above in parents.items() if above in new]
        found += new
    return found


def _let_go_of_the_pipes() -> None:
    """Hold neither end of the server's streams, or its end would go unseen."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)


def _report(control: socket.socket, line: str) -> None:
    with contextlib.suppress(OSError):
        control.sendall(f"{line}\n".encode())


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) & 0xFF)
