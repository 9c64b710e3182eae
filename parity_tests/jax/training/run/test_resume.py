"""A run that was killed and resumed equals the uninterrupted run, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from safetensors.numpy import load_file

from unet_export.tensorrt.cuda_device import find_device
from unet_jax.training.run.folder import read_run
from unet_jax.training.run.train_state_folder import TrainStateFolder, latest_step
from unet_spec import Checkpoint, InputError

# The run of the tests below as a script, with every kind of state that a step has.
SCRIPT = """
import os, sys, json, signal, resource
if "NO_LARGE_FILES" in os.environ:  # writing beyond this fails as on a full disk
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from pathlib import Path
from unet_data import membranes, split
from unet_jax.training.settings import TrainSettings
from unet_jax.training.loop import train
from unet_spec import InputError, preset
settings = TrainSettings().replace(steps=40, tile=28, log_every=3, validate_every=4, ema=0.9, border_weight=10.0,
                                   balance=True, loss="cross_entropy+dice")
config = preset("paper", widths=(2, 4), norm="batch", dropout=0.2)
training, validation = split(membranes(4, 40, 0))
def report(record):
    if not record.keys() & {"compiling", "compiled"}:
        print(json.dumps(record), flush=True)
try:
    result = train(config, settings, training, validation, Path(sys.argv[1]), resume=True, report=report)
except InputError as e:
    print(f"unet: {e}", file=sys.stderr)
    sys.exit(2)
sys.exit(0 if result.stop_signal is None else 128 + result.stop_signal)
"""


def start(cache, out, **more):
    """A child process that runs SCRIPT; children share compiled programs."""
    environment = os.environ | {"UNET_CACHE": str(cache), "JAX_COMPILATION_CACHE_DIR": str(cache / "jax")}
    environment |= {"JAX_PLATFORMS": "cpu", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"} | more
    command = [sys.executable, "-c", SCRIPT, str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process):
    """Waits for the end; returns standard error."""
    return process.communicate(timeout=600)[1]


def weights(out):
    return {name: a.tobytes() for name, a in load_file(out / "last" / "model.safetensors").items()}


def scores(out):
    return [r for r in map(json.loads, (out / "log.jsonl").read_text().splitlines()) if "iou" in r]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, cache):
    """The uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "run"
    process = start(cache, out)
    printed = finish(process)
    assert process.returncode == 0, printed
    return out


def wait_for(process, records):
    """Reads this number of records of the log."""
    for _ in range(records):
        assert process.stdout.readline(), process.stderr.read()


def resumed(cache, out, whole):
    """Resumes until the end; then everything equals the uninterrupted run."""
    process = start(cache, out)
    printed = finish(process)
    assert process.returncode == 0, printed
    assert weights(out) == weights(whole)
    assert scores(out) == scores(whole)
    assert (out / "best" / "model.safetensors").read_bytes() == (whole / "best" / "model.safetensors").read_bytes()


def killed(cache, out, after, pause):
    """SIGKILL after this number of records and seconds; the remaining files can be read."""
    process = start(cache, out)
    wait_for(process, after)
    time.sleep(pause)
    process.kill()
    process.communicate()
    for name in ("best", "last"):
        if (out / name).exists():
            Checkpoint.load(out / name)
    if (out / "run.json").exists():
        read_run(out)


@pytest.mark.gpu
def test_on_a_gpu_a_run_is_repeated_to_the_bit_by_deterministic_kernels(tmp_path, cache):
    """Compiled again each time, since XLA chooses kernels by timing them and may choose others."""
    try:
        find_device()
    except InputError as e:
        pytest.skip(str(e))
    asked = {"JAX_PLATFORMS": "cuda", "XLA_FLAGS": "--xla_gpu_deterministic_ops=true"}
    for name in ("one", "other"):
        process = start(cache, tmp_path / name, **asked, JAX_COMPILATION_CACHE_DIR="")
        printed = finish(process)
        if "Unable to initialize backend 'cuda'" in printed:
            pytest.skip("this JAX has no CUDA")
        assert process.returncode == 0, printed
    assert weights(tmp_path / "one") == weights(tmp_path / "other")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("UNET_KILLS", "4"))))
def test_killed_at_random_moments(tmp_path, cache, whole, seed):
    rng = random.Random(seed)
    killed(cache, tmp_path / "run", rng.randrange(0, 20), rng.uniform(0, 0.3))
    resumed(cache, tmp_path / "run", whole)


@pytest.mark.slow
def test_killed_stopped_and_on_a_full_disk_it_is_resumed_to_the_bit(tmp_path, cache, whole):
    out = tmp_path / "run"
    killed(cache, out, 4, 0.0)
    begun = latest_step(out / "state") or 0
    first = start(cache, out)
    wait_for(first, 2)
    first.send_signal(signal.SIGTERM)
    printed = finish(first)
    assert first.returncode == 128 + signal.SIGTERM, printed
    assert "stopping: the step at hand is finished" in printed
    states = TrainStateFolder(out / "state")
    at = states.latest()
    states.close()
    assert at == latest_step(out / "state")
    assert begun < at < 40

    full = start(cache, out, NO_LARGE_FILES="1")
    printed = finish(full)
    assert full.returncode == 2, printed
    assert "cannot write" in printed
    assert "Traceback" not in printed
    states = TrainStateFolder(out / "state")
    assert states.latest() == at
    states.close()
    resumed(cache, out, whole)
