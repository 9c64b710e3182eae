"""The grain loader: the same batches as from memory, bit for bit, from any step, in any number of processes."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from unet_data import Sampler, membranes, open_dataset, open_stored, write_stack
from unet_jax.training.loader import batches
from unet_jax.training.loop import train
from unet_jax.training.settings import TrainSettings
from unet_spec import InputError, preset
from unet_tools.cli import main

SETTINGS = TrainSettings().replace(
    steps=6, batch=2, tile=28, schedule="constant", log_every=2, validate_every=3, ema=0.9, border_weight=10.0,
    balance=True,
)  # fmt: skip
GRAIN = SETTINGS.replace(loader="grain", workers=0)
CONFIG = preset("paper", widths=(2, 4), norm="batch", dropout=0.2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    data = membranes(4, 40, 0)
    for name, arrays in (("images", data.images), ("labels", [y.astype(np.uint8) * 255 for y in data.labels])):
        (path / name).mkdir()
        for i, array in enumerate(arrays):
            write_stack(path / name / f"{i}.tif", array[None])
    return path


def samplers(folder):
    return [Sampler(d, (44, 44), (12, 12), 2, 3) for d in (open_dataset(folder), open_stored(folder))]


def same(one, other):
    one, other = list(one), list(other)
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        for x, y in zip(a, b, strict=True):
            assert x.dtype == y.dtype
            assert type(y) is np.ndarray  # not grain's array in shared memory
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(("first", "rows"), [(0, slice(None)), (4, slice(1, 2))])
def test_the_batches_are_those_from_memory(folder, first, rows):
    pytest.importorskip("grain")
    memory, stored = samplers(folder)
    same(batches(memory, SETTINGS, first, rows), batches(stored, GRAIN, first, rows))


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one_from_memory(folder, tmp_path, monkeypatch):
    """Weights, averages, statistics and losses are equal bit for bit, from files and from memory."""
    pytest.importorskip("grain")
    monkeypatch.setenv("UNET_CACHE", str(tmp_path / "cache"))
    memory, stored = open_dataset(folder), open_stored(folder)
    whole = train(CONFIG, SETTINGS, memory, None, tmp_path / "whole")
    train(CONFIG, GRAIN.replace(steps=3), stored, None, tmp_path / "parts")
    parts = train(CONFIG, GRAIN, stored, None, tmp_path / "parts", resume=True)
    one, other = (load_file(tmp_path / name / "last" / "model.safetensors") for name in ("whole", "parts"))
    assert {k: a.tobytes() for k, a in one.items()} == {k: a.tobytes() for k, a in other.items()}
    data = [json.loads((tmp_path / name / "last" / "config.json").read_text()) for name in ("whole", "parts")]
    assert data[0] == data[1]  # also the statistics of the images
    losses = [{r["step"]: r["loss"] for r in result.log if "loss" in r} for result in (whole, parts)]
    assert losses[0][6] == losses[1][6]
    assert json.loads((tmp_path / "parts" / "run.json").read_text())["settings"]["loader"] == "grain"


def test_without_grain_it_is_one_line(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "grain", None)
    assert main(["train", str(folder), "--out", str(tmp_path / "run"), "--loader", "grain"]) == 2
    assert capsys.readouterr().err == "unet: grain is not installed; pip install 'unet-twins[grain]'\n"
    assert not (tmp_path / "run").exists()


def test_refusals():
    for changes in ({"loader": "tf"}, {"workers": -1}):
        with pytest.raises(InputError):
            SETTINGS.replace(**changes)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_processes_change_no_batch_and_their_errors_are_ours(folder, workers, tmp_path):
    import multiprocessing

    pytest.importorskip("grain")
    memory, stored = samplers(folder)
    settings = GRAIN.replace(workers=workers, steps=11)
    for first in (0, 7):
        same(batches(memory, SETTINGS.replace(steps=11), first), batches(stored, settings, first))
    coming = batches(stored, settings, 0)
    next(coming)
    assert len(multiprocessing.active_children()) == workers
    coming.close()
    assert not multiprocessing.active_children()
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
        write_stack(tmp_path / name / "a.tif", (np.arange(1600).reshape(1, 40, 40) % 2).astype(np.uint8))
    lost = Sampler(open_stored(tmp_path), (44, 44), (12, 12), 2, 3)
    (tmp_path / "images" / "a.tif").unlink()
    with pytest.raises(InputError, match=r"a\.tif: no such file"):
        next(batches(lost, settings, 0))


SCRIPT = """
import sys
from unet_data import Sampler, open_stored
from unet_jax.training.loader import batches
from unet_jax.training.settings import TrainSettings
if __name__ == "__main__":
    sampler = Sampler(open_stored(sys.argv[1]), (44, 44), (12, 12), 2, 3)
    settings = TrainSettings().replace(steps=10**6, loader="grain", workers=2)
    for batch in batches(sampler, settings, 0):
        print("batch", flush=True)
