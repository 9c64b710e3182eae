"""MLflow with a database in a folder: the reported records are read back."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from .records import log

pytestmark = pytest.mark.usefixtures("drawn")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of MLflow's own imports
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.slow  # MLflow takes ten seconds to create its tables
def test_mlflow_has_settings_curves_and_overlay_and_a_resumed_run_goes_on(tmp_path, capsys):
    mlflow = pytest.importorskip("mlflow")
    assert not log("mlflow", tmp_path).failed
    log("mlflow", tmp_path, [{"step": 30, "loss": 0.125}], resume=True)
    assert capsys.readouterr().err == ""
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("unet-twins")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == tmp_path.name
    assert run.info.status == "FINISHED"
    assert run.data.params == {"steps": "20", "network.widths": "[2, 4]"}
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(10, 0.5), (20, 0.25), (30, 0.125)]
    assert run.data.metrics["iou"] == 0.75
    assert run.data.metrics["iou a_b_"] == 0.5
    assert list((tmp_path / "mlflow").rglob("validation*step+20*.png"))


class Client:
    """Stands for MLflow's client, and keeps in memory what it receives."""

    def __init__(self, place):
        self.place = place
        Client.made.append(self)

    made: list = []  # noqa: RUF012
    runs: list = []  # noqa: RUF012
    experiments: dict = {}  # noqa: RUF012

    def get_experiment_by_name(self, name):
        return Client.experiments.get(name)

    def create_experiment(self, name, artifact_location):
        Client.experiments[name] = SimpleNamespace(experiment_id=f"id of {name}", place=artifact_location)
        return f"id of {name}"

    def search_runs(self, experiments):
        return [run for run in Client.runs if run.experiment in experiments]

    def create_run(self, experiment, run_name, tags):
        info = SimpleNamespace(run_id=f"run {len(Client.runs)}", run_name=run_name, status="RUNNING")
        run = SimpleNamespace(experiment=experiment, info=info, data=SimpleNamespace(tags=tags), metrics=[], params=[])
        Client.runs.append(run)
        return run

    def _run(self, run_id):
        return next(run for run in Client.runs if run.info.run_id == run_id)

    def log_batch(self, run_id, params=(), metrics=()):
        assert len(params) <= 100  # MLflow takes no more at once
        self._run(run_id).params += params
        self._run(run_id).metrics += metrics

    def log_image(self, run_id, image, key, step):
        self._run(run_id).image = (image.shape, key, step)

    def set_terminated(self, run_id, status="FINISHED"):
        self._run(run_id).info.status = status


@pytest.fixture
def kept(monkeypatch):
    """The package mlflow with this client."""
    package, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    package.MlflowClient = Client
    entities.Param = lambda key, value: (key, value)
    entities.Metric = lambda key, value, time, step: (key, value, step)
    for name, value in (("made", []), ("runs", []), ("experiments", {})):
        monkeypatch.setattr(Client, name, value)
    monkeypatch.setitem(sys.modules, "mlflow", package)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    return Client


def test_each_run_has_its_settings_numbers_and_folder_and_is_found_again(kept, tmp_path):
    assert not log("mlflow", tmp_path / "a").failed
    log("mlflow", tmp_path / "b")
    log("mlflow", tmp_path / "a", [{"step": 30, "loss": 0.125}], resume=True)
    first, second = kept.runs
    assert [run.info.run_name for run in kept.runs] == ["a", "b"]
    assert [run.data.tags for run in kept.runs] == [{"unet.folder": str(tmp_path / n)} for n in "ab"]
    assert first.params == [("steps", "20"), ("network.widths", "[2, 4]")]
    numbers = [("loss", 0.5, 10), ("steps_per_second", 7.0, 10), ("loss", 0.25, 20), ("steps_per_second", 8.0, 20)]
    assert second.metrics == [*numbers, ("iou", 0.75, 20), ("iou a_b_", 0.5, 20)]
    assert first.metrics == [*second.metrics, ("loss", 0.125, 30)]
    assert first.image == ((8, 8, 3), "validation", 20)
    assert {run.info.status for run in kept.runs} == {"FINISHED"}
    assert [client.place for client in kept.made] == [f"sqlite:///{tmp_path / n / 'mlflow.db'}" for n in "aba"]
    assert kept.experiments["unet-twins"].place == (tmp_path / "a" / "mlflow").as_uri()


def test_a_server_and_an_experiment_are_taken_from_the_environment(kept, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "nuclei")
    log("mlflow", tmp_path / "a")
    assert kept.made[0].place == "http://127.0.0.1:9"
    assert kept.experiments["nuclei"].place is None  # the server's own place
    assert not (tmp_path / "a").exists()


def test_long_settings_are_cut_and_many_are_sent_in_parts(kept, tmp_path):
    from unet_data import membranes
    from unet_tools.training.loggers import open_logger

    about = {f"s{number}": "x" * 600 for number in range(250)}
    with open_logger("mlflow", tmp_path, membranes(1, 32, 0), about, False) as logger:
        logger.report({"step": 1, "loss": 1.0})
    (run,) = kept.runs
    assert [key for key, _ in run.params] == list(about)
    assert {len(value) for _, value in run.params} == {500}
