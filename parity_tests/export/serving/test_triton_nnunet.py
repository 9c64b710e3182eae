"""The Triton repository of an nnU-Net model: its Python model, run as Triton runs it, gives `predict_case`'s labels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
import onnxruntime

from unet_data.nnunet import predict_case
from unet_export import OnnxRuntime, emit_onnx, save_onnx
from unet_export.serving.repository import add_models
from unet_export.serving.triton import write_repository
from unet_export.serving.triton_nnunet import nnunet_model_names, write_nnunet_repository
from unet_spec import InputError

from ...fixtures.nnunet_cases import SPACING, Stored
from .protobuf import parse
from .python_backend import Error, Response, Tensor, load_model, stand_in


class Request:
    """The output of a model of the repository, computed by ONNX Runtime as in Triton."""

    repository: ClassVar[Path]

    def __init__(self, model_name, requested_output_names, inputs, preferred_memory):
        self.model, self.names, self.inputs = model_name, requested_output_names, inputs

    def exec(self):
        path = self.repository / self.model / "1" / "model.onnx"
        if not path.is_file():
            return Response(error=Error("unknown model"))
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        found = session.run(self.names, {t.name: t.values for t in self.inputs})
        return Response([Tensor(name, values) for name, values in zip(self.names, found, strict=True)])


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A stand-in for Triton's Python module, the repository, and stored results of nnU-Net."""
    stored = Stored("2d")
    bundles = []
    for name, checkpoint in zip(stored.folds, stored.checkpoints(), strict=True):
        bundles.append(tmp_path / name)
        bundles[-1].mkdir()
        save_onnx(emit_onnx(checkpoint.config, checkpoint.tensors), bundles[-1] / "model.onnx")
        write_repository(bundles[-1] / "triton", checkpoint.config, checkpoint.data, bundles[-1] / "model.onnx", ())
    write_nnunet_repository(tmp_path / "triton", stored.plans, bundles)
    stand_in(monkeypatch, InferenceRequest=Request)
    monkeypatch.setattr(Request, "repository", tmp_path / "triton", raising=False)
    return tmp_path / "triton", stored


def ask(repository, image, spacing=SPACING, name="nnunet"):
    """One request to model.py, loaded from where Triton loads it."""
    given = {"image": Tensor("image", image), "spacing": Tensor("spacing", np.array(spacing))}
    (response,) = load_model(repository, name).execute([SimpleNamespace(inputs=given)])
    return response


@pytest.mark.slow
def test_the_model_gives_predict_cases_labels(served):
    repository, stored = served
    response = ask(repository, stored.image)
    labels = response.outputs["labels"].values
    runs = [OnnxRuntime(repository / f"nnunet_{fold}" / "1" / "model.onnx").run for fold in stored.folds]
    np.testing.assert_array_equal(labels, predict_case(runs, stored.image, SPACING, stored.plans))
    assert labels.dtype == np.uint16
    assert np.mean(labels == stored.labels) > 0.999
    assert len(stored.folds) > 1
    other = ask(repository, stored.image, SPACING[::-1]).outputs["labels"].values
    assert np.mean(other == labels) < 0.99  # the Python model does the preparation


def test_all_views_of_a_tile_are_one_batch(served, monkeypatch):
    """The axes that the network was mirrored along give 2, 4 or 8 views; one request to its model computes them."""
    repository, stored = served
    given = []

    def predict(runs, image, spacing, plans, window):
        given.append((len(runs), spacing, window.batch, len(window.views)))
        return np.zeros(image.shape[1:], np.int64)

    monkeypatch.setattr("unet_data.nnunet.serve.predict_case", predict)
    labels = ask(repository, stored.image).outputs["labels"].values
    views = 2 ** len(stored.plans.mirror_axes)
    assert given == [(len(stored.folds), SPACING, views, views)]
    assert labels.dtype == np.uint16


def test_two_models_under_their_own_names_share_a_server(served, monkeypatch):
    repository, stored = served
    bundles = [repository.parent / fold for fold in stored.folds]
    write_nnunet_repository(repository.parent / "other", stored.plans, bundles, "liver")
    write_nnunet_repository(repository.parent / "other", stored.plans, bundles, "spleen")  # replaces liver
    both = repository.parent / "both"
    for source in (repository, repository.parent / "other"):
        add_models(source, both)
    assert {path.name for path in both.iterdir()} == {
        *nnunet_model_names("nnunet", stored.plans),
        *nnunet_model_names("spleen", stored.plans),
    }
    (both / "nnunet_fold_0" / "1" / "model.onnx").unlink()  # spleen does not use the networks of nnunet
    monkeypatch.setattr(Request, "repository", both)
    assert "labels" in ask(both, stored.image, name="spleen").outputs
    with pytest.raises(InputError, match=r"has a model nnunet_fold_0 already; give another --name"):
        add_models(repository, both)


def test_what_is_wrong_is_reported_in_the_response(served):
    repository, stored = served
    assert "expected (C, z, y, x) with 2 channels" in ask(repository, stored.image[:1]).error().message()
    assert "the spacing is" in ask(repository, stored.image, (0.0, 1.0, 1.0)).error().message()
    (repository / "nnunet_fold_1" / "1" / "model.onnx").unlink()
    assert ask(repository, stored.image).error().message() == "nnunet_fold_1: unknown model"


def test_configurations_are_tritons_own(served, protobuf):
    repository, _ = served
    models = {path.parent.name: parse(protobuf, path) for path in repository.glob("*/config.pbtxt")}
    assert set(models) == {"nnunet", "nnunet_fold_0", "nnunet_fold_1"}
    assert all(config.name == name for name, config in models.items())
    model = models["nnunet"]
    assert (model.backend, model.max_batch_size) == ("python", 0)
    assert [(t.name, list(t.dims)) for t in model.input] == [("image", [2, -1, -1, -1]), ("spacing", [3])]
    network = models["nnunet_fold_0"]
    assert ([t.name for t in network.input], [t.name for t in network.output]) == (["image"], ["logits"])
    own = repository.parent / "fold_0" / "triton" / "unet_network" / "config.pbtxt"
    assert parse(protobuf, own).name == "unet_network"  # the bundle's file is unchanged


def test_an_old_repository_is_replaced_and_nothing_else(served, tmp_path):
    repository, stored = served
    bundles = [tmp_path / fold for fold in stored.folds]
    (repository / "nnunet" / "1" / "nnunet.json").unlink()
    write_nnunet_repository(repository, stored.plans, bundles)
    assert (repository / "nnunet" / "1" / "nnunet.json").is_file()
    foreign = tmp_path / "other" / "nnunet"
    (foreign / "1").mkdir(parents=True)
    (foreign / "config.pbtxt").write_text('name: "nnunet"\n')
    (foreign / "1" / "model.py").write_text("class TritonPythonModel: ...\n")
    with pytest.raises(InputError, match="it contains other files; move it elsewhere"):
        write_nnunet_repository(tmp_path / "other", stored.plans, bundles)
    assert (foreign / "1" / "model.py").read_text() == "class TritonPythonModel: ...\n"
    (repository / "mine").mkdir()
    with pytest.raises(InputError, match="it also contains mine; move it elsewhere"):
        write_nnunet_repository(repository, stored.plans, bundles)
    assert (repository / "mine").is_dir()
