"""The saved state: damaged, or on a full disk."""

import os
import signal
import subprocess
import sys

import pytest

from unet_jax.training.loop import train
from unet_spec import InputError

from ..small_runs import PAPER, SMALL, data

SIX_STEPS = SMALL.replace(steps=6, log_every=3, validate_every=3)


def test_a_state_that_is_damaged_is_one_line(tmp_path):
    train(PAPER, SIX_STEPS, *data(), tmp_path / "run")
    for path in (tmp_path / "run" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"state: the state of step 6 is damaged or from .*; restore its files") as e:
        train(PAPER, SIX_STEPS.replace(steps=9), *data(), tmp_path / "run", resume=True)
    assert "\n" not in str(e.value)


FULL = """
import resource, signal, sys
from pathlib import Path
import jax.numpy as jnp, numpy as np
from unet_jax.training.run.train_state_folder import SavedScores, TrainStateFolder
from unet_spec import InputError
states = TrainStateFolder(Path(sys.argv[1]))
noise = np.random.default_rng(0).normal(size=(400, 400)).astype(np.float32)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))  # as a full disk, for the large file of the arrays only
try:
    states.save(2, {"a": jnp.asarray(noise)}, SavedScores())
    states.close()
except InputError as e:
    print(f"unet: {e}", file=sys.stderr)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs limits of the size of files")
def test_a_disk_that_is_full_in_the_background_is_one_line(tmp_path):
    plain = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}  # whose file would be full, too
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "state")],
        capture_output=True, text=True, env=plain | {"JAX_PLATFORMS": "cpu"}, timeout=300,
    )  # fmt: skip
    assert "File too large" in done.stderr
    assert done.stderr.startswith("unet: cannot write the training state")
    assert done.stderr.count("\n") == 1
