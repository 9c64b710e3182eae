"""A Dask cluster of two workers: the same bytes as a local run, a killed worker, and each failure reported once."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed", reason="distributed is not installed; pip install 'unet-twins[dask]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("zarr", reason="zarr is not installed")

from unet_data import PredictSettings
from unet_spec import Checkpoint, DataSpec, random_tensors
from unet_spec.families.unet import PRESETS
from unet_tools.cli import main
from unet_tools.prediction.cluster import Task, cluster, sharded

from ...data.io.formats.test_encode_zarr import ome_zarr
from ...data.io.helpers import noise, refused
from .killer import worker_killed


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    config = PRESETS["paper"].replace(widths=(2, 4), dropout=0.0)
    folder = tmp_path_factory.mktemp("cluster") / "ck"
    Checkpoint(config, random_tensors(config.graph, 3, np.float32), DataSpec()).save(folder)
    return folder


@pytest.fixture(scope="module")
def workers():
    with cluster("local:2") as client:
        yield client


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_killed_worker_changes_no_byte(checkpoint, workers, tmp_path):
    ome_zarr(tmp_path / "a.zarr", "yx", [noise(600, 600)])
    command = ["predict", str(checkpoint), str(tmp_path / "a.zarr"), "--tile", "60", "--runtime", "onnx"]
    assert main([*command, "-o", str(tmp_path / "near.zarr")]) == 0
    with worker_killed(workers, lambda: len(list((tmp_path / "far.zarr.part").glob("*.npy"))) > 3):
        assert main([*command, "-o", str(tmp_path / "far.zarr"), "--dask", workers.scheduler.address]) == 0
    assert files(tmp_path / "far.zarr") == files(tmp_path / "near.zarr")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_of_many_images_each_failure_is_reported_once(checkpoint, workers, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for number in range(30):
        np.save(tmp_path / f"in/{number:02d}.npy", noise(40, 40, seed=number))
    (tmp_path / "in/07.npy").write_bytes(b"no array")
    command = ["predict", str(checkpoint), str(tmp_path / "in"), "--runtime", "onnx"]
    assert main([*command, "-o", str(tmp_path / "near")]) == 2
    capsys.readouterr()
    assert main([*command, "-o", str(tmp_path / "far"), "--dask", workers.scheduler.address]) == 2
    printed = capsys.readouterr().err
    assert printed.count("07.npy: cannot be read") == 1
    assert "1 of 30 failed: " in printed
    assert files(tmp_path / "far") == files(tmp_path / "near")
    assert len(files(tmp_path / "far")) == 29


def test_shards_of_one_image_reach_every_worker():
    task = Task(Path("ck"), None, Path("a.zarr"), Path("o.zarr"), PredictSettings())
    parts = [each.settings.shard for each in sharded(task, 3)]
    assert parts == [(i, 12) for i in range(1, 13)]
    whole = Task(Path("ck"), None, Path("a.zarr"), Path("o.zarr"), PredictSettings(blend=True))
    assert sharded(whole, 3) == [whole]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("locl", "--dask locl: give local, local:3 or an address"),
        ("local:0", "--dask local:0: a cluster needs at least one worker"),
    ],
)
def test_what_is_no_cluster_is_one_line(where, message):
    assert refused(lambda: cluster(where).__enter__()).startswith(message)
