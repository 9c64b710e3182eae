"""Twins for comparisons, and the expected result."""

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="jax is not installed; pip install 'unet-twins[jax]'")
torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'unet-twins[torch]'")
import unet_jax
import unet_torch
import unet_torch.nn.blocks as torch_blocks
from unet_spec import Checkpoint, preset, random_tensors
from unet_tools.diff import Comparison, compare_modules

# Equal widths and sizes: JAX compiles every operation once per shape, which takes most of the time of these tests.
CONFIG = preset("same", widths=(4, 4, 4), conv_bias=True)
VALID = preset("paper", widths=(2, 4, 4), norm="batch", dropout=0.0)


def twins(dtype="float64", config=CONFIG):
    checkpoint = Checkpoint(config, random_tensors(config.graph, 3, dtype))
    with jax.enable_x64(dtype == "float64"):
        return unet_torch.UNet.from_checkpoint(checkpoint), unet_jax.UNet.from_checkpoint(checkpoint)


def image(dtype="float64", config=CONFIG):
    sizes = [grid.minimum + (2 + axis) * grid.step for axis, grid in enumerate(config.geometry.grids)]
    return np.random.default_rng(5).normal(1.0, 1.0, (1, *sizes, 1)).astype(dtype)


def diff(torch_model, jax_model, backward=False) -> Comparison:
    return compare_modules(torch_model, jax_model, image(), backward=backward)


def assert_blamed(report: Comparison, name: str, place: str = "", direction="forward") -> None:
    """Only this step differs; earlier steps are the same, and later ones inherit the error."""
    steps = [step for step in report.steps if step.direction == direction]
    assert [(s.name, s.place) for s in steps if s.verdict == "differs"] == [(name, place)]
    at = next(i for i, s in enumerate(steps) if s.verdict == "differs")
    for step in steps[:at]:
        assert all(r.total <= 1e-12 for r in step.readings), step
    for step in steps:
        for r in step.readings:
            assert r.total <= (r.own + r.inherited) * (1 + 1e-9)
    later = [r for s in steps[at + 1 :] for r in s.readings]
    assert all(r.own <= 1e-13 for r in later)
    assert later
    assert sum(r.inherited > 1e-8 for r in later) > 0.8 * len(later)
    assert not report.same
    assert report.first(direction) is steps[at]


class OffCentre(torch_blocks.UpBlock):
    def forward(self, x, skip):
        x = self.up(x)
        skip = torch_blocks.center_crop(torch.roll(skip, 1, dims=2), like=x)
        return self.block(torch.cat([skip, x], dim=1))
