"""Parity of every runtime at hand with the float64 NumPy reference, on the weights of one checkpoint or bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unet_data.labels import IGNORED
from unet_data.metrics import confusion, dice
from unet_data.predict import labels
from unet_data.tiles import mirror_window
from unet_export import Bundle, Distance, Recipe
from unet_spec import Checkpoint, InputError, NetworkConfig
from unet_tools.findings import BOUNDS, Finding, compare
from unet_tools.runtimes import installed, open_checkpoint

if TYPE_CHECKING:
    from unet_export.lowering import Lowered

NOISE = 4
"""Where float32 itself is worse than its bound, the largest error allowed, in multiples of NumPy's in float32: logits
that are small differences of large terms, as of a network that has hardly been trained, lose as much everywhere."""


def check_input(config: NetworkConfig, images: list[np.ndarray]) -> np.ndarray:
    """A batch (N, *spatial, C) float32 that fits: two sizes of the grid, not square. From prepared images, mirrored
    where they are smaller, cut where they are larger; without images, Gaussian noise with a large mean."""
    size = tuple(g.minimum + (2 + a) * g.step for a, g in enumerate(config.geometry.grids))
    if not images:
        shape = (1, *size, config.in_channels)
        return (np.random.default_rng(0).normal(size=shape) + 1).astype(np.float32)
    return np.stack([mirror_window(image, (0,) * len(size), size) for image in images])


def check_checkpoint(checkpoint: Checkpoint, images: list[np.ndarray]) -> list[Finding]:
    """Every runtime that is installed, in float64 where it has that, and in float32, within `BOUNDS` or `NOISE`; and
    the weights' way through both frameworks, bit for bit. `images` (*spatial, C) float32 are prepared already."""
    x = check_input(checkpoint.config, images)
    double = {name: t.astype(np.float64) for name, t in checkpoint.tensors.items()}
    reference = checkpoint.config.graph.forward(double, x.astype(np.float64))
    precise = dataclasses.replace(checkpoint, tensors=double)
    single = dataclasses.replace(checkpoint, tensors={n: t.astype(np.float32) for n, t in double.items()})
    noise = Distance.between(checkpoint.config.graph.forward(single.tensors, x), reference).worst_relative
    bound = max(BOUNDS["float32"], NOISE * noise)
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
        found.append(compare(name, "float32", logits, reference, bound))
    found.append(Finding("tensorrt", "float32", "NumPy float64", note="runs engines: unet check BUNDLE"))
    return found


@dataclass(frozen=True)
class BundleInputs:
    """What a bundle is checked on.

    Attributes:
        images: network inputs (1, *size, C) float32, on the grid.
        references: logits (1, *out, K) of the float64 reference.
        truths: labels (1, *out) of the outputs' pixels, or None.
        what: where they come from.
    """

    images: list[np.ndarray]
    references: list[np.ndarray]
    truths: list[np.ndarray] | None
    what: str


def check_bundle(
    folder: Path, images: list[np.ndarray] | None = None, truths: list[np.ndarray] | None = None
) -> list[Finding]:
    """Each runtime and precision of a bundle against the float64 reference, and the model with baked-in steps; before
    that, every checksum.

    images: (*spatial, C) as they were read, truths: their labels (*spatial); None takes the golden input. The bounds
    are `BOUNDS` for float32's errors and, for every precision, the share of equal labels that the manifest states.
    A narrow precision is judged by the simulation (exactly what the file says), by PyTorch's half types on this CPU
    where it is installed, by ONNX Runtime where that computes in the type, and by the engines where a GPU fits.
    """
    from unet_export import open_bundle
    from unet_export.onnx_check import read_onnx, recipe_of, weights_of
    from unet_tools.baked_check import baked_finding

    bundle = open_bundle(folder)
    _, model, where = read_onnx(bundle.onnx)
    tensors = weights_of(model, where)
    inputs = _bundle_inputs(bundle, tensors, images, truths)
    found = [_golden_pair(bundle)]
    for entry in bundle.manifest["precisions"]:
        precision, least = entry["precision"], entry["least_label_agreement"]
        _, model, where = read_onnx(bundle.folder / entry["file"])
        recipe = Recipe("tf32") if precision == "tf32" else recipe_of(model, where)
        for name, run in _judges(bundle, recipe, tensors):
            outcome = _attempt(lambda run=run: [run()(x) for x in inputs.images])
            if isinstance(outcome, str):
                found.append(Finding(name, precision, "NumPy float64", note=outcome))
            else:
                found.append(_found(name, precision, outcome, inputs, least))
    baked = baked_finding(bundle)
    return found if baked is None else [*found, baked]


