"""MLflow with a database in a folder: the reported records are read back."""

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
