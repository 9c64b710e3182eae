"""A network that is ready to run: its identity, the sizes of its engine, how its files are read."""

from types import SimpleNamespace

import numpy as np
import pytest

from unet_data import OpenNetwork, ReadSettings
from unet_spec import DataSpec, preset

CONFIG, DATA = preset("same", widths=(2, 4)), DataSpec()


def network(weights=None, data=DATA, **more):
    return OpenNetwork(SimpleNamespace(name="numpy", config=CONFIG, run=lambda x: x + 1, **more), data, weights)


def test_a_network_is_its_runtime_and_its_data():
    found = network(data=DataSpec((0.5,), (0.25,), reading={"channels": "all"}))
    assert (found.name, found.config) == ("numpy", CONFIG)
    assert found.run(np.ones(2)).tolist() == [2, 2]
    assert found.reading == ReadSettings(channels="all")
    assert found.prepare(np.full((1, 4, 4, 1), 255, np.uint8)).max() == 2


def test_the_sizes_are_those_of_the_engines_profile():
    assert network().sizes is None
    assert network(record=SimpleNamespace()).sizes is None
    profile = SimpleNamespace(min=[1, 16, 20], max=[4, 32, 40])
    assert network(record=SimpleNamespace(profile=profile)).sizes == ((1, 16, 20), (4, 32, 40))


@pytest.mark.parametrize("name", ["manifest.json", "config.json", "model.safetensors"])
def test_every_file_of_the_weights_is_part_of_the_identity(tmp_path, name):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("a")
    before = network(tmp_path).identity
    (tmp_path / "notes.txt").write_text("b")
    assert network(tmp_path).identity == before
    (tmp_path / name).write_text("other")
    assert network(tmp_path).identity != before


def test_without_weights_only_the_same_object_is_the_same_network():
    one = network()
    assert one.identity == one.identity
    assert one.identity != network().identity
