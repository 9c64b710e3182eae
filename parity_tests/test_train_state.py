"""Nothing lost: resuming bit for bit, SIGTERM, SIGKILL, full disks, unwritable folders, losses that are not finite."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from unet_data import membranes, split
from unet_export.cuda_device import find_device
from unet_jax.run_folder import read_run
from unet_jax.settings import TrainSettings
from unet_jax.state import StateFolder, latest_step
from unet_jax.train import train
from unet_spec import Checkpoint, InputError, preset

# The run of the tests below, as a script too: everything that a step can carry is in it.
SCRIPT = """
import os, sys, json, signal, resource
if "NO_LARGE_FILES" in os.environ:  # writing beyond this fails as on a full disk
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from pathlib import Path
from unet_data import membranes, split
from unet_jax.settings import TrainSettings
from unet_jax.train import train
from unet_spec import InputError, preset
settings = TrainSettings(steps=40, tile=28, log_every=3, validate_every=4, ema=0.9, border_weight=10.0, balance=True,
                         loss="cross_entropy+dice")
config = preset("paper", widths=(2, 4), norm="batch", dropout=0.2)
training, validation = split(membranes(4, 40, 0))
def report(record):
    print(json.dumps(record), flush=True)
try:
    result = train(config, settings, training, validation, Path(sys.argv[1]), resume=True, report=report)
except InputError as e:
    print(f"unet: {e}", file=sys.stderr)
    sys.exit(2)
