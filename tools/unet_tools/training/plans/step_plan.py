"""Computes, searches, caches and prints the cost of a training step on given devices."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unet_spec import InputError, NetworkConfig
from unet_spec.files import cache_folder, format_bytes, replacing
from unet_spec.untrusted.strict_json import read_object

from ...checking.bench.hardware import versions
from ...console import print_table

PACKAGES = ("jax", "jaxlib", "libtpu", "unet-twins")


def prepare_compiler(device: str) -> None:
    """Prevents JAX from searching for a TPU on this machine when it only compiles for one. Call it before JAX is
    imported."""
    if device.startswith("tpu-"):
        os.environ.setdefault("JAX_PLATFORMS", "cpu")


def plan_step(config: NetworkConfig, settings: Any, device: str) -> tuple[dict[str, Any], bool]:
    """The cost of a step (`unet_jax.training.devices.step_cost.StepCost.to_dict`), and whether it comes from the cache.
    The key of the cache is network, settings, device and software. Costs of this machine are not cached.

    Args:
        config: the network.
        settings: a `unet_jax.TrainSettings`.
        device: "here" or a TPU, see `unet_jax.training.devices.target.find_target`.
    """
    from unet_jax.training.devices.step_cost import compile_step
    from unet_jax.training.devices.target import find_target

    target = find_target(device)
    if device == "here":
        return compile_step(config, settings, target).to_dict(), False
    inputs = json.dumps([config.to_dict(), settings.to_dict(), device, versions(PACKAGES), _sources()], sort_keys=True)
    path = cache_folder() / "step-plans" / f"{hashlib.sha256(inputs.encode()).hexdigest()[:32]}.json"
    if path.exists():
        with contextlib.suppress(InputError):  # damaged: computed again
            return read_object(path), True
    cost = compile_step(config, settings, target).to_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(cost), encoding="utf-8")
    return cost, False


def _sources() -> str:
    """A digest of the source code of the step."""
    import unet_jax

    digest = hashlib.sha256()
    for file in sorted(Path(unet_jax.__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def search(config: NetworkConfig, settings: Any, device: str) -> Iterator[tuple[dict[str, Any], bool]]:
    """Costs of steps in bfloat16 and in float32. The batch doubles while it fits, up to 64-fold; from the first batch
    that does not fit on, `remat` is used. See `best_of`."""
    first = settings.optimisation.batch
    for precision in ("bfloat16", "float32"):
        batch, remat = first, False
        while batch <= 64 * first:
            tried = settings.replace(batch=batch, precision=precision, remat=remat)
            cost, from_cache = plan_step(config, tried, device)
            yield cost, from_cache
            if cost["fits"]:
                batch *= 2
            elif remat:
                break
            else:
                remat = True


def best_of(costs: list[dict[str, Any]]) -> dict[str, Any]:
    """Among the costs that fit, the one with the minimum time per tile. Raises InputError if none fits."""
    fitting = [cost for cost in costs if cost["fits"]]
    if not fitting:
        raise InputError("no step fits; try a smaller tile or network, or more devices that share each image (--space)")
    return min(fitting, key=lambda cost: cost["bound_seconds"] / cost["batch"])


def print_cost(title: str, cost: dict[str, Any]) -> None:
    """Prints a table of the cost of one step."""
    size = "x".join(map(str, cost["tile"]))
    fits = "fits" if cost["fits"] else "does not fit"
    rows = [
        ("one step", f"{cost['batch']} tile(s) of {size}, {cost['precision']}{', remat' if cost['remat'] else ''}"),
        ("memory per device", f"{format_bytes(cost['memory'])} of {format_bytes(cost['capacity'])}: {fits}"),
    ]
    if cost["temporaries"] is not None:
        rows += [(f"  {name}", format_bytes(cost[name])) for name in ("temporaries", "arguments", "code")]
        rows += [
            ("operations per device", f"{cost['flops']:.3g}"),
            ("bytes accessed", f"{cost['bytes_accessed']:.3g} ({cost['intensity']:.0f} operations a byte)"),
        ]
        each = ", ".join(f"{n} {kind} ({format_bytes(size)})" for kind, (n, size) in cost["collectives"].items())
        rows.append(("collectives", each or "none"))
        parts = ", ".join(f"{name} {_time(cost[f'{name}_seconds'])}" for name in ("compute", "memory", "link"))
        rows.append(("minimum time per step", f"{_time(cost['bound_seconds'])}, by {cost['binds']} ({parts})"))
        rows.append(("minimum time per tile", _time(cost["bound_seconds"] / cost["batch"])))
        if cost["estimate_seconds"]:
            rows.append(("XLA's own estimate", _time(cost["estimate_seconds"])))
    rows.append(("compiled in", f"{cost['compile_seconds']:.0f} s"))
    print_table(f"{title}, on {cost['kind']}", ("", ""), rows)


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
