"""Removes XLA's alarm about slow compilation from standard error. Run as a program, it is the filter.

XLA writes the alarm in C++ to file descriptor 2, outside of Python's control. The filter is a separate process, so that
the last messages of a crashing process pass through it, too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator

_FILE = b"slow_operation_alarm.cc"
"""XLA's source file in the first line of the alarm."""

_SECONDS = 1.0
"""Seconds to wait for the end of the filter, which remaining processes of the training may delay."""


def without_alarm(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines without those of the alarm: a line with its source file, and the following blank lines, asterisks and
    "[Compiling module …".

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
    """Within the block, output of XLA and other libraries to standard error passes through the filter. Python's own
    output goes there directly, so that it stays a terminal. If the filter cannot be started, nothing changes."""
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
            process.returncode = 0  # it ends with the last process that uses the pipe; prevents Python's warning
        os.close(real)


def _descriptor(stream: object) -> int | None:
    try:
        return stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return None


def main() -> None:
    """Copies standard input to standard error until the input ends; ignores signals to the whole job."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for line in without_alarm(iter(sys.stdin.buffer.readline, b"")):
        os.write(2, line)


if __name__ == "__main__":
    main()
