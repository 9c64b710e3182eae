"""A step that does not fit into memory is refused before the run begins."""

import sys
from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unet_jax.training.devices.step_memory import compile_within_memory
from unet_jax.training.loop import train
from unet_spec import InputError

from ..small_runs import PAPER, SMALL, data

SIX_STEPS = SMALL.replace(steps=6, log_every=3, validate_every=3)


@pytest.mark.slow
@pytest.mark.skipif(jax.default_backend() != "cpu" or sys.platform != "linux", reason="of CPUs under Linux")
def test_a_step_that_a_cpu_has_no_memory_for_is_refused_before_the_run_begins(tmp_path, monkeypatch):
    monkeypatch.setattr("unet_jax.training.devices.step_memory.available", lambda: 2**10)
    with pytest.raises(InputError, match=r"^a step of 3 tile\(s\) of 100x100 pixels, .* and 0\.0 GiB are available"):
        train(PAPER, SIX_STEPS.replace(batch=3), *data(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(jax.default_backend() != "cpu" or sys.platform != "linux", reason="of CPUs under Linux")
def test_a_tile_larger_than_the_memory_is_refused_before_it_is_cut(monkeypatch, tmp_path):
    monkeypatch.setattr("unet_jax.training.devices.step_memory.available", lambda: 16 * 2**30)
    with pytest.raises(InputError, match=r"^a step of 1 tile\(s\) of \d{5}x\d{5} pixels, "):
        train(PAPER, SIX_STEPS.replace(tile=20_000), *data(), tmp_path / "run")


@pytest.mark.skipif(jax.default_backend() != "cpu" or sys.platform != "linux", reason="of CPUs under Linux")
@pytest.mark.parametrize(("gib", "fits"), [(0.5, False), (2.0, True)])
def test_what_a_step_needs_is_reported_by_the_compiler(monkeypatch, gib, fits):
    step = jax.jit(lambda state, values, x: (state, (jnp.sort(x, 0) * x).sum()))  # stores a copy of 1 GiB
    monkeypatch.setattr("unet_jax.training.devices.step_memory.available", lambda: int(gib * 2**30))
    with nullcontext() if fits else pytest.raises(InputError, match=r"needs 1\.0 GiB of memory, and 0\.5 GiB are"):
        compile_within_memory(step, {}, np.zeros(2), [jax.ShapeDtypeStruct((8, 512, 1024, 64), jnp.float32)])