def _found(name: str, precision: str, logits: list[np.ndarray], inputs: BundleInputs, least: float) -> Finding:
    from unet_export.precision_search import judge

    judged = judge(logits, inputs.references)
    bound = BOUNDS["float32"] if precision == "fp32" else None
    score = None
    if inputs.truths is not None:
        pairs = [(labels(a), t) for a, t in zip(logits, inputs.truths, strict=True)]
        classes = max(2, logits[0].shape[-1])
        score = dice(np.sum([confusion(a, t, classes, IGNORED) for a, t in pairs], axis=0)).mean
    distance = judged.distance
    ok = judged.label_agreement >= least and (bound is None or distance.worst_relative <= bound)
    return Finding(
        name,
        precision,
        "NumPy float64",
        distance.worst_relative,
        distance.rms / (distance.reference_max or 1.0),
        judged.label_agreement,
        bound,
        ok,
        inputs.what,
        least,
        score,
    )


def _judges(bundle: Bundle, recipe: Recipe, tensors: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Callable]]:
    """(name, how to get a function from images to logits) for everything that may compute this precision."""
    from unet_export import load, simulate
    from unet_export.precision import HALF, QUANTIZED, lower_for

    network = lower_for(recipe.precision, bundle.config.graph, tensors)
    if recipe.precision != "fp32":
        yield "simulation", lambda: lambda x: simulate(network, recipe, x)
    if recipe.precision == "fp32" or recipe.precision in QUANTIZED:
        yield "onnx", lambda: load(bundle, "onnx", precision=recipe.precision).runtime.run
    if recipe.precision == "fp32" and find_spec("openvino") is not None:
        yield "openvino", lambda: load(bundle, "openvino").runtime.run
    if recipe.precision in HALF:
        yield "torch half, CPU", lambda: _torch(network, recipe)
    yield "tensorrt", lambda: load(bundle, "tensorrt", precision=recipe.precision).runtime.run


def _torch(network: Lowered, recipe: Recipe) -> Callable[[np.ndarray], np.ndarray]:
    if not installed("torch"):
        raise InputError("PyTorch is not installed; pip install 'unet-twins[torch]'")
    from unet_tools.torch_judge import torch_half

    return torch_half(network, recipe)


def _golden_pair(bundle: Bundle) -> Finding:
    """The golden image, as it was read, through preparation, tiling and ONNX Runtime, against the golden logits."""
    from unet_export import load
    from unet_export.manifest import GOLDEN

    with np.load(bundle.folder / GOLDEN, allow_pickle=False) as golden:
        image, reference = golden["image"], golden["logits"]
    logits = load(bundle, "onnx")(image[None])
    part = reference[(slice(None), *(slice(0, n) for n in image.shape[:-1]))]
    finding = compare("onnx", "fp32", logits, part, BOUNDS["float32"])
    return dataclasses.replace(finding, note="golden image, from its bytes")


def _bundle_inputs(
    bundle: Bundle,
    tensors: Mapping[str, np.ndarray],
    images: list[np.ndarray] | None,
    truths: list[np.ndarray] | None,
) -> BundleInputs:
    from unet_export.calibrate import windows
    from unet_export.manifest import GOLDEN
    from unet_export.parity import reference_logits

    config, data = bundle.config, bundle.data
    if images is None:
        with np.load(bundle.folder / GOLDEN, allow_pickle=False) as golden:
            return BundleInputs([golden["input"]], [golden["logits"]], None, "golden image")
    checkpoint = Checkpoint(config, tensors, data)
    x = windows(images, config, data)
    cut = None if truths is None else _label_windows(config, images, truths, [a.shape[1:-1] for a in x])
    return BundleInputs(x, [reference_logits(checkpoint, a) for a in x], cut, f"{len(x)} images")


def _label_windows(config: NetworkConfig, images: list, truths: list, sizes: list) -> list[np.ndarray]:
    """The labels of the outputs of `calibrate.windows`, chosen and placed alike."""
    from unet_export.calibrate import chosen, window_start

    if len(truths) != len(images):
        raise InputError(f"{len(images)} images but {len(truths)} labels; give one label for each image")
    result = []
    for index, size in zip(chosen(len(images)), sizes, strict=True):
        truth = truths[index]
        if truth.shape != images[index].shape[:-1]:
            raise InputError(f"an image is {images[index].shape[:-1]} but its label {truth.shape}; they must be equal")
        margin = tuple(config.geometry.margin(a) for a in range(truth.ndim))
        start = tuple(s + m for s, m in zip(window_start(truth.shape, size), margin, strict=True))
        inner = tuple(n - 2 * m for n, m in zip(size, margin, strict=True))
        result.append(mirror_window(truth, start, inner)[None])
    return result


def _attempt(make: Callable[[], list[np.ndarray]]) -> list[np.ndarray] | str:
    """The result, or why there is none."""
    try:
        return make()
    except InputError as e:
        return str(e)


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
