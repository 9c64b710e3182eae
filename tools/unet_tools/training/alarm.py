"""Keeps XLA's alarm about slow compilation from standard error. Run as a program, it is the filter itself.

XLA writes the alarm in C++, to file descriptor 2, whatever Python does. The filter is a process of its own, so that the
last words of a training that crashes pass through it, too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator

_FILE = b"slow_operation_alarm.cc"
"""The source file of XLA that the alarm's first line names."""

_SECONDS = 1.0
"""Time for the filter to end; processes that a training left behind may keep it."""


def without_alarm(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines but those of the alarm: one that names its source file, and the blank ones, asterisks and "[Compiling
    module …" that follow on it.

    Example:
        >>> alarm = [b"E1 slow_operation_alarm.cc:73] ", b"****", b"[Compiling module jit_step] Very slow?", b"****"]
        >>> list(without_alarm([b"first", *alarm, b"last"]))
        [b'first', b'last']
    """
    within = False
    for line in lines:
        text = line.strip()
        within = _FILE in text or (within and (not text.strip(b"*") or text.startswith(b"[Compiling module")))
        if not within:
            yield line


@contextlib.contextmanager
def alarm_filtered() -> Iterator[None]:
    """Within the block, what XLA and other libraries write to standard error passes through the filter; Python's own
    output goes straight there, so that a terminal stays one. Without a process to be had, nothing changes."""
    sys.stderr.flush()
    try:
        real = os.dup(2)
        command = [sys.executable, "-I", "-S", __file__]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    except OSError:
        yield
        return
    assert process.stdin is not None
    os.dup2(process.stdin.fileno(), 2)
    process.stdin.close()
    before = sys.stderr
    if _descriptor(before) == 2:
        sys.stderr = os.fdopen(real, "w", 1, before.encoding, before.errors, closefd=False)
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before
        os.dup2(real, 2)  # closes the pipe, which ends the filter
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            process.returncode = 0  # it ends with the last process that has the pipe; Python need not warn of that
        os.close(real)


def _descriptor(stream: object) -> int | None:
    try:
        return stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return None


def main() -> None:
    """From standard input to standard error, until the input ends; signals to the whole job do not end it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for line in without_alarm(iter(sys.stdin.buffer.readline, b"")):
        os.write(2, line)


if __name__ == "__main__":
    main()
