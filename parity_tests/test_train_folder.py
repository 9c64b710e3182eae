"""The run folder: repeated from anywhere, no scores lost, nothing half written left behind, a log that is JSON."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from unet_data import membranes, open_dataset, split, write_stack
from unet_jax.run_folder import append_log, read_log, write_log
from unet_jax.settings import TrainSettings
from unet_jax.train import train
from unet_spec import InputError, preset
from unet_tools.cli import main

CONFIG = preset("paper", widths=(2, 4))
SETTINGS = TrainSettings(steps=4, tile=28, log_every=2, validate_every=2)
FLAGS = ["--widths", "2", "4", "--steps", "2", "--tile", "28", "--json"]


def data():
    return split(membranes(4, 40, 0))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The current directory, with images in data/."""
    made = membranes(4, 40, 0)
    (tmp_path / "data").mkdir()
    write_stack(tmp_path / "data" / "train-volume.tif", np.stack(made.images))
    write_stack(tmp_path / "data" / "train-labels.tif", np.stack(made.labels).astype(np.uint8) * 255)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stored(run):
    return json.loads((run / "run.json").read_text())


def test_a_run_is_repeated_from_within_its_folder(home, monkeypatch):
    assert main(["train", "data", "--out", "run", "--no-report", *FLAGS]) == 0
    assert stored(home / "run")["path"] == str(home / "data")
    monkeypatch.chdir(home / "run")
    assert main(["train", "--config", "run.json", "--no-report", "--json"]) == 0
    assert (home / "run-2" / "log.jsonl").read_text().count("\n") == 2


def test_a_run_made_in_python_is_resumed_and_repeated_by_the_command(home, capsys):
    train(CONFIG, replace(SETTINGS, steps=2), *split(open_dataset("data")), home / "run")
    assert main(["train", "--out", "run", "--resume", "--steps", "3", "--no-report", "--json"]) == 0
    assert main(["train", "--config", "run/run.json", "--steps", "2", "--no-report", "--json"]) == 0
    train(CONFIG, replace(SETTINGS, steps=2), *split(membranes(4, 40, 0)), home / "none")
    capsys.readouterr()
    assert main(["train", "--out", "none", "--resume", "--no-report", "--json"]) == 2
    assert "images that are in no files; give the data" in capsys.readouterr().err


def test_a_run_goes_on_with_its_own_recipe_or_not_at_all(home, capsys):
    flags = ["--preset", "paper", "--widths", "2", "4", "--tile", "36", "--no-report", "--json"]
    paper, modern = ["--recipe", "paper-2015"], ["--recipe", "modern"]
    assert main(["train", "data", "--out", "run", *flags, *paper, "--steps", "2", "--seed", "3"]) == 0
    before, again = stored(home / "run"), ["train", "--out", "run", "--resume", "--no-report", "--json", "--steps"]
    capsys.readouterr()
    assert main([*again, "3", *modern]) == 2
    told = capsys.readouterr().err
    assert "run was trained with batch 1, not 4; resume it with the same settings, or name none" in told
    assert main([*again, "3", *paper]) == 0
    after = stored(home / "run")
    assert after["network"] == before["network"]
    assert after["settings"] == before["settings"] | {"steps": 3}


def test_a_run_that_has_its_data_by_a_relative_path_goes_on(home):
    """As run.json had it before."""
    assert main(["train", "data", "--out", "run", "--no-report", *FLAGS]) == 0
    (home / "run" / "run.json").write_text(json.dumps(stored(home / "run") | {"path": "data"}))
    assert main(["train", "--out", "run", "--resume", "--steps", "3", "--no-report", "--json"]) == 0
    assert stored(home / "run")["path"] == str(home / "data")


def test_a_run_without_its_state_does_not_begin_anew_over_its_checkpoints(home, capsys):
    command = ["train", "data", "--out", "run", "--no-report", *FLAGS]
    assert main(command) == 0
    kept = [(home / "run" / name / "model.safetensors").read_bytes() for name in ("best", "last")]
    shutil.rmtree(home / "run" / "state")
    capsys.readouterr()
    assert main([*command, "--resume", "--steps", "3"]) == 2
    assert "run has checkpoints but no state/, so it cannot go on" in capsys.readouterr().err
    assert kept == [(home / "run" / name / "model.safetensors").read_bytes() for name in ("best", "last")]
    (home / "run" / "state").mkdir()  # as where it was killed before its first state was whole
    assert main([*command, "--resume", "--steps", "3"]) == 0


