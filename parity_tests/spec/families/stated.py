"""What the tests of every architecture state of its configs: sizes, constants of layers, and ranges of values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from unet_spec import FAMILIES, Family, InputError, NetworkConfig

from ...battery.cases import CASES

Range = tuple[str, list, list, str]
"""A field, values that are allowed, values that are refused, and how the message names what is allowed."""

WIDTHS: Range = ("widths", [(1, 1)], [(1, 0), (0, 1)], "at least 1 at every level")
NORM: list[Range] = [
    ("norm_eps", [1e-12], [0.0, -1e-5], "above 0"),
    ("norm_momentum", [1e-6, 1.0], [0.0, -0.1, 1.001], "in (0, 1]"),
]
AXES: Range = ("spatial_dims", [2, 3], [1, 4], "2 or 3")
CHANNELS: list[Range] = [(name, [1], [0], "at least 1") for name in ("in_channels", "out_channels")]


def all_configs(family: Family) -> dict[str, NetworkConfig]:
    """The presets, the config without arguments if it is none of them, the narrow versions and the networks of the
    tests, each under a name of its own."""
    default = {} if family.config() in family.presets.values() else {"default": family.config()}
    narrow = {f"narrow {name}": config for name, config in family.narrow.items()}
    return {**family.presets, **default, **narrow, **{f"test {name}": config for name, config in family.tests.items()}}


def size_of(config: NetworkConfig) -> tuple[int, int, int]:
    """Values of all tensors, number of layers, and multiply-adds for the smallest image of more than 16 pixels."""
    graph, grids = config.graph, config.geometry.grids
    values = sum(math.prod(param.shape) for param in graph.params.values())
    macs = graph.macs(tuple(max(grid.minimum, grid.above(17)) for grid in grids))
    return values, len(list(graph)), sum(macs.values())


def constants(config: NetworkConfig) -> dict[str, list[float]]:
    """The different values of every attribute of a layer that is no whole number, such as an epsilon or a rate."""
    found: dict[str, set[float]] = {}
    for node in config.graph:
        for field in dataclasses.fields(node.op):
            if isinstance(value := getattr(node.op, field.name), float):
                found.setdefault(field.name, set()).add(value)
    return {name: sorted(values) for name, values in found.items()}


def check_configs(
    architecture: str, sizes: Mapping[str, tuple], stated: Mapping[str, Mapping], elsewhere: Mapping | None = None
) -> None:
    """Every config of a family has the stated size, and layers with the stated constants: those of its name, or of ""
    for all other names. Every option is that of some network of the battery, but for those tested `elsewhere`."""
    configs = all_configs(FAMILIES[architecture])
    assert {name: size_of(config) for name, config in configs.items()} == dict(sizes)
    assert set(stated) <= {"", *configs}
    for name, config in configs.items():
        assert constants(config) == stated.get(name, stated[""]), name
    assert unused_options(FAMILIES[architecture].config) == (elsewhere or {})


def check_range(base: NetworkConfig, stated: Range) -> None:
    """The field takes the values that are allowed; of others, the message says what would be right."""
    name, allowed, refused, words = stated
    for value in allowed:
        assert getattr(base.replace(**{name: value}), name) == value
    for value in refused:
        with pytest.raises(InputError) as caught:
            base.replace(**{name: value})
        assert str(caught.value) == f"{name} is {value}; it must be {words}"


def unused_options(kind: type[NetworkConfig]) -> dict[str, set[Any]]:
    """By field with a fixed set of values: those that no network of the battery has."""
    configs, hints = [c.config for c in CASES.values() if isinstance(c.config, kind)], get_type_hints(kind)
    missing = {}
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        options = get_args(hint) if get_origin(hint) is Literal else (True, False) if hint is bool else ()
        if left := {o for o in options if not any(getattr(c, field.name) == o for c in configs)}:
            missing[field.name] = left
    return missing
