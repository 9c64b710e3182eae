"""The shapes in the signatures of layers, blocks, networks and losses are right: beartype checks them while networks
run.

jaxtyping's import hook wraps every function of a package, so each twin runs in a separate process.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from . import NO_BYTECODE, ROOT

PROGRAM = """
from unittest import mock
from jaxtyping import TypeCheckError, install_import_hook

install_import_hook(["{package}.nn", "{package}.families", "{package}.losses"], "beartype.beartype")

from unet_spec.registry import FAMILIES

CONFIGS = [config for family in FAMILIES.values() for config in family.tests.values()]
LOSSES = ("cross_entropy", "dice_loss", "focal_loss", "tversky_loss")
{run}
for number, config in enumerate(CONFIGS):
    run(config, LOSSES[number % 4], weighted=number % 8 > 3)
for target, wrong in PLANTS.items():
    with mock.patch(target, wrong):
        try:
            run(CONFIGS[0], "cross_entropy", weighted=True)
        except TypeCheckError:
            continue
    raise SystemExit(f"nothing noticed that {{target}} gave another shape")
print(len(CONFIGS))
"""

JAX = """
import jax.numpy as jnp
import unet_jax
from flax import nnx

PLANTS = {
    "unet_jax.nn.spatial.max_pool": lambda x, window: x[..., :1],
    "unet_jax.losses.targets.center_crop": lambda x, like: x[:, 1:],
    "unet_jax.losses.entropy.weighted_mean": lambda loss, weights, known: loss,
}

def run(config, loss, weighted):
    model, n = nnx.eval_shape(lambda: unet_jax.create(config)), 2
    size = [grid.minimum + grid.step for grid in config.geometry.grids]
    image, labels = jnp.zeros((n, *size, config.in_channels)), jnp.zeros((n, *size), jnp.uint8)
    weights = jnp.ones(labels.shape) if weighted else None
    of = getattr(unet_jax.losses, loss)
    nnx.eval_shape(lambda m: m.loss(of, image, labels, weights, nnx.Rngs(dropout=1)), model)
    model.eval()
    nnx.eval_shape(lambda m: m(image), model)
    if hasattr(model, "sample"):
        nnx.eval_shape(lambda m: m.sample(image, jnp.zeros((3, n, config.latent))), model)
        nnx.eval_shape(lambda m: m(image[:1], noise=jnp.zeros((3, config.latent))), model)
"""

TORCH = """
import torch
import unet_torch

PLANTS = {
    "torch.nn.functional.max_pool2d": lambda x, window: x[:, :1],
    "unet_torch.losses.targets.center_crop": lambda x, like: x[:, :, 1:],
    "unet_torch.losses.entropy.weighted_mean": lambda loss, weights, known: loss,
}

def run(config, loss, weighted):
    model, n, size = unet_torch.create(config), 2, [grid.minimum + grid.step for grid in config.geometry.grids]
    image, labels = torch.zeros(n, config.in_channels, *size), torch.zeros(n, *size, dtype=torch.uint8)
    model.loss(getattr(unet_torch.losses, loss), image, labels, torch.ones(labels.shape) if weighted else None)
    model.eval()
    model(image)
    if hasattr(model, "sample"):
        model.sample(image, torch.zeros(3, n, config.latent))
        model(image[:1], noise=torch.zeros(3, config.latent))
"""


TRAINING = """
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock
from jaxtyping import TypeCheckError, install_import_hook

modules = [f"unet_jax.training.{name}" for name in ("augmentation", "devices", "objective", "step")]
install_import_hook([*modules, "unet_jax.runtime", "unet_jax.interop"], "beartype.beartype")

import jax
import unet_jax
from unet_data import membranes, split
from unet_jax.training.step import forget_shared_steps

config = unet_jax.preset("paper", widths=(2, 4))
settings = unet_jax.TrainSettings().replace(steps=1, batch=2, accumulate=2, tile=28, border_weight=10.0)
parts = split(membranes(2, 40, 0))

def run():
    forget_shared_steps()  # or the traced step of the run before would be taken
    with TemporaryDirectory() as folder:
        unet_jax.train(config, settings, *parts, Path(folder) / "run")

run()
unet_jax.linen_view(config).apply(unet_jax.linen_view(config).init(jax.random.key(0)), jax.numpy.zeros((1, 28, 28, 1)))
for target, wrong in {
    "unet_jax.training.devices.warp.map_coordinates": lambda x, where, order, mode: x if order else x[1:],
    "unet_jax.training.objective.cross_entropy": lambda z, y, w, ignore, smoothing: z[..., 0],
}.items():
    with mock.patch(target, wrong):
        try:
            run()
        except TypeCheckError:
            continue
    raise SystemExit(f"nothing noticed that {target} gave another shape")
"""


@pytest.mark.slow
def test_training_runs_as_its_signatures_say_and_a_wrong_shape_is_noticed():
    result = subprocess.run(
        [sys.executable, "-c", TRAINING], capture_output=True, text=True, cwd=ROOT, env=os.environ | NO_BYTECODE
    )
    assert not result.returncode, result.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(("package", "run"), [("unet_jax", JAX), ("unet_torch", TORCH)], ids=["jax", "torch"])
def test_every_narrow_network_runs_as_its_signatures_say_and_a_wrong_shape_is_noticed(package, run):
    code = PROGRAM.format(package=package, run=run)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=os.environ | NO_BYTECODE
    )
    assert not result.returncode, result.stderr[-3000:]
    assert int(result.stdout) >= 12
