"""One file through a network, from reading to writing: in tiles, in strips, or whole where it must be."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unet_data.predict import Output, default_plan, predict_image, sample_image
from unet_data.prepare import looks_foreign, prepare
from unet_data.readers import Picture, open_pictures
from unet_data.stitch import predict_blended
from unet_data.stream import Written, segment, shard
from unet_data.stream_store import TileStore, begin, check_room
from unet_data.stream_strips import Stream, segment_by_strips
from unet_data.test_time import Symmetry, augmented, predict_rotated
from unet_data.writers import check_target, write_mosaic
from unet_spec import Checkpoint, InputError
from unet_spec.latent import draw_noise
from unet_spec.planner import Plan
from unet_tools.console import notes
from unet_tools.image_plan import plan_by_strips, plan_by_tiles
from unet_tools.memory import peak_resident, resident, restart_peak
from unet_tools.progress import PixelProgress
from unet_tools.runtimes import Network


@dataclass(frozen=True)
class Job:
    """One file to segment.

    Attributes:
        source, target: the image and the result.
        weights: the folder of the network: a checkpoint or a bundle.
        output: what is written.
        memory, tile, halo: of the plan, see `unet_tools.image_plan`; tile: pixels per axis.
        strips: compute strip by strip (in PyTorch or JAX); nothing is computed twice.
        augment: test-time augmentation, see `unet_data.test_time`.
        blend: average overlapping tiles, see `predict_blended`.
        part: (i, n) computes the i-th of n parts and leaves the result to a run without part.
        samples, seed: hypotheses to draw of each image, in networks with a latent variable; 0: that of the mean. They
            are the pages of the result.
        overwrite: replace a target that exists.
        quiet: tell nothing on the way.
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
    check_target(job.target, job.overwrite, dtype, values, max(job.samples, 1), network.config.spatial_dims)
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
        if network.name.startswith("mnn"):
            raise InputError("mnn takes no noise, so it cannot draw --samples; add --runtime onnx")
    if job.part and (job.blend or job.augment == "rotations"):
        raise InputError("--blend and rotations need the image in one piece: leave out --shard")


def run_job(job: Job, network: Network) -> Done:
    """Computes what is missing of a file, and writes the result when all of it is there. Raises InputError."""
    config = network.config
    pictures = open_pictures(job.source, config.spatial_dims, config.in_channels)
    values, dtype = job.output.pixel(config)
    pages = len(pictures) * max(job.samples, 1)
    check_target(job.target, job.overwrite, dtype, values, pages, config.spatial_dims)
    size, rows = pictures[0].shape[:-1], 0
    folder = job.target.with_name(job.target.name + ".part")
    check_room(folder, pages * math.prod((*size, *values)) * dtype.itemsize)
    if len(size) == 3 and size[0] == 1:
        notes.print(f"warning: {job.source}: one plane, where the network takes volumes", soft_wrap=True)
    if odd := looks_foreign(pictures[0], network.data):
        notes.print(f"warning: {job.source}: {odd}", soft_wrap=True)
    asked = _asked(job, network, pictures)
    if job.strips:
        rows, plan = plan_by_strips(network, size, job.memory)
        begin(folder, asked, {})
    else:
        plan = _tiles(job, network, size, folder, asked)
    if not job.quiet:
        told = f"{job.source}: {len(pictures)} x {'x'.join(map(str, size))}: {plan.describe()}"
        notes.print(told, style="dim", soft_wrap=True)
    store = TileStore(folder, plan.tiles, pages, values, dtype)
    numbers = range(len(store)) if job.part is None else shard(len(store), *job.part)
    missing = sorted(set(numbers) - store.done())
    total, left = _pixels(store, numbers), _pixels(store, missing)
    restart_peak()
    before, start = resident(), time.perf_counter()
    with _without_trace(job, store), PixelProgress(job.target.name, total, total - left, job.quiet) as bar:
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
            run = network.runtime.run
            run = run if job.augment is None else augmented(run, job.augment)  # type: ignore[arg-type]
            segment(run, pictures, store, config, network.data, job.output, missing, plan.batch, bar.written)
    seconds, peak = time.perf_counter() - start, peak_resident()
    if finished := job.part is None:
        write_mosaic(job.target, store)
        store.remove()
    shape = (*((pages,) if pages > 1 else ()), *size, *values)
    return Done(plan, shape, len(missing), len(numbers), left, seconds, finished, before, peak)