def test_a_finished_run_is_not_compiled_to_learn_its_memory(home, monkeypatch):
    asked = []
    monkeypatch.setattr("unet_jax.train.that_fits", lambda step, *_: asked.append(0) or step)
    for steps, times in [(2, 1), (2, 1), (3, 2)]:
        train(CONFIG, replace(SETTINGS, steps=steps), *data(), home / "run", resume=True)
        assert len(asked) == times


def test_a_report_that_cannot_be_written_loses_no_scores(home, monkeypatch, capsys):
    printed = []

    def full(*_):
        printed.append(capsys.readouterr().out)
        raise InputError("cannot write the report to run: No space left on device")

    monkeypatch.setattr("unet_tools.run_report.write_run_report", full)
    assert main(["train", "data", "--out", "run", *FLAGS]) == 0
    assert json.loads(printed[0])["best"]["iou"] >= 0
    assert capsys.readouterr().err == "warning: cannot write the report to run: No space left on device\n"


FULL = """
import resource, signal, sys
from pathlib import Path
import jax.numpy as jnp, numpy as np
from unet_jax.state import Saved, StateFolder
from unet_spec import InputError
states = StateFolder(Path(sys.argv[1]))
noise = np.random.default_rng(0).normal(size=(400, 400)).astype(np.float32)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))  # as a full disk, for the large file of the arrays only
try:
    states.save(2, {"a": jnp.asarray(noise)}, Saved())
    states.close()
except InputError as e:
    print(f"unet: {e}", file=sys.stderr)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs limits of the size of files")
def test_a_disk_that_is_full_in_the_background_is_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "state")],
        capture_output=True, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"}, timeout=300,
    )  # fmt: skip
    assert "File too large" in done.stderr
    assert done.stderr.startswith("unet: cannot write the training state")
    assert done.stderr.count("\n") == 1


def test_scores_that_do_not_exist_are_null_in_the_log(tmp_path):
    path, record = tmp_path / "log.jsonl", {"step": 2, "iou": 0.5, "v_rand": math.nan, "saved": True}
    write_log(path, [record])
    append_log(path, record | {"step": 3})
    assert path.read_text().splitlines()[1] == '{"step": 3, "iou": 0.5, "v_rand": null, "saved": true}'
    first, second = read_log(path, up_to=3)
    assert math.isnan(first["v_rand"])
    assert second | {"v_rand": None} == {"step": 3, "iou": 0.5, "v_rand": None, "saved": True}


def test_a_run_does_not_go_back(tmp_path):
    train(CONFIG, SETTINGS, *data(), tmp_path / "run")
    with pytest.raises(InputError, match="has done 4 steps already, not 3; resume it with at least so many"):
        train(CONFIG, replace(SETTINGS, steps=3), *data(), tmp_path / "run", resume=True)
    assert stored(tmp_path / "run")["settings"]["steps"] == 4
    assert train(CONFIG, SETTINGS, *data(), tmp_path / "run", resume=True).scores


def plant(folder, names):
    for name in names:
        path = folder / name
        if "tmp" in path.name:
            path.mkdir(parents=True)
            path = path / "content"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")


LEFT = ["state/4.orbax-checkpoint-tmp", "state/6.orbax-checkpoint-tmp-17", "best/.model.0123456789ab.safetensors"]
LEFT += ["last/.config.0123456789ab.json", "last/.README.0123456789ab.md"]
LEFT += [".run.0123456789ab.json", ".last.0123456789ab/config.json"]
OWN = ["state/mine.orbax-checkpoint-tmp", "best/.model.safetensors", "best/model.0123456789ab.safetensors"]
OWN += ["last/.model.0123456789ab.txt", "other/.model.0123456789ab.safetensors", "2.orbax-checkpoint-tmp"]


def test_what_a_kill_left_half_written_is_removed_and_nothing_else(tmp_path):
    run = tmp_path / "run"
    train(CONFIG, replace(SETTINGS, steps=2), *data(), run)
    plant(run, LEFT + OWN)
    train(CONFIG, SETTINGS, *data(), run, resume=True)
    assert not [name for name in LEFT if (run / name).exists()]
    assert all((run / name).exists() for name in OWN)


def test_in_a_folder_that_is_no_run_nothing_is_removed(tmp_path):
    plant(tmp_path, LEFT[2:])
    train(CONFIG, replace(SETTINGS, steps=2), *data(), tmp_path)
    assert all((tmp_path / name).exists() for name in LEFT[2:])
