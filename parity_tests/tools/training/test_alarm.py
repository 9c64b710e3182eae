"""XLA's alarm is removed; all other output arrives, also from a process that crashes."""

import subprocess
import sys

import pytest

from unet_tools.training.alarm import without_alarm

STARS = "*" * 32
ALARM = (
    f"E1128 17:48:35.918 7 slow_operation_alarm.cc:73] \n{STARS}\n[Compiling module jit_step for CPU] Very slow "
    f"compile? If you want to file a bug, run with envvar XLA_FLAGS=--xla_dump_to=/tmp/foo.\n{STARS}\n"
    f"E1128 17:50:35.918 7 slow_operation_alarm.cc:140] The operation took 4m0.5s\n\n{STARS}\n[Compiling module "
    f"jit_step for CPU] Very slow compile? If you want to file a bug, run with envvar …\n{STARS}\n"
)


@pytest.mark.parametrize("other", ["E1128 17:48:36.1 7 cpu_executable.cc:9] broken\n", f"{STARS}\n", "[Compiling\n"])
def test_only_the_alarm_is_left_out(other):
    lines = [line.encode() for line in (other + ALARM + "then\n" + other).splitlines(keepends=True)]
    assert b"".join(without_alarm(lines)).decode() == other + "then\n" + other


SCRIPT = """
import os, sys
from unet_tools.training.alarm import alarm_filtered
print("before", file=sys.stderr)
with alarm_filtered():
    os.write(2, sys.argv[1].encode())
    print("python", file=sys.stderr)
    os.write(2, b"a library\\n")
    if sys.argv[2] == "crash":
        os.write(2, b"last words")
        os.abort()
os.write(2, b"after")
"""


@pytest.mark.parametrize("how", ["end", "crash"])
def test_what_libraries_write_arrives_through_the_filter(how):
    done = subprocess.run([sys.executable, "-c", SCRIPT, ALARM, how], capture_output=True, text=True, timeout=60)
    assert set(done.stderr.split("\n")[:3]) == {"before", "python", "a library"}
    assert done.stderr.split("\n")[3] == ("last words" if how == "crash" else "after")
    assert (done.returncode == 0) == (how == "end")