@contextmanager
def _without_trace(job: Job, store: TileStore) -> Iterator[None]:
    """Removes the tiles' folder where the run is refused before a tile is done: what is mended may be another run."""
    try:
        yield
    except InputError:
        if job.part is None and not store.done():
            store.remove()
        raise


def _tiles(job: Job, network: Network, size: tuple[int, ...], folder: Path, asked: dict[str, Any]) -> Plan:
    """The plan by tiles: that of the run which has begun in `folder`, whatever memory there was then."""
    tile = None if job.tile is None else (job.tile,) * len(size)
    plan = plan_by_tiles(network, size, job.memory, tile, job.halo)
    how = begin(folder, asked, {"tile": plan.tiles.tile, "memory": job.memory})
    if (begun := tuple(how["tile"])) == plan.tiles.tile:
        return plan
    less = job.memory is not None and job.memory < (how["memory"] or math.inf)
    try:
        return plan_by_tiles(network, size, job.memory if less else None, begun, job.halo)
    except InputError as e:
        raise InputError(f"{folder} was begun with larger tiles: {e}, or delete the folder to begin anew") from None


def _sampled(
    job: Job, network: Network, pictures: Sequence[Picture], store: TileStore, missing: list[int], written: Written
) -> None:
    """Hypotheses of one image after the other; the network's noise differs from image to image."""
    config, each = network.config, len(store.plan)
    for index in sorted({n // each // job.samples for n in missing}):
        noise = draw_noise(config.graph, job.samples, job.seed, index)
        run: Any = network.runtime.run  # a network with a latent variable takes its noise as well
        hypotheses = sample_image(run, _whole(pictures[index]), config, network.data, noise, store.plan)
        for page, logits in enumerate(hypotheses, start=index * job.samples):
            _put_page(job, store, page, logits, missing, written)


def _in_memory(
    job: Job, network: Network, pictures: Sequence[Picture], store: TileStore, missing: list[int], written: Written
) -> None:
    """What needs the whole image at once: blending, rotations."""
    config = network.config

    def predict(image: np.ndarray) -> np.ndarray:
        plan = store.plan if image.shape[:-1] == store.plan.image else None
        if not job.blend:
            return predict_image(network.runtime.run, image, config, network.data, plan)
        plan = plan or default_plan(config, image.shape[:-1])
        prepared = prepare(image[None], config, network.data)[0]
        return predict_blended(network.runtime.run, prepared, plan, config.out_channels)

    for page in sorted({n // len(store.plan) for n in missing}):
        image = _whole(pictures[page])
        logits = predict_rotated(predict, image) if job.augment == "rotations" else predict(image)
        _put_page(job, store, page, logits, missing, written)


def _whole(picture: Picture) -> np.ndarray:
    return picture[tuple(slice(0, n) for n in picture.shape[:-1])]


def _put_page(job: Job, store: TileStore, page: int, logits: np.ndarray, missing: list[int], written: Written) -> None:
    """Keeps the tiles of `missing` that lie on one page, whose logits are (*spatial, K)."""
    each = len(store.plan)
    for number in (n for n in missing if n // each == page):
        own = logits[store.plan[number % each].target]
        store.put(number, job.output.of(own))
        written(number, own[..., 0].size)


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
    targets = (store.plan[number % len(store.plan)].target for number in numbers)
    return sum(math.prod(s.stop - s.start for s in target) for target in targets)


def _asked(job: Job, network: Network, pictures: list[Picture]) -> dict[str, Any]:
    """All that the pixels of the result depend on."""
    stat = job.source.stat()
    return {
        "image": [stat.st_size, stat.st_mtime_ns, len(pictures), *pictures[0].shape],
        "network": _digest(job.weights),
        "runtime": network.name,
        "output": asdict(job.output),
        "tile": job.tile,
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
