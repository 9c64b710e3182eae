"""Scripts for SLURM: bash accepts them, and they run the same command, part by part."""

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")

from unet_spec import Checkpoint, DataSpec, random_tensors
from unet_spec.families.unet import PRESETS
from unet_tools.cli import main
from unet_tools.prediction.slurm import write_jobs

from ...data.io.helpers import noise, refused


def options(script: Path) -> list[str]:
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    if shutil.which("sbatch"):
        assert subprocess.run(["sbatch", "--test-only", script]).returncode == 0
    return [line.split()[1] for line in script.read_text().splitlines() if line.startswith("#SBATCH")]


def executed(script: Path, task: int, tmp_path: Path) -> list[str]:
    """The arguments that the script passes to `unet`."""
    stand_in = tmp_path / "bin" / "unet"
    stand_in.parent.mkdir(exist_ok=True)
    stand_in.write_text("#!/bin/bash\nprintf '%s\\n' \"$@\"\n")
    stand_in.chmod(0o755)
    known = os.environ | {"PATH": f"{stand_in.parent}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": str(task)}
    return subprocess.run([script], env=known, capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_script_runs_every_shard_and_then_joins(tmp_path, capsys):
    flags = ["predict", "ck", "a b.zarr", "--tile", "20x60x60", "--runtime", "onnx", "--output", "probabilities"]
    flags += ["--axes", "ZYX", "-o", str(tmp_path / "o.zarr")]
    (tmp_path / "ck").mkdir()
    flags[1] = str(tmp_path / "ck")
    assert main([*flags, "--slurm", str(tmp_path / "job.sh"), "--jobs", "3"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0] == (
        f"sbatch --dependency=afterok:$(sbatch --parsable {tmp_path}/job.sh) {tmp_path}/job-join.sh"
    )
    assert "--array=1-3" in options(tmp_path / "job.sh")
    assert not [option for option in options(tmp_path / "job-join.sh") if option.startswith("--array")]
    ran = executed(tmp_path / "job.sh", 2, tmp_path)
    assert ran[-2:] == ["--shard", "2/3"]
    assert executed(tmp_path / "job-join.sh", 2, tmp_path) == ran[:-2]
    assert "a b.zarr" in ran
    pairs = dict(itertools.pairwise(ran))
    assert {key: pairs[key] for key in ("--tile", "--runtime", "--output", "--axes")} == {
        "--tile": "20x60x60",
        "--runtime": "onnx",
        "--output": "probabilities",
        "--axes": "ZYX",
    }
    assert "--slurm" not in ran


def test_jobs_of_many_images_do_whole_ones(tmp_path, capsys):
    config = PRESETS["paper"].replace(widths=(2, 4), dropout=0.0)
    Checkpoint(config, random_tensors(config.graph, 3, np.float32), DataSpec()).save(tmp_path / "ck")
    (tmp_path / "in").mkdir()
    for number in range(5):
        np.save(tmp_path / f"in/{number}.npy", noise(40, 40, seed=number))
    command = ["predict", str(tmp_path / "ck"), str(tmp_path / "in"), "--runtime", "onnx", "-o", str(tmp_path / "out")]
    assert main([*command, "--slurm", str(tmp_path / "job.sh"), "--jobs", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"sbatch {tmp_path}/job.sh"
    assert not (tmp_path / "job-join.sh").exists()
    assert main(executed(tmp_path / "job.sh", 2, tmp_path)) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["1.npy", "3.npy"]
    assert main(executed(tmp_path / "job.sh", 1, tmp_path)) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"{n}.npy" for n in range(5)]
    assert main(executed(tmp_path / "job.sh", 1, tmp_path)) == 0  # a job that is requeued


def test_no_job_is_no_array(tmp_path):
    assert refused(write_jobs, tmp_path / "job.sh", ["unet"], 0, True) == "--jobs is 0; give 1 or more"
