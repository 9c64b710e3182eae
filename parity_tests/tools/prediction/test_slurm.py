"""Scripts for SLURM: bash accepts them, and they run the same command, part by part."""

import itertools
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")

from unet_spec import Checkpoint, DataSpec, random_tensors
from unet_spec.families.unet import PRESETS
from unet_tools.cli import main
from unet_tools.prediction import slurm
from unet_tools.prediction.slurm import parse_shard, write_jobs

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


def test_a_script_has_its_folder_and_ends_with_its_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    assert write_jobs(Path("a b.sh"), ["unet", "x y"], 1, False) == ["sbatch 'a b.sh'"]
    assert (tmp_path / "a b.sh").read_text().splitlines() == [
        "#!/bin/bash", "#SBATCH --job-name=unet", "#SBATCH --array=1-1", "#SBATCH --requeue",
        f"#SBATCH --chdir={tmp_path}", "set -euo pipefail", "exec unet 'x y' --shard \"$SLURM_ARRAY_TASK_ID\"/1",
    ]  # fmt: skip
    assert (tmp_path / "a b.sh").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("code", "errors", "out"), [(0, "starts at noon\nmore", ""), (0, "", "starts at noon"), (1, "no such queue", "")]
)
def test_what_sbatch_says_of_a_script(code, errors, out, tmp_path, monkeypatch):
    asked = []

    def run(words, **options):
        asked.append((words, options))
        return SimpleNamespace(returncode=code, stderr=errors, stdout=out)

    monkeypatch.setattr(slurm.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(slurm.subprocess, "run", run)
    path, join = tmp_path / "job.sh", tmp_path / "job-join.sh"
    if code:
        assert refused(write_jobs, path, ["unet"], 2, True) == f"{path}: sbatch --test-only refuses it: no such queue"
        return
    assert write_jobs(path, ["unet"], 2, True)[1:] == [f"{each}: starts at noon" for each in (path, join)]
    assert asked == [
        (["sbatch", "--test-only", str(each)], {"capture_output": True, "text": True}) for each in (path, join)
    ]


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3"])
def test_a_part_is_one_of_so_many(text):
    assert refused(parse_shard, text) == f"--shard {text} is not a part; give i/n with i from 1 to n"
    assert parse_shard("1/1") == (1, 1)
    assert parse_shard("2/2") == (2, 2)


def test_a_signed_address_is_in_no_script(tmp_path):
    from unet_data.io.stores.signed import unsigned_word

    word = unsigned_word("https://h/a.zarr?X-Amz-Signature=5e1f")
    message = refused(write_jobs, tmp_path / "job.sh", ["unet", "predict", word], 2, False)
    assert "is a secret" in message
    assert "5e1f" not in message
    assert not (tmp_path / "job.sh").exists()
