"""Checks the parity of every installed runtime with the float64 NumPy reference, for a checkpoint or bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unet_data import most_probable, read_stack
from unet_data.datasets.label_rule import IGNORED
from unet_data.inference.prepare import prepare
from unet_data.metrics.confusion import confusion, dice
from unet_data.windows import mirror_window
from unet_export import Bundle, Distance, PrecisionRecipe
from unet_export.reference import FLOAT32_BOUND, compare, reference_logits
from unet_spec import Checkpoint, InputError, NetworkConfig

from ..arguments.runtimes import in_float32, installed, open_checkpoint
from ..console import warnings_as_notes
from .findings import BOUNDS, Finding

if TYPE_CHECKING:
    from unet_export.onnx.lowering import Lowered

NOISE = 4
"""Maximum error, in multiples of NumPy's float32 error, for checkpoints whose float32 arithmetic exceeds the bound: if
logits are small differences of large terms, every float32 runtime loses as many digits."""


def check_input(config: NetworkConfig, images: list[np.ndarray]) -> np.ndarray:
    """A batch (N, *spatial, C) float32 of a small, non-square size on the grid: normalised images, mirrored or cropped
    to that size, or, without images, Gaussian noise with a large mean."""
    size = tuple(g.minimum + (2 + a) * g.step for a, g in enumerate(config.geometry.grids))
    if not images:
        shape = (1, *size, config.in_channels)
        return (np.random.default_rng(0).normal(size=shape) + 1).astype(np.float32)
    return np.stack([mirror_window(image, (0,) * len(size), size) for image in images])


def read_prepared(path: Path, checkpoint: Checkpoint) -> np.ndarray:
    """Reads and normalises an image file (in 2-D its first page, in 3-D all pages): (*spatial, C) float32. Raises
    InputError."""
    stack = read_stack(path)
    images = stack[:1] if checkpoint.config.spatial_dims == 2 else stack[None]
    try:
        with warnings_as_notes():
            return prepare(images, checkpoint.config, checkpoint.data)[0]
    except InputError as e:
        raise InputError(f"{path}: {e}") from None


def check_checkpoint(checkpoint: Checkpoint, images: list[np.ndarray]) -> list[Finding]:
    """Checks every installed runtime in float32 and, if supported, in float64, against `BOUNDS` or `NOISE`; and the
    weights' round trip through both frameworks, bit for bit. images: (*spatial, C) float32, normalised."""
    x = check_input(checkpoint.config, images)
    reference, classes = reference_logits(checkpoint, x), checkpoint.config.out_channels
    double = {name: t.astype(np.float64) for name, t in checkpoint.tensors.items()}
    precise = dataclasses.replace(checkpoint, tensors=double)
    single = in_float32(checkpoint)
    noise = Distance.between(checkpoint.config.graph.forward(single.tensors, x), reference).worst_relative
    bound = max(BOUNDS["float32"], NOISE * noise)
    findings = [_round_trip(checkpoint)]
    for name in ("jax", "torch", "onnx"):
        if not installed(name):
            findings.append(Finding(name, "float32", note="not installed"))
            continue
        if name != "onnx":  # its CPU kernels support float64 only for some operations
            with _float64(name):
                logits = open_checkpoint(precise, name).run(x.astype(np.float64))
            findings.append(Finding.of(name, "float64", compare([logits], [reference], classes), BOUNDS["float64"]))
        logits = open_checkpoint(single, name).run(x)
        findings.append(Finding.of(name, "float32", compare([logits], [reference], classes), bound))
    findings.append(Finding("tensorrt", "float32", note="runs engines: unet check BUNDLE"))
    return findings


@dataclass(frozen=True)
class BundleInputs:
    """Inputs and expected outputs for checking a bundle.

    Attributes:
        images: Network inputs (1, *size, C) float32, on the grid.
        references: Logits (1, *out, K) of the float64 reference.
        truths: Labels (1, *out) of the outputs' pixels, or None.
        what: Description of their source.
    """

    images: list[np.ndarray]
    references: list[np.ndarray]
    truths: list[np.ndarray] | None
    what: str


