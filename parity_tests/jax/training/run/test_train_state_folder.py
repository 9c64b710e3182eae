"""The saved state: damaged, or on a full disk."""

import os
import signal
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from unet_jax.training.loop import train
from unet_jax.training.run.train_state_folder import SavedScores, TrainStateFolder, latest_step, unfinished_saves
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


def test_the_newest_state_is_the_one_of_the_highest_step(tmp_path):
    assert latest_step(tmp_path / "absent") is None
    assert latest_step(tmp_path) is None
    for name in ("9", "10", "11.orbax-checkpoint-tmp-0", "notes"):
        (tmp_path / name).mkdir()
    assert latest_step(tmp_path) == 10


def test_only_folders_that_orbax_left_half_written_are_leftovers(tmp_path):
    left = ["3.orbax-checkpoint-tmp", "12.orbax-checkpoint-tmp-45"]
    for name in (*left, "x.orbax-checkpoint-tmp-1", "3.orbax-checkpoint-tmp-x", "3.orbax-checkpoint-tmp-1.bak", "3"):
        (tmp_path / name).mkdir()
    (tmp_path / "4.orbax-checkpoint-tmp-1").write_text("a file")
    (tmp_path / "5.orbax-checkpoint-tmp-1").symlink_to(tmp_path / "3")
    assert sorted(path.name for path in unfinished_saves(tmp_path)) == sorted(left)


def test_one_state_is_kept_with_its_scores_and_is_not_that_of_the_next_step(tmp_path):
    states = TrainStateFolder(tmp_path / "state")
    assert states.latest() is None
    for step in (2, 5):
        scores = SavedScores({"iou": step / 10}, {"iou": 0.75}, step)
        states.save(step, {"a": jnp.full(3, step), "step": jnp.asarray(step)}, scores)
    states.check()
    states.close()
    states = TrainStateFolder(tmp_path / "state")
    states.save(5, {"a": jnp.zeros(3, int), "step": jnp.asarray(9)}, SavedScores())  # this step is saved already
    found, scores = states.restore({"a": jnp.zeros(3, int), "step": jnp.asarray(0)})
    states.close()
    np.testing.assert_array_equal(found["a"], [5, 5, 5])
    assert int(found["step"]) == 5
    assert scores == SavedScores({"iou": 0.5}, {"iou": 0.75}, 5)
    assert [path.name for path in (tmp_path / "state").iterdir() if path.name.isdecimal()] == ["5"]
    assert SavedScores().measured == -1  # of a state whose scores say nothing


@pytest.mark.parametrize("saved", [False, True])
def test_a_failed_write_says_what_is_kept(saved, tmp_path):
    states = object.__new__(TrainStateFolder)  # without a manager, which would only take time
    states.folder = tmp_path / "state"
    if saved:
        (tmp_path / "state" / "3").mkdir(parents=True)
    note = "; the states saved before are kept" if saved else ""
    for error, reason in ((OSError(28, "No space left"), "No space left"), (ValueError("one\ntwo"), "one")):
        with pytest.raises(InputError) as caught, states._write_errors_as_input_error():
            raise error
        assert str(caught.value) == f"cannot write the training state to {tmp_path / 'state'}: {reason}{note}"
