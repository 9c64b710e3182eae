"""A Dask cluster of two workers: the same bytes as a local run, a killed worker, and each failure reported once."""

import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("distributed", reason="distributed is not installed; pip install 'unet-twins[dask]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("zarr", reason="zarr is not installed")

from unet_data import PredictSettings
from unet_spec import Checkpoint, DataSpec, InputError, random_tensors
from unet_spec.families.unet import PRESETS
from unet_tools.cli import main
from unet_tools.prediction.cluster import Outcome, Task, cluster, on_cluster, sharded

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


@pytest.fixture(scope="module")
def threads():
    """A cluster of Dask in this process: two workers that are threads."""
    from distributed import LocalCluster

    with LocalCluster(2, threads_per_worker=1, processes=False, dashboard_address=None) as started:
        yield started.scheduler_address


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


@pytest.mark.filterwarnings("ignore")
def test_an_image_and_several_are_those_of_one_machine(checkpoint, threads, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for number in range(3):
        np.save(tmp_path / f"in/{number}.npy", noise(40, 40, seed=number))
    ome_zarr(tmp_path / "a.zarr", "yx", [noise(90, 100)])
    command, far = ["predict", str(checkpoint), "--runtime", "onnx"], ["--dask", threads]
    for given, out, more in ((tmp_path / "in", "several", []), (tmp_path / "a.zarr", "one.zarr", ["--tile", "60"])):
        words = [*command, str(given), *more, "-o"]
        assert main([*words, str(tmp_path / f"near-{out}")]) == 0
        capsys.readouterr()
        assert main([*words, str(tmp_path / f"far-{out}"), *far]) == 0
        assert "Dask: " in capsys.readouterr().err
        assert files(tmp_path / f"far-{out}") == files(tmp_path / f"near-{out}")
    assert [main([*command, str(tmp_path / "in"), "-o", str(tmp_path / "json"), *far, "--json"])] == [0]
    assert "Dask: " not in capsys.readouterr().err
    assert main([*command, str(tmp_path / "in"), "-o", str(tmp_path / "x"), *far, "--shard", "1/2"]) == 2
    assert "--dask divides the work itself: leave out --shard" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_failures_on_a_cluster_are_reported_once(checkpoint, threads, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in/0.npy", noise(40, 40))
    (tmp_path / "in/1.npy").write_bytes(b"no array")
    command = ["predict", str(checkpoint), "--runtime", "onnx", "--dask", threads]
    assert main([*command, str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr().err
    assert printed.count("1.npy: cannot be read") == 1
    assert "1 of 2 failed" in printed
    assert [p.stem for p in (tmp_path / "out").iterdir()] == ["0"]
    ome_zarr(tmp_path / "a.zarr", "yx", [noise(90, 100)])
    (tmp_path / "a.zarr/0/zarr.json").write_text("{}")
    assert main([*command, str(tmp_path / "a.zarr"), "--tile", "60", "-o", str(tmp_path / "a-out.zarr")]) == 2
    printed = capsys.readouterr().err
    assert "shards failed; repeat the command to continue" in printed
    assert printed.count("a.zarr") == 1


@pytest.mark.filterwarnings("ignore")
def test_a_task_that_fails_on_its_worker_is_named(threads):
    def fails(task):
        if task == "b":
            raise OSError("no disk\nmore")
        return Outcome(None, f"{task} done")

    with cluster(threads) as client:
        finished = []
        found = on_cluster(client, ["a", "b", "c"], finished.append, fails, lambda task: f"image {task}")
    assert [each.error for each in found] == ["a done", "image b: no disk", "c done"]
    assert finished == [1, 2, 3]


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


def future(key, status, result=None, error=None):
    return SimpleNamespace(key=key, status=status, result=lambda: result, exception=lambda: error)


def test_outcomes_are_in_the_order_of_the_tasks_and_a_lost_task_says_so(monkeypatch):
    """Tasks end in another order."""
    good = Outcome(None, "", ("dark",))
    futures = [
        future("k1", "error", error=ValueError("broken\nbadly")),
        future("k2", "finished", good),
        future("k3", "cancelled"),
        future("k4", "finished", Outcome(None, "d: is damaged")),
    ]
    counts, mapped = [], []
    client = SimpleNamespace(map=lambda work, tasks, **how: mapped.append((work, tasks, how)) or futures)
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(as_completed=reversed))
    found = on_cluster(client, ["a", "b", "c", "d"], counts.append, print, lambda task: f"image {task}")
    assert found[1] is good
    assert [outcome.done for outcome in found] == [None] * 4
    assert found[0].error.startswith("image a: ")
    assert "broken" in found[0].error
    assert "\n" not in found[0].error
    assert [found[2].error, found[3].error] == ["image c: was cancelled", "d: is damaged"]
    assert counts == [1, 2, 3, 4]
    [(work, tasks, how)] = mapped
    assert (work, tasks, how["pure"]) == (print, ["a", "b", "c", "d"], False)
    assert how["retries"] >= 1


def test_an_outcome_reports_its_warnings_then_its_error():
    said = []
    progress = SimpleNamespace(warn=said.append)
    with pytest.raises(InputError, match=r"^is damaged$"):
        Outcome(None, "is damaged", ("dark", "small")).result(progress)
    assert said == ["dark", "small"]
    assert Outcome("done").result(progress) == "done"


@pytest.mark.parametrize(
    ("where", "arguments"),
    [
        ("local", {"n_workers": None}),
        ("local:3", {"n_workers": 3}),
        ("local:10", {"n_workers": 10}),
        ("tcp://host:8786", "tcp://host:8786"),
    ],
)
def test_a_cluster_is_started_here_or_found_at_its_address(where, arguments, monkeypatch):
    calls = []

    @contextmanager
    def started(**given):
        calls.append(given)
        yield "started"
        calls.append("closed")

    class Client:
        def __init__(self, given, **how):
            calls.append((given, how))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            calls.append("left")

    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=Client, LocalCluster=started))
    with cluster(where) as found:
        assert isinstance(found, Client)
    if where.startswith("tcp"):
        assert calls == [(arguments, {"timeout": "10s"}), "left"]
        return
    first, *others = calls
    here = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    assert first == arguments | here
    assert others == [("started", {}), "left", "closed"]
