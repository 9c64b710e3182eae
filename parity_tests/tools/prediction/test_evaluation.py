"""`unet evaluate` on several machines: the scores of one machine, failures reported once, a killed worker."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")

from unet_data import membranes
from unet_data.inference.plan import plan_tiled
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_tools.arguments.runtimes import open_network
from unet_tools.cli import main
from unet_tools.prediction import evaluation
from unet_tools.prediction.cluster import Outcome, cluster
from unet_tools.prediction.evaluation import Recorded, Share, compute, report

from ...data.io.helpers import refused
from .killer import worker_killed
from .test_slurm import executed

IMAGES = 5


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """A network and images, as the words of the command."""
    folder, drawn = tmp_path_factory.mktemp("evaluation"), membranes(IMAGES, 40, seed=0)
    config = preset("paper", widths=(2, 4), dropout=0.0)
    Checkpoint(config, random_tensors(config.graph, 3, np.float32), DataSpec()).save(folder / "ck")
    for kind, arrays in (("images", drawn.images), ("labels", drawn.labels)):
        (folder / "data" / kind).mkdir(parents=True)
        for number, array in enumerate(arrays):
            np.save(folder / "data" / kind / f"{number}.npy", np.asarray(array).astype(np.uint8))
    return ["evaluate", str(folder / "ck"), str(folder / "data"), "--runtime", "onnx", "--json"]


def scores(capsys, words):
    capsys.readouterr()
    assert main(words) == 0
    return json.loads(capsys.readouterr().out)


def test_shards_join_to_the_scores_of_one_machine(command, tmp_path, capsys):
    alone = scores(capsys, command)
    parts = ["--parts", str(tmp_path / "parts")]
    shares = [scores(capsys, [*command, *parts, "--shard", f"{part}/2"])["images"] for part in (1, 2)]
    assert [len(share) for share in shares] == [3, 2]
    files = len(list((tmp_path / "parts").iterdir()))
    assert files == IMAGES
    (tmp_path / "parts" / "notes.txt").write_text("not ours")
    assert scores(capsys, [*command, *parts]) == alone
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["notes.txt"]


def test_an_image_that_a_network_needs_whole_and_that_does_not_fit_is_refused(tmp_path, monkeypatch, capsys):
    """At the pixel size at which the network computes: here 80 x 60 pixels, not 40 x 30."""
    config = preset("same-bilinear", widths=(2, 4), dropout=0.0)
    data = DataSpec(spacing=(0.5, 0.5), spacing_unit="µm")
    Checkpoint(config, random_tensors(config.graph, 3, np.float32), data).save(tmp_path / "ck")
    for kind in ("images", "labels"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        np.save(tmp_path / "data" / kind / "a.npy", np.ones((40, 30), np.uint8))
    words = ["evaluate", str(tmp_path / "ck"), str(tmp_path / "data"), "--runtime", "onnx", "--pixel-size", "1 µm"]
    network = open_network(tmp_path / "ck", "onnx")
    small, needed = (plan_tiled(network, size).memory for size in ((40, 30), (80, 60)))
    assert small < needed
    monkeypatch.setattr("unet_data.inference.plan.available", lambda: needed - 1)
    for more in ([], ["--shard", "1/1", "--parts", str(tmp_path / "parts")]):
        assert main([*words, *more]) != 0
        error = " ".join(capsys.readouterr().err.split())
        assert "a: this network needs the whole image at once" in error
        assert "for 80x60 pixels" in error
    monkeypatch.setattr("unet_data.inference.plan.available", lambda: needed)
    assert main(words) == 0


def test_what_is_joined_is_what_the_parts_computed(command, tmp_path, capsys):
    """Otherwise the scores would be those of one machine even if no recorded output were used."""
    parts = ["--parts", str(tmp_path / "parts")]
    scores(capsys, [*command, *parts, "--shard", "1/1"])
    for path in (tmp_path / "parts").iterdir():
        np.save(path, -np.load(path))
    assert scores(capsys, [*command, *parts])["pixel_accuracy"] != scores(capsys, command)["pixel_accuracy"]


def test_a_job_array_computes_the_parts_and_a_second_job_joins_them(command, tmp_path, capsys):
    assert main([*command, "--slurm", str(tmp_path / "job.sh"), "--jobs", "2", "--subset", "train"]) == 0
    assert capsys.readouterr().out.startswith("sbatch --dependency=afterok:$(sbatch --parsable ")
    ran = executed(tmp_path / "job.sh", 2, tmp_path)
    assert ran[-2:] == ["--shard", "2/2"]
    assert executed(tmp_path / "job-join.sh", 2, tmp_path) == ran[:-2]
    assert ran[ran.index("--parts") + 1] == str(tmp_path / "job.parts")
    assert ran[ran.index("--subset") + 1] == "train"
    assert "--slurm" not in ran


def test_what_cannot_be_shared_out_is_one_line(command, tmp_path, capsys):
    for words, message in (
        (["--shard", "1/2"], "--shard needs --parts"),
        (["--shard", "3/2", "--parts", str(tmp_path)], "--shard 3/2 is not a part; give i/n with i from 1 to n"),
        (["--shard", "1/2", "--parts", str(tmp_path), "--dask", "local:1"], "--shard and --dask: give only one"),
        (["--slurm", "job.sh", "--dask", "local:1"], "give only one of --slurm, --shard and --dask"),
    ):
        assert main([*command, *words]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1


def test_a_damaged_output_is_one_line(tmp_path):
    network = Recorded(lambda images: 2 * images, "a", tmp_path)
    image = np.ones((1, 2, 2, 1), np.float32)
    network(image)
    [path] = tmp_path.iterdir()
    path.write_bytes(b"\x93NUMPY")
    assert "delete it and repeat the command" in refused(network, image)
    assert Recorded(lambda images: 3 * images, "b", tmp_path)(image).max() == 3  # another network: another file


def test_each_failure_is_reported_once(capsys):
    records = [{"image": "a"}, {"image": "b", "error": "b: is damaged"}, {"image": "c", "error": "c: is damaged"}]
    assert refused(report, records) == "2 of 3 failed: b, c; fix them and repeat the command"
    said = capsys.readouterr().err
    assert (said.count("b: is damaged"), said.count("c: is damaged")) == (1, 1)


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_scores_of_one_machine_and_each_failure_once(command, tmp_path, capsys, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="pip install 'unet-twins[dask]'")
    monkeypatch.chdir(tmp_path)
    with distributed.LocalCluster(2, threads_per_worker=1, processes=False, dashboard_address=None) as started:
        far = [*command, "--dask", started.scheduler_address]
        assert scores(capsys, far) == scores(capsys, command)
        assert list(tmp_path.iterdir()) == []  # the parts lay in a temporary folder
        data = tmp_path / "data"
        shutil.copytree(command[2], data)
        (data / "images/1.npy").write_bytes((data / "images/1.npy").read_bytes()[:-9])
        assert main([*far[:2], str(data), *far[3:]]) == 2
        assert capsys.readouterr().err.count("1.npy") == 1


def test_an_image_that_a_network_refuses_is_one_record():
    class Refusing:
        names = ("a", "b")
        images = (np.zeros((4, 4, 1)), np.zeros((5, 4, 1)))

        def file_facts(self, number):
            return None

    def views(*_):
        raise InputError("b is too small" if shapes.pop(0) == 1 else "no memory is left")

    shapes = [0, 1]
    network = SimpleNamespace(config=preset("same", widths=(2, 3)), data=DataSpec())
    opened = SimpleNamespace(network=network, dataset=Refusing(), views=views, run=views)
    found = compute(opened, [0, 1], 0, 0)
    assert found == [{"image": "a", "error": "a: no memory is left"}, {"image": "b", "error": "b is too small"}]


@dataclass
class Given:
    checkpoint: Path = Path("ck")
    data: str = "data"
    dask: str | None = "local:2"
    json: bool = True


@pytest.mark.parametrize("failed", [False, True])
def test_each_image_is_a_task_with_absolute_paths(failed, tmp_path, monkeypatch, capsys):
    sent = []

    def on_cluster(client, tasks, finished, work, name):
        sent.append((client, tasks, work, [name(task) for task in tasks]))
        finished(len(tasks))
        return [Outcome(None, "b: is damaged" if failed and task.name == "b" else "") for task in tasks]

    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(evaluation, "cluster", nullcontext)
    monkeypatch.setattr(evaluation, "on_cluster", on_cluster)
    if failed:
        assert refused(evaluation.on_dask, Given(), ["a", "b"]) == "1 of 2 failed: b; fix them and repeat the command"
    else:
        evaluation.on_dask(Given(), ["a", "b"])
        evaluation.on_dask(Given(data="synthetic"), [])
        assert sent.pop()[1] == []
    [(client, tasks, work, names)] = sent
    own = Given(tmp_path / "ck", str(tmp_path / "data"), None)
    assert (client, work, names) == ("local:2", evaluation.work, ["a", "b"])
    assert tasks == [Share(own, 0, "a"), Share(own, 1, "b")]
    assert ("b: is damaged" in capsys.readouterr().err) == failed


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_killed_worker_changes_no_digit(command, tmp_path, capsys):
    pytest.importorskip("distributed", reason="distributed is not installed; pip install 'unet-twins[dask]'")
    alone, parts = scores(capsys, command), tmp_path / "parts"
    with cluster("local:2") as client, worker_killed(client, lambda: any(parts.glob("*"))):
        words = ["--dask", client.scheduler.address, "--parts", str(parts)]
        assert scores(capsys, [*command, *words]) == alone
