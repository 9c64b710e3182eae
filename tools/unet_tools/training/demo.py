"""Runs the whole workflow: data, training in JAX, the same weights in every runtime, checks, export, prediction,
report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unet_data import Dataset, most_probable, pack_masks, predict_image, present_classes, probabilities, split
from unet_data.inference.prepare import prepare
from unet_data.labels.masks import topmost
from unet_data.metrics.evaluate import commonest_class_accuracy, measure
from unet_export import write_bundle, write_web
from unet_export.packages.web.write import libraries
from unet_jax.training.loop import train
from unet_jax.training.run.folder import clear
from unet_jax.training.settings import TrainSettings
from unet_spec import Checkpoint, InputError, NetworkConfig
from unet_spec.summary import facts
from unet_spec.tiling.tiles import minimum_tile, plan_tiles

from ..arguments.networks import network_name
from ..arguments.runtimes import open_checkpoint
from ..checking.bench.hardware import hardware, versions
from ..checking.findings import Finding
from ..checking.runtimes import check_bundle, check_checkpoint
from ..report import Example, Report, write_report
from ..report.pixels import to_8_bit

TILING_BOUND = 1e-5
"""Maximum difference between tiled and whole-image results, relative to the largest logit, in float32."""


@dataclass(frozen=True)
class DemoResult:
    """Results of the demo. `passed`: every parity check passed, tiles equal the whole image, and training improved the
    network."""

    folder: Path
    report: Path
    scores: dict[str, float]
    findings: list[Finding]
    tiling: dict[str, Any]
    seconds: dict[str, float]
    passed: bool
    page: str = ""
    """How to open the web page, or the reason why there is none."""


def run_demo(
    dataset: Dataset,
    config: NetworkConfig,
    settings: TrainSettings,
    out: Path,
    command: str,
    announce: Callable[[str], None] = lambda stage: None,
    log: Callable[[dict[str, Any]], None] = lambda record: None,
    npm: Path = Path("node_modules"),
) -> DemoResult:
    """Runs every stage and writes the report.

    Args:
        dataset: labelled images for training and validation.
        config, settings: the network and its training.
        out: the folder to write: run/ (training), bundle/ (export), site/ (the web page, if its libraries are
            installed), report.html, .json and .png. Existing runs, bundles and pages in it are replaced.
        command: the command line, for the report.
        announce: called with the name of each stage when it starts.
        log: called with each record of the training log.
        npm: npm's folder with the libraries of the page.

    Raises InputError like the stages.
    """
    seconds: dict[str, float] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        announce(name)
        start = time.perf_counter()
        yield
        seconds[name] = time.perf_counter() - start

    training, validation = split(dataset)
    clear(out / "run")
    with stage("train (JAX)"):
        result = train(config, settings, training, validation, out / "run", report=log)
    checkpoint = Checkpoint.load(out / "run" / "best")
    with stage("evaluate (PyTorch)"):
        torch_run = open_checkpoint(checkpoint, "torch").run
        scores = measure(torch_run, config, checkpoint.data, validation)
        scores["baseline_pixel_accuracy"] = commonest_class_accuracy(validation)
    with stage("parity"):
        images = [prepare(validation.images[0][None], config, checkpoint.data)[0]]
        findings = check_checkpoint(checkpoint, images)[:-1]  # the last finding reports that the bundle is missing
    golden = _corner(validation.images[0], config)
    with stage("export (ONNX, TensorRT)"):
        bundle = write_bundle(checkpoint, out / "bundle", golden_image=golden)
        findings += [f for f in check_bundle(out / "bundle") if f.runtime == "tensorrt"]
    with stage("web page"):
        site = write_page(checkpoint, out, npm, golden)
    with stage("segment a larger image"):
        image, truth = larger_image(validation)
        tiling, logits = _tile(checkpoint, image)
    examples = [_example(torch_run, checkpoint, validation, i) for i in range(min(2, len(validation)))]
    examples.append(example_of("larger image, overlap-tile", image, truth, logits))
    passed = (
        all(f.ok is not False for f in findings)
        and (max(tiling["worst_deviation"].values()) <= TILING_BOUND or not tiling["exact"])
        and scores["pixel_accuracy"] > scores["baseline_pixel_accuracy"]
    )
    with stage("report"):
        engine = bundle.engines[0].to_dict() if bundle.engines else {}
        if engine:
            engine["note"] = next((f.note for f in findings if f.runtime == "tensorrt"), "")
        report = Report(
            title=f"{network_name(config)} on {Path(dataset.source).name}",
            command=command,
            facts=facts(config, settings.data.tile_shape(config)),
            log=result.log,
            scores=scores,
            examples=examples,
            parity=[asdict(f) for f in findings],
            tiling=tiling,
            engine=engine,
            seconds=seconds,
            versions=versions(),
            hardware=hardware(),
            class_names=dataset.class_names,
        )
        page = write_report(report, out)
    return DemoResult(out, page, scores, findings, tiling, seconds, passed, site)


def write_page(checkpoint: Checkpoint, out: Path, npm: Path, golden: np.ndarray) -> str:
    """Writes OUT/site, the web page, if npm installed its libraries. golden: its example image, (*spatial, C).

    Returns a line: how to open the page, or why there is none and the command that writes it."""
    site = out / "site"
    none = f"no page that segments{f' ({site} is of an earlier run)' if site.exists() else ''}"
    try:
        libraries(npm)
    except InputError as e:
        return f"{none}: {e}; then: unet export {out / 'run' / 'best'} -o {site} --to web"
    try:
        write_web(checkpoint, site, npm, golden_image=golden)
    except InputError as e:
        return f"{none}: {e}"
    return f"a page that segments: python3 -m http.server -d {site}, then open http://localhost:8000"


def larger_image(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """An image (*spatial, C) and its labels, larger than those of the data set: up to four images side by side, cropped
    to prime sizes, which no grid, tile or stride divides."""
    assert dataset.labels is not None
    same = [i for i, image in enumerate(dataset.images) if image.shape == dataset.images[0].shape][:4]
    rows, columns = dataset.spatial_dims - 2, dataset.spatial_dims - 1

    def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
        if len(same) < 4:
            return parts[0]
        pairs = [np.concatenate([parts[i], parts[k]], axis=columns) for i, k in (same[:2], same[2:])]
        return np.concatenate(pairs, axis=rows)

    image, truth = joined(dataset.images), joined(dataset.labels)
    size = tuple(slice(0, _prime_below(n)) for n in truth.shape)
    return image[size], truth[size]


def _prime_below(n: int) -> int:
    return next((m for m in range(n, 1, -1) if all(m % d for d in range(2, int(m**0.5) + 1))), n)


def _tile(checkpoint: Checkpoint, image: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """Computes the image in tiles and as a whole, in each runtime. Returns the differences, and ONNX Runtime's
    logits."""
    config, size = checkpoint.config, image.shape[:-1]
    # Half of the image, or, if the halo is wide, the halo plus a quarter of the image.
    tile = tuple(max(min(n // 2, 512), minimum_tile(config.geometry, a) + n // 4) for a, n in enumerate(size))
    whole, tiled = plan_tiles(config.geometry, size), plan_tiles(config.geometry, size, tile)
    deviation, seconds, logits = {}, {}, np.zeros(0)
    for name in ("jax", "torch", "onnx"):
        run = open_checkpoint(checkpoint, name).run
        reference = predict_image(run, image, config, checkpoint.data, whole)
        start = time.perf_counter()
        logits = predict_image(run, image, config, checkpoint.data, tiled)
        seconds[name] = time.perf_counter() - start
        deviation[name] = float(np.abs(logits - reference).max() / np.abs(reference).max())
    plan = {"image_size": list(size), "canvas": list(whole.canvas), "tile": list(tiled.tile), "tiles": len(tiled)}
    result = {"exact": tiled.exact, "bound": TILING_BOUND, "worst_deviation": deviation, "seconds": seconds}
    return plan | result, logits


def _example(run: Callable, checkpoint: Checkpoint, dataset: Dataset, index: int) -> Example:
    assert dataset.labels is not None
    logits = predict_image(run, dataset.images[index], checkpoint.config, checkpoint.data)
    return example_of(dataset.names[index], dataset.images[index], dataset.labels[index], logits)


def example_of(
    name: str, image: np.ndarray, label: np.ndarray, logits: np.ndarray, overlapping: bool = False
) -> Example:
    """An image, its labels and the network's prediction for the page.

    Args:
        name: the title. image: (*spatial, C) of any dtype; becomes 8-bit, grey or RGB. label: (*spatial) class indices.
            logits: (*spatial, K). For a volume, the middle slice is shown. overlapping: classes may overlap; the last
            class of a pixel is shown.
    """
    p = probabilities(logits, overlapping)
    prediction, probability = most_probable(logits), p[..., 1] if p.shape[-1] == 2 and not overlapping else None
    if overlapping:
        label, prediction = topmost(label), topmost(pack_masks(present_classes(logits)))
    if image.ndim == 4:
        middle = len(image) // 2
        image, label, prediction = image[middle], label[middle], prediction[middle]
        probability = None if probability is None else probability[middle]
    return Example(name, to_8_bit(image), label, prediction, probability)


def _corner(image: np.ndarray, config: NetworkConfig) -> np.ndarray:
    """A small golden image, so that the float64 reference takes seconds."""
    return image[tuple(slice(0, 97 if config.spatial_dims == 2 else 24) for _ in range(config.spatial_dims))]
