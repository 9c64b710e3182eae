"""What `unet predict` and `unet plan` share: the plan for an image, and the run of one file from reading to writing."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from unet_data.predict import Output, default_plan, predict_image, sample_image
from unet_data.prepare import prepare
from unet_data.readers import Picture, open_pictures
from unet_data.stitch import predict_blended
from unet_data.stream import Written, segment, shard
from unet_data.stream_store import TileStore
from unet_data.stream_strips import Stream, segment_by_strips
from unet_data.test_time import Symmetry, augmented, predict_rotated
from unet_data.writers import check_target, write_mosaic
from unet_spec import Checkpoint, InputError
from unet_spec.latent import draw_noise
from unet_spec.planner import Plan, plan_image
from unet_spec.strips import check_strips, plan_bands, strip_memory
from unet_spec.tiling import plan_tiles
from unet_tools.console import notes
from unet_tools.memory import available, peak_resident, resident, restart_peak
from unet_tools.runtimes import Network

DEFAULT_BUDGET = 2 * 2**30
"""Bytes that tiles may take where nobody asked for a budget; half of what is available, if that is less."""


def plan_for(
    network: Network, image: tuple[int, ...], memory: int | None, tile: int | None, halo: int | None = None
) -> Plan:
    """The plan for an image of `image` pixels per axis in an open network.

    memory: bytes that the process may have in memory in total; None takes `DEFAULT_BUDGET` for the tiles, and no limit
    for a network that cannot be tiled exactly. An engine's profile limits sizes and batch. Raises InputError.
    """
    geometry = network.config.geometry
    profile = getattr(getattr(network.runtime, "record", None), "profile", None)
    budget = None if memory is None else max(memory - resident(), 0)
    if memory is None and tile is None and geometry.shift_invariant:
        budget = max(min(DEFAULT_BUDGET, available() // 2), 2**28)
    try:
        return plan_image(
            geometry,
            image,
            runtime=network.name,
            budget=budget,
            tile=None if tile is None else (tile,) * len(image),
            least=profile.min[1:] if profile else None,
            most=profile.max[1:] if profile else None,
            most_batch=profile.max[0] if profile else 1,
            halo=halo,
        )
    except InputError as e:
        used = "" if memory is None else f" (the process has {resident() / 2**20:.0f} MiB of the limit already)"
        raise InputError(f"{e}{used}") from None


@dataclass(frozen=True)
class Job:
    """One file to segment.

    Attributes:
        source, target: the image and the result.
        weights: the folder of the network: a checkpoint or a bundle.
        output: what is written.
        memory, tile, halo: of the plan, see `plan_for`.
        strips: compute strip by strip (in PyTorch or JAX); nothing is computed twice.
    augment: test-time augmentation, see `unet_data.test_time`. blend: average overlapping tiles, see `predict_blended`.
    part: (i, n) computes the i-th of n parts and leaves the result to a run without part.
    samples, seed: hypotheses to draw of each image, in networks with a latent variable; 0: that of the mean. They are
        the pages of the result.
        settings: whatever else the result depends on.
    """

    source: Path
    target: Path
    weights: Path
    output: Output
    memory: int | None = None
    tile: int | None = None
    halo: int | None = None
    strips: bool = False
    augment: Symmetry | Literal["rotations"] | None = None
    blend: bool = False
    part: tuple[int, int] | None = None
    samples: int = 0
    seed: int = 0
    overwrite: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Done:
    """What became of a job.

    Attributes:
        plan, shape: of the tiles, of the result.
        computed, tiles: how many tiles were computed now, of how many.
        pixels, seconds: computed now.
        finished: whether the result is written.
        before, peak: bytes in memory before the first tile, and at the most while tiles were computed.
    """

    plan: Plan
    shape: tuple[int, ...]
    computed: int
    tiles: int
    pixels: int
    seconds: float
    finished: bool
    before: int
    peak: int


def check_job(job: Job, network: Network) -> None:
    """Raises InputError, before anything is computed, where a job cannot come to an end."""
    values, dtype = job.output.pixel(network.config)
    check_target(job.target, job.overwrite, dtype, values, max(job.samples, 1))
    if job.target.resolve() == job.source.resolve():
        raise InputError(f"{job.target} is the image itself; choose another name for the result")
    if job.strips and (job.augment or job.blend or job.tile is not None or job.halo is not None):
        raise InputError("--strips needs no tiles: leave out --tile, --halo, --blend and --augment")
    if job.strips and network.name not in ("torch", "jax"):
        raise InputError(f"--strips runs in torch or jax, not in {network.name}; add --runtime torch")
    if job.samples and (job.strips or job.blend or job.augment or job.part):
        raise InputError("--samples draws whole segmentations: leave out --strips, --blend, --augment and --shard")
    if job.samples:
        draw_noise(network.config.graph, job.samples, job.seed)  # raises where there is no latent variable
        if network.name == "mnn":
            raise InputError("mnn takes no noise, so it cannot draw --samples; add --runtime onnx")
    if job.part and (job.blend or job.augment == "rotations"):
        raise InputError("--blend and rotations need the image in one piece: leave out --shard")


def run_job(job: Job, network: Network) -> Done:
    """Computes what is missing of a file, and writes the result when all of it is there. Raises InputError."""
    config = network.config
    pictures = open_pictures(job.source, config.spatial_dims, config.in_channels)
    values, dtype = job.output.pixel(config)
    pages = len(pictures) * max(job.samples, 1)
    check_target(job.target, job.overwrite, dtype, values, pages)
    size, rows = pictures[0].shape[:-1], 0
    if job.strips:
        rows, plan = _strips(network, size, job.memory)
    else:
        plan = plan_for(network, size, job.memory, job.tile, job.halo)
    if not job.quiet:
        notes.print(f"{job.source}: {len(pictures)} x {'x'.join(map(str, size))}: {plan.describe()}", style="dim")
    folder = job.target.with_name(job.target.name + ".part")
    store = TileStore.open(folder, _record(job, network, pictures, plan), plan.tiles, pages, values, dtype)
    store.check_room()
    numbers = range(len(store)) if job.part is None else shard(len(store), *job.part)
    missing = sorted(set(numbers) - store.done())
    total, left = _pixels(store, numbers), _pixels(store, missing)
    restart_peak()
    before, start = resident(), time.perf_counter()
    with _Bar(job.target.name, total, total - left, job.quiet) as bar:
        if not missing:
            pass
        elif job.strips:
            stream = _open_strips(job.weights, network.name)
            segment_by_strips(stream, pictures, store, config, network.data, job.output, rows, missing, bar.written)
        elif job.samples:
            _sampled(job, network, pictures, store, missing, bar.written)
        elif job.blend or job.augment == "rotations":
            _in_memory(job, network, pictures, store, missing, bar.written)
        else:
            run = getattr(network.runtime, "overlapped", network.runtime.run)
            run = run if job.augment is None else augmented(network.runtime.run, job.augment)  # type: ignore[arg-type]
            segment(run, pictures, store, config, network.data, job.output, missing, plan.batch, bar.written)
    seconds, peak = time.perf_counter() - start, peak_resident()
    if finished := job.part is None:
        write_mosaic(job.target, store)
        store.remove()
    shape = (*((pages,) if pages > 1 else ()), *size, *values)
    return Done(plan, shape, len(missing), len(numbers), left, seconds, finished, before, peak)


def _sampled(
    job: Job, network: Network, pictures: Sequence[Picture], store: TileStore, missing: list[int], written: Written
) -> None:
    """Hypotheses of one image after the other; the network's noise differs from image to image."""
    config, each = network.config, len(store.plan)
    for index in sorted({n // each // job.samples for n in missing}):
        picture = pictures[index]
        image = picture[tuple(slice(0, n) for n in picture.shape[:-1])]
        noise = draw_noise(config.graph, job.samples, job.seed, index)
        run: Any = network.runtime.run  # a network with a latent variable takes its noise as well
        hypotheses = sample_image(run, image, config, network.data, noise, store.plan)
        for page, logits in enumerate(hypotheses, start=index * job.samples):
            for number in range(page * each, (page + 1) * each):
                own = logits[store.plan[number % each].target]
                store.put(number, job.output.of(own))
                written(number, own[..., 0].size)


def _in_memory(
    job: Job, network: Network, pictures: Sequence[Picture], store: TileStore, missing: list[int], written: Written
) -> None:
    """What needs the whole image at once: blending, rotations."""
    config, each = network.config, len(store.plan)

    def predict(image: np.ndarray) -> np.ndarray:
        plan = store.plan if image.shape[:-1] == store.plan.image else None
        if not job.blend:
            return predict_image(network.runtime.run, image, config, network.data, plan)
        plan = plan or default_plan(config, image.shape[:-1])
        prepared = prepare(image[None], config, network.data)[0]
        return predict_blended(network.runtime.run, prepared, plan, config.out_channels)

    for index in sorted({n // each for n in missing}):
        picture = pictures[index]
        image = picture[tuple(slice(0, n) for n in picture.shape[:-1])]
        logits = predict_rotated(predict, image) if job.augment == "rotations" else predict(image)
        for number in (n for n in missing if n // each == index):
            own = logits[store.plan[number % each].target]
            store.put(number, job.output.of(own))
            written(number, own[..., 0].size)


STRIP_ROWS, BAND_ROWS = (512, 256, 128, 64, 32, 16), 256
"""Heights of strips, of which the tallest that fits is taken; least height of the bands that are written."""


def _strips(network: Network, size: tuple[int, ...], memory: int | None) -> tuple[int, Plan]:
    """Rows of a strip, and the plan of the bands that come out. The tallest strips that fit: fewest calls."""
    config, geometry = network.config, network.config.geometry
    check_strips(config.graph)
    step = geometry.grid().step
    rows, needed = step, 0
    canvas = plan_tiles(geometry, size).canvas
    for rows in sorted({max(r // step, 1) * step for r in STRIP_ROWS}, reverse=True):
        height = min(canvas[0], geometry.grid().above(4 * rows + 1024))  # after that, all strips are alike
        needed = 2 * strip_memory(config.graph, (height, *canvas[1:]), rows)  # a step's operands are copies
        limit = max(min(DEFAULT_BUDGET, available() // 2), 2**28) if memory is None else memory - resident()
        if needed <= limit:
            break
    else:
        if memory is not None:
            raise InputError(f"strips of {rows} rows take {needed / 2**20:.0f} MiB for this width; give more --memory")
    macs = sum(config.graph.macs(canvas).values())
    return rows, Plan(plan_bands(geometry, size, max(rows, BAND_ROWS)), 1, macs, macs, needed, 0.0)


def _open_strips(weights: Path, name: str) -> Stream:
    checkpoint = Checkpoint.load(weights)
    if name == "jax":
        import unet_jax
        from unet_jax.strips import StripRuntime as JaxStrips

        return JaxStrips(unet_jax.from_checkpoint(checkpoint)).stream
    import unet_torch
    from unet_torch.strips import StripRuntime

    return StripRuntime(unet_torch.from_checkpoint(checkpoint)).stream


def _pixels(store: TileStore, numbers: Sequence[int]) -> int:
    total = 0
    for number in numbers:
        count = 1
        for s in store.plan[number % len(store.plan)].target:
            count *= s.stop - s.start
        total += count
    return total


def _record(job: Job, network: Network, pictures: list[Picture], plan: Plan) -> dict[str, Any]:
    """All that the pixels of the result depend on."""
    stat = job.source.stat()
    return {
        "image": [stat.st_size, stat.st_mtime_ns, len(pictures), *pictures[0].shape],
        "network": _digest(job.weights),
        "runtime": network.name,
        "output": asdict(job.output),
        "tile": list(plan.tiles.tile),
        "halo": job.halo,
        "strips": job.strips,
        "augment": job.augment,
        "blend": job.blend,
        "samples": [job.samples, job.seed],
    }


def _digest(folder: Path) -> str:
    """SHA-256 of a checkpoint's files, or of a bundle's manifest, which has the checksums of all others."""
    from unet_spec.checkpoint import CONFIG, WEIGHTS

    sha = hashlib.sha256()
    for name in ("manifest.json", CONFIG, WEIGHTS):
        if (folder / name).is_file():
            sha.update((folder / name).read_bytes())
    return sha.hexdigest()


class _Bar:
    """Megapixels done, megapixels a second, time left; shows nothing where nobody watches."""

    def __init__(self, name: str, total: int, before: int, quiet: bool):
        self._bar = Progress(
            TextColumn(name),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=notes,
            disable=quiet or not notes.is_terminal,
        )
        self._total, self._done, self._before, self._start = total, before, before, time.perf_counter()
        self._task = self._bar.add_task(name, total=total, completed=before, told="")

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def written(self, number: int, pixels: int) -> None:
        self._done += pixels
        rate = (self._done - self._before) / max(time.perf_counter() - self._start, 1e-9)
        told = f"{self._done / 1e6:.1f} of {self._total / 1e6:.1f} megapixels, {rate / 1e6:.2f} a second"
        self._bar.update(self._task, completed=self._done, told=told)
