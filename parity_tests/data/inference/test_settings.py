"""Settings of a prediction: the defaults that are promised, and what cannot be combined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from unet_data import ObjectSettings, PredictSettings
from unet_data.inference.output import Output
from unet_spec import InputError

TOGETHER = ["--samples cannot be combined", "--strips needs no tiles", "need --output objects", "leave out --shard"]


def test_the_defaults_are_one_exact_map_of_labels():
    settings = PredictSettings()
    assert (settings.output, settings.dtype) == ("labels", "float32")
    assert [settings.memory, settings.tile, settings.halo, settings.augment, settings.shard] == [None] * 5
    assert [settings.objects, settings.table, settings.outlines, settings.reading] == [None] * 4
    assert [settings.strips, settings.blend, settings.overwrite] == [False] * 3
    assert (settings.samples, settings.seed) == (0, 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"output": "logits", "dtype": "uint8"}, "logits cannot be written as uint8"),
        ({"samples": -1}, "--samples is -1 and --seed 0; neither may be negative"),
        ({"seed": -1}, "--samples is 0 and --seed -1; neither may be negative"),
        ({"shard": (0, 3)}, "--shard 0/3 is not a part"),
        ({"shard": (4, 3)}, "--shard 4/3 is not a part"),
        ({"strips": True, "augment": "flips"}, TOGETHER[1]),
        ({"strips": True, "blend": True}, TOGETHER[1]),
        ({"strips": True, "tile": 64}, TOGETHER[1]),
        ({"strips": True, "halo": 0}, TOGETHER[1]),
        ({"samples": 1, "strips": True}, TOGETHER[0]),
        ({"samples": 1, "blend": True}, TOGETHER[0]),
        ({"samples": 1, "augment": "flips"}, TOGETHER[0]),
        ({"samples": 1, "augment": "rotations"}, TOGETHER[0]),
        ({"samples": 1, "shard": (1, 2)}, TOGETHER[0]),
        ({"objects": ObjectSettings()}, TOGETHER[2]),
        ({"table": Path("t.csv")}, TOGETHER[2]),
        ({"output": "probabilities", "outlines": Path("o.json")}, TOGETHER[2]),
        ({"shard": (1, 2), "blend": True}, TOGETHER[3]),
        ({"shard": (1, 2), "augment": "rotations"}, TOGETHER[3]),
    ],
)
def test_what_cannot_be_combined_is_refused(given: dict[str, Any], message):
    with pytest.raises(InputError, match=message):
        PredictSettings(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"samples": 3, "seed": 7, "tile": 64, "halo": 2},
        {"shard": (3, 3), "augment": "flips"},
        {"blend": True, "augment": "rotations", "tile": 64},
        {"strips": True, "shard": (1, 2)},
        {"output": "objects", "objects": ObjectSettings(), "table": Path("t.csv"), "outlines": Path("o.zip")},
        {"tile": 64, "halo": 0},
    ],
)
def test_what_can_be_combined_is_accepted(given: dict[str, Any]):
    PredictSettings(**given)


@pytest.mark.parametrize(
    ("given", "name", "output"),
    [
        ({"output": "objects", "dtype": "float16"}, "o.tif", Output("objects", "uint8")),
        ({"output": "probabilities", "dtype": "float16"}, "o.tif", Output("probabilities", "float16")),
        ({"output": "probabilities", "dtype": "float16"}, "o.PNG", Output("probabilities", "uint8")),
        ({"output": "labels"}, "o.png", Output("labels", "float32")),
        ({"output": "logits", "dtype": "float16"}, "o.png", Output("logits", "float16")),
    ],
)
def test_the_file_decides_the_dtype_of_probabilities(given: dict[str, Any], name, output):
    assert PredictSettings(**given).written_to(Path(name)) == output


def test_one_number_is_the_size_of_a_tile_along_all_axes():
    assert PredictSettings(tile=64).tile_shape(3) == (64, 64, 64)
    assert PredictSettings(tile=(20, 64)).tile_shape(2) == (20, 64)
    assert PredictSettings().tile_shape(2) is None
    with pytest.raises(InputError, match="--tile is 20x64, but there are 3 axes"):
        PredictSettings(tile=(20, 64)).tile_shape(3)


@pytest.mark.parametrize(("given", "whole"), [({}, False), ({"blend": True}, True), ({"augment": "flips"}, False)])
def test_blending_and_rotations_need_the_whole_image(given: dict[str, Any], whole):
    assert PredictSettings(**given).whole is whole
    assert PredictSettings(augment="rotations").whole
