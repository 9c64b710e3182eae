"""Training in several processes."""

import json
import os
import socket
import subprocess
import sys

import pytest

# Sums over the batch have another order: 3.4e-7 was measured after two steps (python -m benchmarks.scaling).
BOUND = 2e-5


PROCESS = """
import sys, json
from pathlib import Path
import jax
port, count, index, out = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if count > 1:
    jax.distributed.initialize(f"localhost:{port}", count, index)
from unet_data import membranes, split
from unet_jax.training.settings import TrainSettings
from unet_jax.training.loop import train
from unet_spec import InputError, preset
config = preset("paper", widths=(2, 4), norm="batch", dropout=0.2)
settings = TrainSettings().replace(steps=6, batch=2, tile=28, log_every=1, validate_every=3, fsdp=True, ema=0.9)
try:
    train(config, settings, *split(membranes(4, 40, 0)), Path(out))
except InputError as e:
    sys.exit(f"unet: {e}")
"""


def in_processes(count, out):
    """Exit code and standard error of each process."""
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=1"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    commands = [[sys.executable, "-c", PROCESS, *map(str, (port, count, i, out))] for i in range(count)]
    processes = [subprocess.Popen(c, stderr=subprocess.PIPE, text=True, env=environment) for c in commands]
    printed = [p.communicate(timeout=300)[1] for p in processes]
    return [p.returncode for p in processes], printed


@pytest.mark.slow
def test_what_fails_in_the_first_process_ends_all(tmp_path):
    (tmp_path / "last").write_text("in the way of the first checkpoint")
    codes, printed = in_processes(2, tmp_path)
    assert codes == [1, 1], printed
    assert "last" in printed[0].splitlines()[-1]
    assert printed[1].splitlines()[-1] == "unet: process 0 failed; see its log"


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    logs = {}
    for count in (1, 2):
        out = tmp_path / str(count)
        codes, printed = in_processes(count, out)
        assert codes == [0] * count, printed
        logs[count] = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        assert (out / "best" / "model.safetensors").exists()
    losses = {count: [r["loss"] for r in log if "loss" in r] for count, log in logs.items()}
    assert len(losses[1]) == 6
    assert losses[2] == pytest.approx(losses[1], rel=BOUND)
    assert [r.keys() for r in logs[1]] == [r.keys() for r in logs[2]]
