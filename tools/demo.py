"""The main job, end to end: data, training in JAX, the same weights everywhere, proof, export, segmentation, report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unet_data import Dataset, split
from unet_data.evaluate import commonest_class_accuracy, measure
from unet_data.predict import labels, predict_image, probabilities
from unet_data.prepare import prepare
from unet_export import write_bundle
from unet_jax.run_folder import clear
from unet_jax.settings import TrainSettings
from unet_jax.train import train
from unet_spec import Checkpoint, NetworkConfig
from unet_spec.summary import facts
from unet_spec.tiling import least_tile, plan_tiles
from unet_tools.bench_measure import processor, versions
from unet_tools.checking import check_bundle, check_checkpoint
from unet_tools.findings import Finding
from unet_tools.networks import network_name
from unet_tools.report import Example, Report, write_report
from unet_tools.runtimes import open_checkpoint

TILING_BOUND = 1e-5
"""How far a tiled result may be from the whole image's, relative to its largest logit, in float32."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo found. `passed`: every parity check held, tiles equal the whole image, and training helped."""

    folder: Path
    report: Path
    scores: dict[str, float]
    findings: list[Finding]
    tiling: dict[str, Any]
    seconds: dict[str, float]
    passed: bool


@dataclass
class _Clock:
    """Tells each stage when it begins, and keeps how long it took."""

    tell: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.tell(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def run_demo(
    dataset: Dataset,
    config: NetworkConfig,
    settings: TrainSettings,
    out: Path,
    command: str,
    tell: Callable[[str], None] = lambda stage: None,
    log: Callable[[dict[str, Any]], None] = lambda record: None,
) -> DemoResult:
    """Runs every stage and writes `out`: run/ (training), bundle/ (export), report.html, .json and .png.

    The folder's own earlier run and bundle are replaced. Raises InputError as the stages do.
    """
    clock = _Clock(tell)
    training, validation = split(dataset)
    clear(out / "run")
    with clock.stage("train (JAX)"):
        result = train(config, settings, training, validation, out / "run", report=log)
    checkpoint = Checkpoint.load(out / "run" / "best")
    with clock.stage("evaluate (PyTorch)"):
        torch_run = open_checkpoint(checkpoint, "torch").run
        scores = measure(torch_run, config, checkpoint.data, validation)
        scores["baseline_pixel_accuracy"] = commonest_class_accuracy(validation)
    with clock.stage("parity"):
        images = [prepare(validation.images[0][None], config, checkpoint.data)[0]]
        findings = check_checkpoint(checkpoint, images)[:-1]  # the last line speaks of the bundle, which comes now
    with clock.stage("export (ONNX, TensorRT)"):
        bundle = write_bundle(checkpoint, out / "bundle", golden_image=_corner(validation.images[0], config))
        findings += [f for f in check_bundle(out / "bundle") if f.runtime == "tensorrt"]
    with clock.stage("segment a larger image"):
        image, truth = larger_image(validation)
        tiling, logits = _tile(checkpoint, image)
    examples = [_example(torch_run, checkpoint, validation, i) for i in range(min(2, len(validation)))]
    examples.append(example_of("larger image, overlap-tile", image, truth, logits))
    passed = (
        all(f.ok is not False for f in findings)
        and (max(tiling["worst_deviation"].values()) <= TILING_BOUND or not tiling["exact"])
        and scores["pixel_accuracy"] > scores["baseline_pixel_accuracy"]
    )
    with clock.stage("report"):
        engine = bundle.engines[0].to_dict() | {"note": _engine_note(findings)} if bundle.engines else {}
        report = Report(
            title=f"{network_name(config)} on {Path(dataset.source).name}",
            command=command,
            facts=facts(config, settings.tile_shape(config)),
            log=result.log,
            scores=scores,
            examples=examples,
            parity=[asdict(f) for f in findings],
            tiling=tiling,
            engine=engine,
            seconds=clock.seconds,
            versions=versions(),
            hardware=hardware(),
            class_names=dataset.class_names,
        )
        page = write_report(report, out)
    return DemoResult(out, page, scores, findings, tiling, clock.seconds, passed)


def larger_image(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """An image (*spatial, C) and its labels, larger than those of the data set: up to four of them side by side, cut to
    sizes that are prime numbers, which no grid, tile or stride divides."""
    assert dataset.labels is not None
    count = 4 if len(dataset) >= 4 else 1
    same = [i for i, image in enumerate(dataset.images) if image.shape == dataset.images[0].shape][:count]
    images, truths = [dataset.images[i] for i in same], [dataset.labels[i] for i in same]
    if len(same) == 4:
        dims = dataset.spatial_dims

        def joined(parts: list[np.ndarray]) -> np.ndarray:
            rows = [np.concatenate(parts[i : i + 2], axis=dims - 1) for i in (0, 2)]
            return np.concatenate(rows, axis=dims - 2)

        images, truths = [joined(images)], [joined(truths)]
    size = tuple(slice(0, _prime_below(n)) for n in truths[0].shape)
    return images[0][size], truths[0][size]


def _prime_below(n: int) -> int:
    return next((m for m in range(n, 1, -1) if all(m % d for d in range(2, int(m**0.5) + 1))), n)


def _tile(checkpoint: Checkpoint, image: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """The image in tiles and in one piece, in each runtime. Returns what was found, and ONNX Runtime's logits."""
    config, size = checkpoint.config, image.shape[:-1]
    # Half of the image; where a wide halo would leave little of that, a quarter of the image beside the halo.
    wanted = tuple(max(min(n // 2, 512), least_tile(config.geometry, a) + n // 4) for a, n in enumerate(size))
    whole, tiled = plan_tiles(config.geometry, size), plan_tiles(config.geometry, size, wanted)
    deviation, took, logits = {}, {}, np.zeros(0)
    for name in ("jax", "torch", "onnx"):
        run = open_checkpoint(checkpoint, name).run
        reference = predict_image(run, image, config, checkpoint.data, whole)
        start = time.perf_counter()
        logits = predict_image(run, image, config, checkpoint.data, tiled)
        took[name] = time.perf_counter() - start
        deviation[name] = float(np.abs(logits - reference).max() / np.abs(reference).max())
    found = {"image_size": list(size), "canvas": list(whole.canvas), "tile": list(tiled.tile), "tiles": len(tiled)}
    found |= {"exact": tiled.exact, "bound": TILING_BOUND, "worst_deviation": deviation, "seconds": took}
    return found, logits


def _example(run: Callable, checkpoint: Checkpoint, dataset: Dataset, index: int) -> Example:
    assert dataset.labels is not None
    logits = predict_image(run, dataset.images[index], checkpoint.config, checkpoint.data)
    return example_of(dataset.names[index], dataset.images[index], dataset.labels[index], logits)


def example_of(name: str, image: np.ndarray, label: np.ndarray, logits: np.ndarray) -> Example:
    """For the page: 8-bit, grey or RGB; of a volume, the middle slice."""
    p = probabilities(logits)
    prediction, probability = labels(logits), p[..., 1] if p.shape[-1] == 2 else None
    if image.ndim == 4:
        middle = len(image) // 2
        image, label, prediction = image[middle], label[middle], prediction[middle]
        probability = None if probability is None else probability[middle]
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = np.round((image - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
    shown = image[..., :3] if image.shape[-1] >= 3 else image[..., 0]
    return Example(name, shown, label, prediction, probability)


def _corner(image: np.ndarray, config: NetworkConfig) -> np.ndarray:
    """A small golden image, so that the float64 reference takes seconds."""
    return image[tuple(slice(0, 97 if config.spatial_dims == 2 else 24) for _ in range(config.spatial_dims))]


def _engine_note(findings: list[Finding]) -> str:
    return next((f.note for f in findings if f.runtime == "tensorrt"), "")


def gpus() -> list[str]:
    """The names of the GPUs that JAX sees, such as "NVIDIA H200"."""
    import jax

    return [d.device_kind for d in jax.devices() if d.platform == "gpu"]


def hardware() -> str:
    """Such as "x86_64 (AMD EPYC, family 25 model 17), 2 cores, no GPU"."""
    return f"{processor()}, {os.cpu_count()} cores, {', '.join(gpus()) or 'no GPU'}"
