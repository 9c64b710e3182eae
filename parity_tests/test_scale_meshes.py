"""One device or many: the same losses, to float32 rounding. Simulated devices; two real processes."""

import json
import os
import socket
import subprocess
import sys

import pytest

from unet_jax.mesh import make_mesh
from unet_jax.settings import TrainSettings
from unet_spec import InputError
from unet_tools.scaling import MESHES, Args, run_child

# Sums over the batch are taken in another order: 3.4e-7 was measured after two steps (python -m unet_tools.scaling).
BOUND = 2e-5


def compare(found):
    first = found[0]["losses"]
    assert len({round(loss, 6) for loss in first}) == len(first)  # the losses move
    for line in found[1:]:
        assert line["losses"] == pytest.approx(first, rel=BOUND), line["mesh"]
    return {line["mesh"]: line for line in found}


def test_data_parallel_fsdp_and_shared_images_equal_one_device():
    found = compare(
        run_child(Args(meshes=("1 device", "2 data x 4 space, FSDP"), widths=(2, 4), tile=28, batch=2, steps=2))
    )
    assert found["2 data x 4 space, FSDP"]["largest_weight_share"] == 0.5
    assert found["2 data x 4 space, FSDP"]["collectives"].get("collective-permute")  # the halo


@pytest.mark.slow
def test_every_mesh_equals_one_device():
    found = compare(run_child(Args()))
    assert found["8 data, FSDP"]["largest_weight_share"] == 1 / 8
    whole = found["1 device"]["temporary_bytes"]
    for space in (2, 4, 8):  # what the split is for: a device holds a part of the activations only
        assert found[f"{space} space"]["temporary_bytes"] < whole / space * 1.6


@pytest.mark.slow
def test_without_a_norm_too():
    compare(run_child(Args(norm="none", meshes=("1 device", "4 data, FSDP", "8 space"))))


PROCESS = """
import sys, json
from pathlib import Path
import jax
port, count, index, out = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if count > 1:
    jax.distributed.initialize(f"localhost:{port}", count, index)
from unet_data import membranes, split
from unet_jax.settings import TrainSettings
from unet_jax.train import train
from unet_spec import InputError, preset
config = preset("paper", widths=(2, 4), norm="batch", dropout=0.2)
settings = TrainSettings(steps=6, batch=2, tile=28, log_every=1, validate_every=3, fsdp=True, ema=0.9)
try:
    train(config, settings, *split(membranes(4, 40, 0)), Path(out))
except InputError as e:
    sys.exit(f"unet: {e}")
"""


def in_processes(count, out):
    """Exit code and standard error of each."""
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    commands = [[sys.executable, "-c", PROCESS, *map(str, (port, count, i, out))] for i in range(count)]
    processes = [subprocess.Popen(c, stderr=subprocess.PIPE, text=True, env=environment) for c in commands]
    told = [p.communicate(timeout=300)[1] for p in processes]
    return [p.returncode for p in processes], told


@pytest.mark.slow
def test_what_fails_in_the_first_process_ends_all(tmp_path):
    (tmp_path / "last").write_text("in the way of the first checkpoint")
    codes, told = in_processes(2, tmp_path)
    assert codes == [1, 1], told
    assert "last" in told[0].splitlines()[-1]
    assert told[1].splitlines()[-1] == "unet: process 0 could not go on; it says why"


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    logs = {}
    for count in (1, 2):
        out = tmp_path / str(count)
        codes, told = in_processes(count, out)
        assert codes == [0] * count, told
        logs[count] = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        assert (out / "best" / "model.safetensors").exists()
    losses = {count: [r["loss"] for r in log if "loss" in r] for count, log in logs.items()}
    assert len(losses[1]) == 6
    assert losses[2] == pytest.approx(losses[1], rel=BOUND)
    assert [r.keys() for r in logs[1]] == [r.keys() for r in logs[2]]


@pytest.mark.parametrize(
    ("settings", "count", "words"),
    [
        (TrainSettings(batch=3), 2, "multiple of the 2 devices"),
        (TrainSettings(batch=2, accumulate=2), 2, "in 2 part"),
        (TrainSettings(space=3), 4, "must divide the 4 device"),
        (TrainSettings(space=5), 5, "cannot be cut into 5 equal parts"),
    ],
)
def test_refusals(settings, count, words):
    with pytest.raises(InputError, match=words):
        make_mesh(settings, (44, 44), [object()] * count)  # type: ignore[list-item]


def test_the_table_names_what_it_says():
    assert all(count % space == 0 for count, space, _ in MESHES.values())
