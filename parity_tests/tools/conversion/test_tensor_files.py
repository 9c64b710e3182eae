"""Files with false declarations, truncated files and files that would run a command: refused in one line, without
running anything."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch

from unet_tools.cli import main

from ...fixtures.sources.recorded import arrays

NAME = "nnunet_plain_2d"


def state():
    return {key: torch.from_numpy(np.asarray(t)) for key, t in arrays(NAME).items()}


class Command:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare pickle", "in the model folder"])
def test_a_pickle_that_would_run_a_command_is_refused_and_nothing_runs(kind, tmp_path, capsys):
    mark, path = tmp_path / "it-ran", tmp_path / "w.pth"
    values = {**state(), "mask_values": Command(mark)}
    if kind == "bare pickle":
        path.write_bytes(pickle.dumps({"w": Command(mark)}))
    elif kind == "in the model folder":
        (tmp_path / "model" / "fold_0").mkdir(parents=True)
        for name in ("plans.json", "dataset.json"):
            (tmp_path / "model" / name).write_text("{}")
        path = tmp_path / "model"
        torch.save({"network_weights": values}, path / "fold_0" / "checkpoint_final.pth")
    else:
        torch.save(values, path, _use_new_zipfile_serialization=kind == "zip")
    assert main(["convert", str(path), str(tmp_path / "ours")]) == 2
    printed = capsys.readouterr().err.strip()
    assert "no code in it was run" in printed
    assert "\n" not in printed
    assert not mark.exists()
    assert not (tmp_path / "ours").exists()
    with open(tmp_path / "proof.pkl", "wb") as file:  # it is a real one: pickle itself runs it
        pickle.dump(Command(mark), file)
    with open(tmp_path / "proof.pkl", "rb") as file:
        pickle.load(file)
    assert mark.exists()


FOREIGN = {
    "a list": ([1, 2], "found a list"),
    "no tensors": ({"epoch": 3}, "expected a state_dict"),
    "another network": ({"features.0.weight": torch.zeros(3)}, "neither the weights of a network of this project"),
    "sparse": ({"inc.weight": torch.zeros(3, 3).to_sparse()}, "sparse"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_foreign_pth_is_one_line(case, tmp_path, capsys):
    values, words = FOREIGN[case]
    torch.save(values, tmp_path / "w.pth")
    assert main(["convert", str(tmp_path / "w.pth"), str(tmp_path / "ours")]) == 2
    printed = capsys.readouterr().err.strip()
    assert words in printed
    assert "\n" not in printed


HALVES = {
    "decoder.stages.1.convs.0": "decoder.stages.1.convs.0.conv.weight",
    "decoder.transpconvs.2": "decoder.transpconvs.2.weight is missing",
    "encoder.stages.0.0.convs.0.norm": "missing: encoder.stages.0.0.convs.0.norm.weight",
    "encoder.stages.3": "with another shape: decoder.transpconvs.0.weight",
    "decoder.": "nearest is nnunet",
}


@pytest.mark.parametrize("gone", HALVES)
def test_half_of_a_checkpoint_names_what_is_missing(gone, tmp_path, capsys):
    torch.save({key: t for key, t in state().items() if gone not in key}, tmp_path / "w.pth")
    assert main(["convert", str(tmp_path / "w.pth"), str(tmp_path / "ours")]) == 2
    printed = capsys.readouterr().err.strip()
    assert "\n" not in printed
    assert HALVES[gone] in printed
    assert not (tmp_path / "ours").exists()


def test_safetensors_of_others_are_read_and_damaged_ones_refused(tmp_path, capsys):
    from safetensors.numpy import save_file

    save_file({key: np.array(t) for key, t in arrays(NAME).items()}, tmp_path / "w.safetensors")
    assert main(["convert", str(tmp_path / "w.safetensors"), str(tmp_path / "ours")]) == 0
    content = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:-10])
    assert main(["convert", str(tmp_path / "cut.safetensors"), str(tmp_path / "no")]) == 2
    assert "not a readable safetensors file" in capsys.readouterr().err