def check_bundle(
    folder: Path, images: list[np.ndarray] | None = None, truths: list[np.ndarray] | None = None
) -> list[Finding]:
    """Checks all checksums of a bundle, then compares each runtime and precision, and the model with fused steps, with
    the float64 reference.

    images: (*spatial, C) as read. truths: their labels (*spatial). None: the golden input. The bounds are
    `FLOAT32_BOUND` for float32 errors and, for every precision, the share of equal labels in the manifest. A narrow
    precision is computed by the simulation of the file, by PyTorch's half types on this CPU if it is installed, by ONNX
    Runtime if it computes in the type, and by engines that fit a GPU.
    """
    from unet_export import open_bundle
    from unet_export.onnx.check import read_onnx, recipe_of, weights_of

    from .fused import fused_finding

    bundle = open_bundle(folder)
    _, model, where = read_onnx(bundle.onnx)
    tensors = weights_of(model, where)
    inputs = _bundle_inputs(bundle, tensors, images, truths)
    findings = [_golden_pair(bundle)]
    for entry in bundle.manifest["precisions"]:
        precision, minimum_agreement = entry["precision"], entry["least_label_agreement"]
        _, model, where = read_onnx(bundle.folder / entry["file"])
        recipe = PrecisionRecipe("tf32") if precision == "tf32" else recipe_of(model, where)
        for name, open_candidate in _candidates(bundle, recipe, tensors):
            try:
                run = open_candidate()
                findings.append(
                    _found(bundle.config, name, precision, [run(x) for x in inputs.images], inputs, minimum_agreement)
                )
            except InputError as e:
                findings.append(Finding(name, precision, note=str(e)))
    fused = fused_finding(bundle)
    return findings if fused is None else [*findings, fused]


def _found(
    config: NetworkConfig,
    name: str,
    precision: str,
    logits: list[np.ndarray],
    inputs: BundleInputs,
    minimum_agreement: float,
) -> Finding:
    score = None
    if inputs.truths is not None:
        pairs = [(most_probable(a[..., : config.out_channels]), t) for a, t in zip(logits, inputs.truths, strict=True)]
        score = dice(np.sum([confusion(a, t, config.classes, IGNORED) for a, t in pairs], axis=0)).mean
    bound = FLOAT32_BOUND if precision == "fp32" else None
    compared = compare(logits, inputs.references, config.out_channels)
    return Finding.of(name, precision, compared, bound, minimum_agreement, inputs.what, score)


def _candidates(
    bundle: Bundle, recipe: PrecisionRecipe, tensors: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, Callable]]:
    """(name, function that opens a function from images to logits) for each candidate that can compute this
    precision."""
    from unet_export import load, simulate
    from unet_export.precision.formats import HALF, QUANTIZED, lower_for

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


def _torch(network: Lowered, recipe: PrecisionRecipe) -> Callable[[np.ndarray], np.ndarray]:
    if not installed("torch"):
        raise InputError("PyTorch is not installed; pip install 'unet-twins[torch]'")
    from .torch_reference import torch_half

    return torch_half(network, recipe)


def _golden_pair(bundle: Bundle) -> Finding:
    """Compares the golden image, after preparation, tiling and ONNX Runtime, with the golden logits."""
    from unet_export import load
    from unet_export.bundle.golden import Golden

    golden = Golden.load(bundle)
    image, reference = golden.image, golden.logits
    logits = load(bundle, "onnx")(image[None])
    classes = slice(0, bundle.config.out_channels)
    part = reference[(slice(None), *(slice(0, n) for n in image.shape[:-1]), ..., classes)]
    return Finding.of("onnx", "fp32", compare([logits], [part]), FLOAT32_BOUND, note="golden image, from its bytes")


def _bundle_inputs(
    bundle: Bundle,
    tensors: Mapping[str, np.ndarray],
    images: list[np.ndarray] | None,
    truths: list[np.ndarray] | None,
) -> BundleInputs:
    from unet_export.bundle.golden import Golden
    from unet_export.precision.calibrate import windows

    config, data = bundle.config, bundle.data
    if images is None:
        golden = Golden.load(bundle)
        return BundleInputs([golden.input], [golden.logits], None, "golden image")
    checkpoint = Checkpoint(config, tensors, data)
    x = windows(images, config, data)
    cut = None if truths is None else _label_windows(config, images, truths, [a.shape[1:-1] for a in x])
    return BundleInputs(x, [reference_logits(checkpoint, a) for a in x], cut, f"{len(x)} images")


def _label_windows(config: NetworkConfig, images: list, truths: list, sizes: list) -> list[np.ndarray]:
    """The labels of the outputs of `calibrate.windows`, for the same windows."""
    from unet_export.precision.calibrate import chosen, window_start

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


def _float64(name: str):
    """Enables float64 in JAX within the block; PyTorch needs nothing."""
    if name != "jax":
        return nullcontext()
    import jax

    return jax.enable_x64(True)


def _round_trip(checkpoint: Checkpoint) -> Finding:
    """Converts PyTorch → Flax → PyTorch by the weight map, and compares the bytes."""
    from unet_spec.weights.weight_map import to_flax, to_pytorch

    graph = checkpoint.config.graph
    back = to_pytorch(graph, to_flax(graph, checkpoint.tensors))
    same = all(back[name].tobytes() == np.ascontiguousarray(t).tobytes() for name, t in checkpoint.tensors.items())
    what = f"{len(back)} tensors, PyTorch → Flax → PyTorch"
    return Finding("weights", "as stored", "themselves", 0.0 if same else None, None, None, 0.0, same, what)
