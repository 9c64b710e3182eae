"""Files of this project without their config: format and network follow from the tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_spec.weights.weight_map import entries, to_flax
from unet_tools.conversion import formats
from unet_tools.conversion.formats import Weights, implied, is_known, read, write

BASE = preset("paper")
NETWORKS = {
    "plain": preset("paper", widths=(2, 3, 5), in_channels=3, out_channels=4, dropout=0.0),
    "volumes": preset("paper", widths=(2, 3), spatial_dims=3),
    "batch norm": preset("paper", widths=(2, 3), norm="batch", conv_bias=False),
    "group norm": preset("paper", widths=(8, 16), norm="group"),
    "bilinear": preset("paper", widths=(2, 4, 8), upsampling="bilinear"),
}


def checkpoint(config) -> Checkpoint:
    return Checkpoint(config, random_tensors(config.graph, 1), DataSpec((0.5,), (0.2,)))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.pt", "pytorch"),
        ("a.pth", "pytorch"),
        ("a.safetensors", "safetensors"),
        ("a", "checkpoint"),
        ("a.b", "checkpoint"),
    ],
)
def test_a_name_implies_a_format(name, form):
    assert implied(Path(name)) == form


def test_a_file_that_only_export_writes_is_no_name_for_a_checkpoint():
    with pytest.raises(InputError, match=r"unet convert writes weights; unet export CHECKPOINT -o net\.onnx"):
        implied(Path("net.onnx"))


@pytest.mark.parametrize("flax", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_tensors_tell_the_network(name, flax, tmp_path):
    config = NETWORKS[name]
    tensors, graph = checkpoint(config).tensors, config.graph
    if flax:
        own = to_flax(graph, tensors)
        tensors = {".".join(e.flax): np.ascontiguousarray(own[e.flax]) for e in entries(graph)}
    save_file(dict(tensors), tmp_path / "a.safetensors")
    found = read(tmp_path / "a.safetensors", None, BASE.replace(norm=config.norm if config.norm != "none" else "batch"))
    assert found.form == ("flax" if flax else "safetensors")
    assert found.checkpoint.config.replace(dropout=0.0) == config.replace(dropout=0.0)
    assert found.checkpoint.digest() == Checkpoint(found.checkpoint.config, checkpoint(config).tensors).digest()
    assert found.checkpoint.data.assumed


@pytest.mark.parametrize(("name", "norm"), [("batch norm", "batch"), ("group norm", "group")])
def test_a_norm_that_the_preset_lacks_is_told_by_its_statistics(name, norm, tmp_path):
    config = NETWORKS[name]
    save_file(dict(checkpoint(config).tensors), tmp_path / "a.safetensors")
    assert read(tmp_path / "a.safetensors", None, BASE).checkpoint.config.to_dict()["norm"] == norm


@pytest.mark.parametrize("form", ["safetensors", "flax", "pytorch", "checkpoint"])
def test_what_is_written_is_read_again(form, tmp_path):
    weights = Weights(checkpoint(NETWORKS["batch norm"]), "checkpoint")
    path = tmp_path / {"pytorch": "a.pth", "checkpoint": "a"}.get(form, "a.safetensors")
    write(weights, path, form)
    found = read(path, None, BASE.replace(norm="batch"))
    assert found.form == form
    if form == "pytorch":  # it states no network
        assert found.checkpoint.data.mean == ()
    else:
        assert found.checkpoint.data == weights.checkpoint.data
        assert not found.checkpoint.data.assumed
    assert found.checkpoint.digest() == weights.checkpoint.digest()


def test_counters_of_batches_are_no_weights(tmp_path):
    config = NETWORKS["batch norm"]
    more = {"encoder.0.norm1.num_batches_tracked": np.array(3)}
    save_file(dict(checkpoint(config).tensors) | more, tmp_path / "a.safetensors")
    assert set(read(tmp_path / "a.safetensors", None, config).checkpoint.tensors) == set(config.graph.params)


def test_metadata_says_the_framework(tmp_path):
    from safetensors import safe_open

    for form, framework in (("safetensors", "pt"), ("flax", "flax")):
        write(Weights(checkpoint(NETWORKS["plain"]), "checkpoint"), tmp_path / "a.safetensors", form)
        with safe_open(tmp_path / "a.safetensors", "np") as file:
            assert file.metadata()["format"] == framework
    assert "encoder.0.conv1.kernel" in load_file(tmp_path / "a.safetensors")


OURS = {"encoder.0.conv1.weight", "head.weight"}


@pytest.mark.parametrize(
    ("names", "form", "known"),
    [
        (OURS, None, True),
        (OURS, "pytorch", True),
        ({"encoder.0.conv1.kernel", "head.bias"}, None, True),
        ({"encoder.0.conv1.weight"}, None, True),  # the first tensor of the preset
        ({"head.weight"}, None, False),
        ({"a"}, None, False),
        (OURS, "milesial", False),
        ({"inc.double_conv.0.weight", "down1.maxpool_conv.1.double_conv.0.weight"}, "pytorch", False),
    ],
)
def test_names_of_a_known_network(names, form, known):
    assert is_known(names, form, BASE) == known


def test_a_file_replaces_no_folder_and_nothing_is_read_from_nowhere(tmp_path):
    (tmp_path / "a.pth").mkdir()
    with pytest.raises(InputError, match=r"a\.pth is a folder; pytorch writes one file"):
        write(Weights(checkpoint(NETWORKS["plain"]), "checkpoint"), tmp_path / "a.pth", "pytorch")
    with pytest.raises(InputError, match=r"no such file or folder: .*none"):
        read(tmp_path / "none", None, BASE)


@pytest.mark.parametrize("text", [None, "", "{", "[1]", '"text"'])
def test_a_stranger_s_config_is_no_config(text):
    assert formats._stored_config(text, Path("x")) is None
