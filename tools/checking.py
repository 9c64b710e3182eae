"""Parity of every runtime at hand with the float64 NumPy reference, on the weights of one checkpoint or bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unet_data.predict import labels
from unet_data.tiles import mirror_window
from unet_export import Distance
from unet_spec import Checkpoint, UNetConfig
from unet_tools.runtimes import installed, open_checkpoint

BOUNDS = {"float64": 1e-12, "float32": 1e-5}
"""The largest error allowed, relative to the largest logit of the reference."""


@dataclass(frozen=True)
class Finding:
    """One comparison. `ok` is None where it was not made; `note` says why."""

    runtime: str
    dtype: str
    compared_with: str
    worst_relative: float | None = None
    rms_relative: float | None = None
    label_agreement: float | None = None
    bound: float | None = None
    ok: bool | None = None
    note: str = ""


def compare(runtime: str, dtype: str, logits: np.ndarray, reference: np.ndarray, bound: float) -> Finding:
    """Logits (N, *spatial, K) against reference logits of the same shape."""
    distance = Distance.between(logits, reference)
    agreement = float(np.mean(labels(logits) == labels(reference)))
    most = distance.reference_max or 1.0
    return Finding(
        runtime,
        dtype,
        "NumPy float64",
        distance.worst_relative,
        distance.rms / most,
        agreement,
        bound,
        distance.worst_relative <= bound,
    )


def check_input(config: UNetConfig, images: list[np.ndarray]) -> np.ndarray:
    """A batch (N, *spatial, C) float32 that fits: two sizes of the grid, not square. From prepared images, mirrored
    where they are smaller, cut where they are larger; without images, Gaussian noise with a large mean."""
    size = tuple(g.minimum + (2 + a) * g.step for a, g in enumerate(config.geometry.grids))
    if not images:
        shape = (1, *size, config.in_channels)
        return (np.random.default_rng(0).normal(size=shape) + 1).astype(np.float32)
    return np.stack([mirror_window(image, (0,) * len(size), size) for image in images])


def check_checkpoint(checkpoint: Checkpoint, images: list[np.ndarray]) -> list[Finding]:
    """Every runtime that is installed, in float64 where it has that, in float32 else; and the weights' way through
    both frameworks, bit for bit. `images` (*spatial, C) float32 are prepared already."""
    x = check_input(checkpoint.config, images)
    double = {name: t.astype(np.float64) for name, t in checkpoint.tensors.items()}
    reference = checkpoint.config.graph.forward(double, x.astype(np.float64))
    precise = dataclasses.replace(checkpoint, tensors=double)
    single = dataclasses.replace(checkpoint, tensors={n: t.astype(np.float32) for n, t in double.items()})
    found = [_round_trip(checkpoint)]
    for name in ("jax", "torch", "onnx"):
        if not installed(name):
            found.append(Finding(name, "float32", "NumPy float64", note="not installed"))
            continue
        if name != "onnx":  # its CPU kernels compute float64 only for some operations
            with _float64(name):
                logits = open_checkpoint(precise, name).run(x.astype(np.float64))
            found.append(compare(name, "float64", logits, reference, BOUNDS["float64"]))
        logits = open_checkpoint(single, name).run(x)
        found.append(compare(name, "float32", logits, reference, BOUNDS["float32"]))
    found.append(Finding("tensorrt", "float32", "NumPy float64", note="runs engines: unet check BUNDLE"))
    return found


def check_bundle(folder: Path) -> list[Finding]:
    """Each runtime of a bundle on its golden input, against its golden logits. Opening it checks every checksum."""
    from unet_export import load, open_bundle
    from unet_export.manifest import GOLDEN

    bundle = open_bundle(folder)
    with np.load(folder / GOLDEN, allow_pickle=False) as golden:
        x, reference = golden["input"], golden["logits"]
    found = []
    for name in ("onnx", "tensorrt"):
        run, why = _attempt(lambda name=name: load(bundle, name).runtime.run)
        if run is None:
            found.append(Finding(name, "float32", "NumPy float64", note=why))
        else:
            found.append(compare(name, "float32", run(x), reference, BOUNDS["float32"]))
    return found


def _attempt(make: Callable) -> tuple[Callable | None, str]:
    from unet_spec import InputError

    try:
        return make(), ""
    except InputError as e:
        return None, str(e)


def _float64(name: str):
    """Lets JAX hold float64 for the while; PyTorch needs no permission."""
    if name != "jax":
        return nullcontext()
    import jax

    return jax.enable_x64(True)


def _round_trip(checkpoint: Checkpoint) -> Finding:
    """PyTorch → Flax → PyTorch, by the weight map, compared as bytes; through the frameworks' own arrays if there."""
    from unet_spec.weight_map import to_flax, to_pytorch

    graph = checkpoint.config.graph
    back = to_pytorch(graph, to_flax(graph, checkpoint.tensors))
    same = all(back[name].tobytes() == np.ascontiguousarray(t).tobytes() for name, t in checkpoint.tensors.items())
    what = f"{len(back)} tensors, PyTorch → Flax → PyTorch"
    return Finding("weights", "as stored", "themselves", 0.0 if same else None, None, None, 0.0, same, what)
