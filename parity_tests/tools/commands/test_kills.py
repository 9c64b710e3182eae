"""SIGKILL during a write of `unet train`, `unet export` and `unet convert`.

Three times each; with `UNET_KILLS=20` twenty times, which takes more than an hour.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unet_spec import Checkpoint

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("UNET_KILLS", "3"))

WRITE = """
import itertools, os, signal, sys, time
from pathlib import Path

from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.conversion import formats

folder, form, kills = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
config = preset("same", widths=(16, 32))


def checkpoint(seed):
    data = DataSpec((seed / 7,), (1.0,), (f"seed {seed}", "cell"))
    return Checkpoint(config, random_tensors(config.graph, seed), data)


def write(number):
    if form == "bundle":
        from unet_export import BundleSettings, write_bundle

        write_bundle(checkpoint(number % 3), folder / "out", BundleSettings(engines=False))
    else:
        formats.write(formats.Weights(checkpoint(number % 3), "checkpoint"), folder / f"out{suffix}", form)


def check():
    if form == "bundle":
        from unet_export import open_bundle

        bundle = open_bundle(folder / "out")  # every checksum
        assert bundle.manifest["checkpoint_digest"] in digests
        return
    found = formats.read(folder / f"out{suffix}", None, config).checkpoint
    if form == "pytorch":  # tensors alone
        found = Checkpoint(found.config, found.tensors, DataSpec())
    assert found.digest() in digests
    seed = [checkpoint(s).digest() for s in range(3)].index(found.digest())
    assert form in ("pytorch",) or found.data == checkpoint(seed).data  # the words that belong to these weights


def announce(moment, pause, pipe):
    # reports the operation on the files of the folder with that number to the parent, and waits there or goes on
    seen = itertools.count()

    def hook(event, args):
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir")):
            return
        if str(folder) in str(args[0]) and next(seen) == moment:
            os.write(pipe, b".")
            time.sleep(60 if pause else 0)

    sys.addaudithook(hook)


suffix = {"pytorch": ".pth", "safetensors": ".safetensors"}.get(form, "")
digests = {checkpoint(seed).digest() for seed in range(3)}
first = os.fork()
if not first:
    write(0)
    os._exit(0)
assert os.waitpid(first, 0)[1] == 0
hit = tried = 0
while hit < kills:
    before = set(folder.iterdir())
    reading, writing = os.pipe()
    if not (child := os.fork()):
        announce(tried % 13, tried % 2, writing)  # before an operation, and in the midst of those that follow
        for number in itertools.count(1):
            write(number)
    assert os.read(reading, 1)
    time.sleep(0.0005 * (tried % 7))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    tried += 1
    hit += bool(set(folder.iterdir()) - before)  # a part that was being written is left
    checker = os.fork()  # a process of its own: threads that a check starts do not live on in the next child
    if not checker:
        check()
        os._exit(0)
    assert os.waitpid(checker, 0)[1] == 0
print(hit)
"""


@pytest.mark.parametrize("form", ["checkpoint", "pytorch", "safetensors", "bundle"])
def test_a_killed_writer_leaves_the_old_result_or_the_new_one(form, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(tmp_path), form, str(KILLS)], capture_output=True, text=True, timeout=1800
    )
    assert (done.returncode, done.stdout) == (0, f"{KILLS}\n"), done.stderr


def test_a_killed_training_goes_on_from_a_whole_state(tmp_path):
    """Killed while a file or a state is written, and resumed each time."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "unet_tools.cli", "train", "synthetic", "--out", str(out), "--no-report"]
    command += ["--widths", "4", "8", "--steps", "100000", "--validate-every", "1", "--tile", "28"]
    hit = 0
    for number in range(3 * KILLS):
        again = ["--resume"] * (out / "run.json").exists()
        process = subprocess.Popen([*command, *again], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        saved = newest(out)
        limit = time.monotonic() + 300
        try:
            while newest(out) == saved and time.monotonic() < limit:
                time.sleep(0.01)
            time.sleep(0.007 * (number % 11))
            while not (begun := unfinished(out)) and time.monotonic() < limit:
                pass
        finally:
            process.kill()
            process.wait()
        hit += bool(begun) and newest(out) >= 0
        assert newest(out) >= saved, "a saved state is lost"
        for name in ("best", "last") if newest(out) >= 0 else ():
            Checkpoint.load(out / name)
        if hit == KILLS:
            return
    pytest.fail(f"{hit} kills hit a write")


def newest(out: Path) -> int:
    return max((int(p.name) for p in (out / "state").glob("*") if p.name.isdecimal()), default=-1)


def unfinished(out: Path) -> list[Path]:
    """Temporary files of checkpoints and states; some disappear during the search."""
    try:
        return [*out.glob(".*"), *out.glob("*/.*"), *out.glob("state/*tmp*")]
    except FileNotFoundError:  # the folder was renamed between listing and opening
        return []
