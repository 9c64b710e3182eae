"""Round trip of nnU-Net's trained-model folder."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from unet_spec import Checkpoint, InputError
from unet_spec.sources import Origin
from unet_tools.cli import main
from unet_tools.conversion.nnunet_models import (
    _check_own,
    _class_names,
    _configuration,
    is_converted,
    is_model,
    read_model,
)

from ...fixtures.sources.nnunet_plans import plans
from ...fixtures.sources.recorded import arrays


def model_folder(folder, printed, folds=2):
    for fold in range(folds):
        (folder / f"fold_{fold}").mkdir(parents=True)
        weights = {key: torch.from_numpy(t) for key, t in arrays("nnunet_plain_2d", fold).items()}
        checkpoint = {
            "network_weights": weights,
            "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(2)}}},
            "logging": {"train_losses": [np.float32(0.5), np.float64(0.25)], "epochs": [np.int64(3)]},
            "init_args": {"configuration": "2d", "fold": fold, "device": torch.device("cuda")},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": (0, 1),
        }
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps(printed))
    (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "b": 2, "a": 1}}))


def test_a_trained_model_folder_there_and_back(tmp_path):
    model_folder(tmp_path / "model", plans(norm_op_kwargs={"eps": 1e-3}, nonlin_kwargs={"negative_slope": 0.2}))
    assert main(["convert", str(tmp_path / "model"), str(tmp_path / "ours")]) == 0
    ours = [Checkpoint.load(tmp_path / "ours" / f"fold_{i}") for i in (0, 1)]
    assert ours[0].config == ours[1].config
    assert (ours[0].config.norm_eps, ours[0].config.slope) == (1e-3, 0.2)
    assert ours[0].digest() != ours[1].digest()
    assert ours[0].data.class_names == ("background", "a", "b")
    origin = Origin.load(tmp_path / "ours" / "fold_1")
    assert origin is not None
    assert origin.extra["inference_allowed_mirroring_axes"] == [0, 1]
    assert origin.extra["logging"] == {"train_losses": [0.5, 0.25], "epochs": [3]}
    assert "optimizer_state" not in origin.extra

    assert main(["convert", str(tmp_path / "ours"), str(tmp_path / "back"), "--to", "nnunet"]) == 0
    for fold in (0, 1):
        back = torch.load(tmp_path / "back" / f"fold_{fold}" / "checkpoint_final.pth", weights_only=True)
        wanted = arrays("nnunet_plain_2d", fold)
        assert back["trainer_name"] == "nnUNetTrainer"
        assert {key: t.numpy().tobytes() for key, t in back["network_weights"].items()} == {
            key: t.tobytes() for key, t in wanted.items()
        }
    assert json.loads((tmp_path / "back" / "plans.json").read_text())["configurations"]["2d"]["inherits_from"] == "base"


@pytest.mark.parametrize(
    ("changes", "printed"),
    [
        ({"strides": [[1, 1], [2, 2], [2, 2], [1, 2]]}, "the plans have strides"),
        ({"n_conv_per_stage": [2, 2, 2, 3]}, "the plans have n_conv_per_stage"),
        ({"norm_op": "torch.nn.BatchNorm2d"}, "the plans have norm_op batch, the tensors instance"),
        ({"nonlin": "torch.nn.GELU"}, "activation is GELU"),
    ],
)
def test_plans_of_another_network_are_reported(changes, printed, tmp_path, capsys):
    model_folder(tmp_path / "model", plans(**changes), folds=1)
    assert main(["convert", str(tmp_path / "model"), str(tmp_path / "ours")]) == 2
    message = capsys.readouterr().err.strip()
    assert printed in message
    assert "\n" not in message
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    "printed", [{}, {"configurations": {"2d": 3}}, {"configurations": {"2d": {"architecture": 3}}}]
)
def test_plans_that_are_none_are_reported(printed, tmp_path, capsys):
    model_folder(tmp_path / "model", {"x": 1} | printed, folds=1)
    assert main(["convert", str(tmp_path / "model"), str(tmp_path / "ours")]) == 2
    message = capsys.readouterr().err.strip()
    assert "the plans" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ({"b": 1, "background": 0, "ignore": 3, "c": 2}, ("background", "b", "c")),
        ({"background": 0, "a": 1}, ()),  # the network has three classes
        ({"background": 0, "a": 1, "b": 2, "d": 3}, ()),
        ({"background": 0, "a": 1, "b": 3}, ()),
        ({"background": 0, "whole": [1, 2], "core": 2}, ()),
        (["background", "a", "b"], ()),
        (None, ()),
    ],
)
def test_class_names_are_those_that_number_the_channels(labels, names):
    assert _class_names(labels, 3) == names


def test_the_configuration_is_that_of_the_checkpoint_or_of_the_folder(tmp_path):
    folder = tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    assert _configuration({"init_args": {"configuration": "2d"}}, folder) == "2d"
    for metadata in ({}, {"init_args": {}}, {"init_args": {"configuration": None}}, {"init_args": 3}):
        assert _configuration(metadata, folder) == "3d_fullres"
    assert _configuration({}, tmp_path / "model") == "model"


def test_a_model_has_plans_a_data_set_and_folds(tmp_path):
    for name in ("plans.json", "dataset.json"):
        assert not is_model(tmp_path)
        (tmp_path / name).write_text("{}")
    assert not is_model(tmp_path)
    (tmp_path / "fold_0").mkdir()
    assert is_model(tmp_path)
    assert not is_converted(tmp_path)
    with pytest.raises(InputError, match=r"it contains no fold_\*/checkpoint_final\.pth"):
        read_model(tmp_path)


def test_only_files_of_a_model_are_replaced(tmp_path):
    own = tmp_path / "fold_0" / "config.json"
    own.parent.mkdir()
    for path in (own, tmp_path / "plans.json", tmp_path / "dataset.json"):
        path.write_text("{}")
    _check_own(tmp_path, ("config.json",))
    with pytest.raises(InputError, match=r"cannot replace .*: config\.json does not belong to a converted model"):
        _check_own(tmp_path, ("weights",))
    (tmp_path / "config.json").write_text("{}")  # beside the folds
    with pytest.raises(InputError, match=r"config\.json does not belong"):
        _check_own(tmp_path, ("config.json",))
