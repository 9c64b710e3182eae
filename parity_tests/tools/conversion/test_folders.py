"""Folders of the Hugging Face hub and of smp, and weights in several shards."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from unet_spec import Checkpoint, InputError, preset, random_tensors, sources
from unet_tools.cli import main
from unet_tools.conversion.folders import check_smp, has_weights, is_ours, weight_files

SMP = preset("resnet34-unet", in_channels=3, out_channels=2, depths=(1, 1, 1, 1), width=4, decoder=(8, 6, 4, 4, 2))


def theirs(tmp_path):
    return sources.export_tensors(SMP, random_tensors(SMP.graph, 0), "smp")


def test_a_folder_of_smp_with_imagenets_statistics(tmp_path, capsys):
    folder, tensors = tmp_path / "hub", theirs(tmp_path)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"encoder_name": "resnet18", "in_channels": 3, "classes": 2}))
    assert main(["convert", str(folder), str(tmp_path / "a")]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "assumed, since the file does not state it: normalisation: none (smp's encoders mostly take "
        "imagenet) [--mean --std]" in said
    )
    assert len(Checkpoint.load(tmp_path / "a").data.assumed) == 4
    options = ["--mean", "imagenet", "--std", "imagenet", "--class-names", "a", "b", "--classes", "exclusive"]
    assert main(["convert", str(folder), str(tmp_path / "b"), *options]) == 0
    data = Checkpoint.load(tmp_path / "b").data
    assert (data.mean, data.class_names) == ((0.485, 0.456, 0.406), ("a", "b"))
    assert [line.partition(":")[0] for line in data.assumed] == ["network"]
    (folder / "config.json").write_text(json.dumps({"encoder_name": "resnet18", "decoder_interpolation": "bilinear"}))
    assert main(["convert", str(folder), str(tmp_path / "c")]) == 2
    assert "only 'nearest' is supported" in capsys.readouterr().err


def sharded(folder, tensors):
    folder.mkdir()
    names, where = sorted(tensors), {}
    for k in range(2):
        part = {name: tensors[name] for name in names[k::2]}
        save_file(part, folder / f"model-{k}.safetensors")
        where |= dict.fromkeys(part, f"model-{k}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


@pytest.mark.parametrize("name", ["", "model.safetensors.index.json"])
def test_shards_are_read_together(name, tmp_path):
    tensors = theirs(tmp_path)
    sharded(tmp_path / "s", tensors)
    assert main(["convert", str(tmp_path / "s" / name), str(tmp_path / "a")]) == 0
    loaded = Checkpoint.load(tmp_path / "a")
    np.testing.assert_array_equal(loaded.tensors["head.bias"], tensors["segmentation_head.0.bias"])


def test_shards_that_are_missing_or_elsewhere_are_refused(tmp_path):
    sharded(tmp_path / "s", {"a": np.zeros(1), "b": np.zeros(1)})
    (tmp_path / "s" / "model-1.safetensors").unlink()
    with pytest.raises(InputError, match=r"the shard model-1\.safetensors is missing"):
        weight_files(tmp_path / "s")
    index = tmp_path / "s" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../x"}}))
    with pytest.raises(InputError, match="in another folder"):
        weight_files(index)


def made(folder, **files):
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    return folder


@pytest.mark.parametrize(
    ("files", "ours"),
    [
        ({}, False),
        ({"config__json": '{"architecture": "unet"}'}, True),
        ({"config__json": '{"widths": [2]}'}, True),
        ({"config__json": '{"encoder_name": "resnet18"}'}, False),
        ({"config__json": "[]"}, True),  # its reader says what is wrong
        ({"config__json": "{"}, False),
        ({"config__json": "{", "model__safetensors": ""}, True),
    ],
)
def test_a_folder_of_this_project_is_known_by_its_config(files, ours, tmp_path):
    assert is_ours(made(tmp_path / "a", **files)) == ours


@pytest.mark.parametrize(
    "name", ["a__safetensors", "a__bin", "a__pth", "a__pt", "model__index__json", "a__h5", "notes"]
)
def test_files_of_weights(name, tmp_path):
    folder = made(tmp_path / "a", **{name: ""})
    assert has_weights(folder) == (name not in ("a__h5", "notes"))


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["pytorch_model__bin", "model__safetensors", "diffusion_pytorch_model__safetensors"], "model.safetensors"),
        (["diffusion_pytorch_model__safetensors", "pytorch_model__bin"], "pytorch_model.bin"),
        (["other__pth", "notes__txt"], "other.pth"),
        (["other__pt", "model__safetensors"], "model.safetensors"),
        (["a__pt", "b__bin"], "it has several weights files (a.pt, b.bin); give one of them"),
        ([f"{n}__pt" for n in "abcdef"], "several weights files (a.pt, b.pt, c.pt, d.pt, e.pt); give"),
        (["notes__txt"], "it has no weights file"),
    ],
)
def test_the_weights_of_a_folder(files, chosen, tmp_path):
    folder = made(tmp_path / "a", **dict.fromkeys(files, ""), config__json='{"classes": 3}')
    if " " in chosen:
        with pytest.raises(InputError) as caught:
            weight_files(folder)
        assert chosen in str(caught.value)
    else:
        assert weight_files(folder) == ([folder / chosen], {"classes": 3})
        assert weight_files(folder / chosen) == ([folder / chosen], {})
        (folder / "config.json").write_text("[1]")
        assert weight_files(folder)[1] == {}


@pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}'])
def test_an_index_has_a_map_of_names(content, tmp_path):
    folder = made(tmp_path / "a", model__index__json=content)
    with pytest.raises(InputError, match="expected an index of shards, with the object weight_map"):
        weight_files(folder)


@pytest.mark.parametrize(
    ("config", "lines"),
    [
        ({"decoder_interpolation": "bilinear"}, []),  # not of smp
        ({"encoder_name": "x"}, []),
        ({"encoder_name": "x", "activation": None, "decoder_interpolation": "nearest"}, []),
        (
            {"encoder_name": "x", "activation": "sigmoid"},
            ["its activation 'sigmoid' is left out: the output is logits"],
        ),
    ],
)
def test_settings_of_smp_that_this_network_lacks(config, lines, tmp_path):
    assert check_smp(config, tmp_path) == lines