sys.exit(0 if result.stopped is None else 128 + result.stopped)
"""


def start(cache, out, **more):
    """A child that runs SCRIPT; what one child has compiled, the next ones load."""
    environment = os.environ | {"UNET_CACHE": str(cache), "JAX_COMPILATION_CACHE_DIR": str(cache / "jax")}
    environment |= {"JAX_PLATFORMS": "cpu", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"} | more
    command = [sys.executable, "-c", SCRIPT, str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process):
    """Waits; returns standard error."""
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
    told = finish(process)
    assert process.returncode == 0, told
    return out


def wait_for(process, records):
    """Reads so many records of the log."""
    for _ in range(records):
        assert process.stdout.readline(), process.stderr.read()


def resumed(cache, out, whole):
    """To the end; then everything is as in the uninterrupted run."""
    process = start(cache, out)
    told = finish(process)
    assert process.returncode == 0, told
    assert weights(out) == weights(whole)
    assert scores(out) == scores(whole)
    assert (out / "best" / "model.safetensors").read_bytes() == (whole / "best" / "model.safetensors").read_bytes()


def killed(cache, out, after, pause):
    """SIGKILL so many records of the log and seconds after the start; what it leaves can be read."""
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


def test_killed_and_resumed_is_bit_for_bit_the_whole_run(tmp_path, cache, whole):
    killed(cache, tmp_path / "run", 4, 0.0)
    resumed(cache, tmp_path / "run", whole)


@pytest.mark.gpu
def test_on_a_gpu_a_run_is_repeated_to_the_bit_by_deterministic_kernels(tmp_path, cache):
    """Compiled anew each time: XLA times kernels to choose among them, and may choose others the next time."""
    try:
        find_device()
    except InputError as e:
        pytest.skip(str(e))
    asked = {"JAX_PLATFORMS": "cuda", "XLA_FLAGS": "--xla_gpu_deterministic_ops=true"}
    for name in ("one", "other"):
        process = start(cache, tmp_path / name, **asked, JAX_COMPILATION_CACHE_DIR="")
        told = finish(process)
        if "Unable to initialize backend 'cuda'" in told:
            pytest.skip("this JAX has no CUDA")
        assert process.returncode == 0, told
    assert weights(tmp_path / "one") == weights(tmp_path / "other")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_killed_at_random_moments(tmp_path, cache, whole, seed):
    rng = random.Random(seed)
    killed(cache, tmp_path / "run", rng.randrange(0, 20), rng.uniform(0, 0.3))
    resumed(cache, tmp_path / "run", whole)


def test_sigterm_saves_and_leaves_and_a_full_disk_loses_nothing(tmp_path, cache, whole):
    out = tmp_path / "run"
    first = start(cache, out)
    wait_for(first, 2)
    first.send_signal(signal.SIGTERM)
    told = finish(first)
    assert first.returncode == 128 + signal.SIGTERM, told
    assert "stopping: the step at hand is finished" in told
    states = StateFolder(out / "state")
    at = states.latest()
    states.close()
    assert at == latest_step(out / "state")
    assert 3 <= at < 40

    full = start(cache, out, NO_LARGE_FILES="1", JAX_ENABLE_COMPILATION_CACHE="0")
    told = finish(full)
    assert full.returncode == 2, told
    assert "cannot write" in told
    assert "Traceback" not in told
    states = StateFolder(out / "state")
    assert states.latest() == at
    states.close()
    resumed(cache, out, whole)


CONFIG = preset("paper", widths=(2, 4), dropout=0.0)
SETTINGS = TrainSettings(steps=8, tile=28, log_every=2, validate_every=4)


def data():
    return split(membranes(4, 40, 0))


def test_an_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write the run folder"):
        train(CONFIG, SETTINGS, *data(), tmp_path / "file" / "run")
    with pytest.raises(InputError, match="file is a file; name a folder for the run"):
        train(CONFIG, SETTINGS, *data(), tmp_path / "file")


def test_a_log_that_cannot_grow_is_one_line(tmp_path):
    from unet_jax.run_folder import append_log

    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, a file that is always full, as Linux has it")
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"the disk is full [^;]*$"):  # nothing is saved yet
        append_log(tmp_path / "log.jsonl", {"step": 1})
    (tmp_path / "state" / "1").mkdir(parents=True)
    with pytest.raises(InputError, match=r"the disk is full .*go on with --resume"):
        append_log(tmp_path / "log.jsonl", {"step": 1})


def test_an_infinite_gradient_stops_the_run_and_keeps_the_state_before_it(tmp_path):
    from dataclasses import replace

    import unet_jax.step

    settings = replace(SETTINGS, optimizer="sgd", schedule="constant", learning_rate=1e30, clip=0.0)
    with pytest.raises(InputError, match=r"not finite in step \d+ \(batch of membranes-\d+\): first in the ") as caught:
        train(CONFIG, settings, *data(), tmp_path / "run")
    told = str(caught.value)
    step = int(told.split("in step ")[1].split(" ")[0])
    assert 1 < step <= 8
    states = StateFolder(tmp_path / "run" / "state")
    assert states.latest() == step - 1
    from unet_jax.unet import UNet

    kept, _ = states.restore(unet_jax.step.initial_state(UNet(CONFIG, 0), settings)[1])
    states.close()
    import jax

    assert int(kept["step"]) == step - 1
    assert int(kept["failed"]) == -1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(kept["params"]))


def test_the_layer_that_is_named_is_the_one_that_overflows():
    """Planted: one huge kernel. Everything before it is finite."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from unet_jax.diagnose import first_not_finite
    from unet_jax.step import initial_state
    from unet_jax.unet import UNet

    images, labels = (
        jax.random.normal(jax.random.key(0), (1, 28, 28, 1), jnp.float32),
        jnp.zeros((1, 28, 28), jnp.int32),
    )
    for layer in ("encoder.0.conv2", "decoder.0.up", "decoder.0.block.conv1", "head"):
        model = UNet(CONFIG, 0)
        module = model
        for part in layer.split("."):
            module = module[int(part)] if part.isdigit() else getattr(module, part)
        assert isinstance(module, nnx.Conv | nnx.ConvTranspose)
        module.kernel[...] = jnp.full_like(module.kernel[...], 3e38)
        module.bias[...] = jnp.full_like(module.bias[...], 3e38)
        graphdef, state = initial_state(model, SETTINGS)
        arguments = (state["params"], state["stats"], images, labels, None, jax.random.key(0))
        assert first_not_finite(graphdef, SETTINGS, *arguments) == (f"the output of {layer}", True)
    bad = (state["params"], state["stats"], images.at[0, 3, 3].set(jnp.nan), labels, None, jax.random.key(0))
    assert first_not_finite(graphdef, SETTINGS, *bad) == ("the images themselves", False)


def test_another_run_is_not_overwritten(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"network": CONFIG.to_dict(), "settings": {}, "data": "x"}))
    with pytest.raises(InputError, match="already holds a run"):
        train(CONFIG, SETTINGS, *data(), Path(tmp_path))