"""


def workers_of(pid):
    """Processes whose parent is or was `pid`, including those that still run under another parent."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    if int(file.read().rsplit(") ", 1)[1].split()[1]) == pid:
                        found.add(int(entry))
            except OSError:
                continue
    return found


@pytest.mark.slow
def test_a_killed_training_leaves_no_process_behind(folder, tmp_path):
    pytest.importorskip("grain")
    if not os.path.isdir("/proc/self"):
        pytest.skip("finds processes in /proc, as Linux has it")
    (tmp_path / "run.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "run.py", folder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    for _ in range(4):
        assert process.stdout.readline()
    workers = workers_of(process.pid)
    assert len(workers) >= 2
    for worker in workers:
        os.kill(
            worker, signal.SIGTERM
        )  # as when a job is stopped: the training process handles the signal, not its workers
    assert process.stdout.readline()
    process.kill()
    process.communicate()  # closes the pipe
    end = time.monotonic() + 60
    while any(os.path.exists(f"/proc/{w}") for w in workers) and time.monotonic() < end:
        time.sleep(0.2)
    assert not [w for w in workers if os.path.exists(f"/proc/{w}")]


@pytest.mark.slow
def test_shared_memory_is_given_back(folder, tmp_path):
    pytest.importorskip("grain")
    flags = ["--loader", "grain", "--workers", "1", "--steps", "4", "--tile", "28", "--widths", "2", "4", "--no-report"]
    command = [sys.executable, "-m", "unet_tools.cli", "train", str(folder), "--out", str(tmp_path / "run"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "leaked" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs signals to a group, as Unix has them")
@pytest.mark.parametrize("after", [0.5, 2, 4])
def test_a_signal_to_the_job_saves_also_while_the_processes_start(folder, after, tmp_path):
    run = ["train", folder, "--out", tmp_path / "run", "--widths", "2", "4", "--tile", "28", "--steps", "100000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "unet_tools.cli", *run, "--loader", "grain", "--no-report"],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while not (tmp_path / "run" / "run.json").exists():
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(after)
    os.killpg(process.pid, signal.SIGTERM)
    printed = process.communicate(timeout=300)[1]
    assert process.returncode == 128 + signal.SIGTERM, printed
    assert "the state is saved" in printed
    assert "Traceback" not in printed


MEMORY = """
import sys
from pathlib import Path
from unet_data import Normalization, Sampler, open_stored
from unet_data.datasets.window_weights import window_weights
from unet_data.memory import peak_resident
before = peak_resident()
data = open_stored(sys.argv[1])
Normalization.from_dataset(data)
sampler = Sampler(data, (300, 300), (100, 100), 2, 0, window_weights(data, 10.0, 5.0, True, Path(sys.argv[2])))
for step in range(20):
    sampler.batch(step)
print(peak_resident() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npy", "tif"])
def test_memory_does_not_grow_with_the_data(tmp_path, kind):
    """Ten times the data, 200 MB more, needs at most 40 MB more memory, the budget of open files."""
    import tifffile

    tile = membranes(1, 250, 0)
    pixels, label = (np.tile(np.squeeze(a[0]).astype(np.uint8), (6, 6)) for a in (tile.images, tile.labels))
    peaks = {}
    for count in (5, 50):
        path = tmp_path / str(count)
        for name, array in (("images", pixels), ("labels", label)):
            (path / name).mkdir(parents=True)
            for i in range(count):
                if kind == "npy":
                    np.save(path / name / f"{i}.npy", array)
                else:
                    tifffile.imwrite(
                        path / name / f"{i}.tif", array, tile=(256, 256), compression="zlib", photometric="minisblack"
                    )
        printed = subprocess.run(
            [sys.executable, "-c", MEMORY, path, tmp_path / "cache"], capture_output=True, text=True, check=True
        )
        peaks[count] = int(printed.stdout)
    assert peaks[50] - peaks[5] < 40 * 2**20, peaks
