"""All measurements that need a GPU, in one unattended run: parity, training and inference speed, engines.

    python -m benchmarks.gpu --out benchmarks/results/gpu.json
    python -m benchmarks.gpu --quick            the same measurements at a small size, on any device

Parity: both twins on the device against the float64 NumPy reference, with TF32 off and on and in bfloat16. Speed:
arrays stay on the device. The candidates take turns, and each is timed over several batches that are enqueued together,
so that the launch of a kernel does not count. A measurement that cannot run here becomes a row with the reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from unet_spec import Checkpoint, DataSpec, InputError, NetworkConfig, preset, random_tensors
from unet_spec.summary import facts
from unet_tools.checking.bench.measure import in_turns
from unet_tools.console import console, print_table

from .profile import profile
from .record import record_of, start, write_record
from .train import Args as TrainArgs
from .train import compared, contestant, contestants, jax_steps, matmul_peak

Runs = Callable[[int], None]
"""Runs a number of batches and waits for them."""
MODES = ("float32", "tf32", "bfloat16")
REPEATS = 3
"""Number of batches that are enqueued and timed together."""
SectionName = Literal["parity", "training", "profile", "inference", "engines"]


@dataclass(frozen=True)
class Args:
    preset: str = "paper"
    """The network: a preset."""
    tile: int = 572
    """Input pixels per axis."""
    batches: tuple[int, ...] = (1, 8)
    """Batch size of the speed measurements."""
    sections: tuple[SectionName, ...] = get_args(SectionName)
    """Measurements to make, in this order."""
    rounds: int = 10
    """Number of timed runs per candidate."""
    quick: bool = False
    """A narrow network on a small tile, two rounds: a test that everything runs, not a measurement."""
    out: Path | None = None
    """A JSON file for the results."""


def torch_network(
    config: NetworkConfig, tensors: dict[str, np.ndarray], mode: str, compiled: bool = False
) -> Callable[[np.ndarray], Callable[[], Any]]:
    """The PyTorch twin on the device.

    Args:
        config, tensors: the network.
        mode: one of MODES.
        compiled: whether to use torch.compile.

    Returns:
        A function that takes images (N, *spatial, C) float32. It returns a function without arguments that computes
        their logits, a tensor (N, K, *spatial).
    """
    import torch

    from unet_torch.registry import create
    from unet_torch.weights import load_tensors

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if mode == "bfloat16" else torch.float32
    layout: Any = torch.channels_last if config.spatial_dims == 2 else torch.channels_last_3d
    model: Any = create(config, None)
    load_tensors(model, tensors)
    model = model.eval().to(device, dtype, memory_format=layout)
    network: Any = torch.compile(model, dynamic=False) if compiled else model

    def on(images: np.ndarray) -> Callable[[], Any]:
        x = torch.from_numpy(np.moveaxis(images, -1, 1)).to(device, dtype).contiguous(memory_format=layout)

        def forward() -> Any:
            # These global switches are read when a kernel is chosen. Candidates take turns, so each call sets them.
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = mode == "tf32"
            with torch.inference_mode():
                return network(x)

        return forward

    return on


def jax_network(
    config: NetworkConfig, tensors: dict[str, np.ndarray], mode: str
) -> Callable[[np.ndarray], Callable[[], Any]]:
    """The JAX twin, as `torch_network`; the logits are (N, *spatial, K)."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from unet_jax.registry import create
    from unet_jax.weights import load_tensors

    dtype = jnp.bfloat16 if mode == "bfloat16" else jnp.float32
    model = nnx.eval_shape(lambda: create(config, None))
    load_tensors(model, tensors)
    model.eval()
    graphdef, state = nnx.split(model)
    state = jax.tree.map(lambda a: a.astype(dtype), state)
    precision = "tensorfloat32" if mode == "tf32" else "highest"

    @jax.jit
    def forward(state: Any, x: jax.Array) -> jax.Array:
        with jax.default_matmul_precision(precision):
            return nnx.merge(graphdef, state)(x)

    def on(images: np.ndarray) -> Callable[[], jax.Array]:
        x = jnp.asarray(images, dtype)
        return lambda: forward(state, x)

    return on


def as_numpy(logits: Any) -> np.ndarray:
    """Logits of either twin as (N, *spatial, K) float64."""
    if hasattr(logits, "cpu"):
        return np.moveaxis(logits.float().cpu().numpy(), 1, -1).astype(np.float64)
    return np.asarray(logits, np.float64)


def wait(logits: Any) -> None:
    if hasattr(logits, "block_until_ready"):
        logits.block_until_ready()
    elif logits.is_cuda:
        import torch

        torch.cuda.synchronize()


def repeated(forward: Callable[[], Any]) -> Runs:
    """A function that enqueues a number of batches and waits for the last."""

    def run(count: int) -> None:
        for _ in range(count - 1):
            forward()
        wait(forward())

    return run


def parity(config: NetworkConfig, tensors: dict[str, np.ndarray], image: np.ndarray) -> Iterator[dict[str, Any]]:
    """Worst error relative to the largest logit, and the share of labels equal to the reference's.
    The image is small, because the reference computes in float64 on the CPU.
    """
    reference = config.graph.forward({k: t.astype(np.float64) for k, t in tensors.items()}, image.astype(np.float64))
    for name, network in (("torch", torch_network), ("jax", jax_network)):
        for mode in MODES:
            found = as_numpy(network(config, tensors, mode)(image)())
            worst = float(np.abs(found - reference).max() / np.abs(reference).max())
            same = float(np.mean(found.argmax(-1) == reference.argmax(-1)))
            yield {"runtime": name, "mode": mode, "worst_relative": worst, "label_agreement": same}


def inference(config: NetworkConfig, tensors: dict[str, np.ndarray], args: Args) -> Iterator[dict[str, Any]]:
    """Images per second, and the share of the measured peak of a matrix product in that precision."""
    import torch

    rng = np.random.default_rng(0)
    macs = facts(config, (args.tile,) * config.spatial_dims)["macs"]
    for batch in args.batches:
        images = rng.normal(size=(batch, *(args.tile,) * config.spatial_dims, config.in_channels)).astype(np.float32)
        runs: dict[str, Runs] = {}
        for mode in MODES:
            runs[f"torch {mode}"] = repeated(torch_network(config, tensors, mode)(images))
            if torch.cuda.is_available():
                runs[f"torch compiled {mode}"] = repeated(torch_network(config, tensors, mode, True)(images))
            runs[f"jax {mode}"] = repeated(jax_network(config, tensors, mode)(images))
        for name, seconds in in_turns(runs, args.rounds, REPEATS).items():
            share = macs * batch / seconds / matmul_peak(name.split()[-1])
            row = {"batch": batch, "runtime": name, "images_per_second": batch / seconds}
            yield row | {"seconds_per_batch": seconds, "share_of_matmul_peak": share}


def engines(
    config: NetworkConfig, tensors: dict[str, np.ndarray], image: np.ndarray, args: Args
) -> Iterator[dict[str, Any]]:
    """Builds an engine for this GPU in each precision, runs it and compares it with the reference; then ONNX Runtime.

    Images per second include the copies. TensorRT for RTX does not support every GPU (not Hopper); TensorRT does.

    Args:
        config, tensors: the network.
        image: (1, *spatial, C) float32.
        args: batches and rounds.
    """
    from unet_export import BundleSettings, Distance, EngineSettings, load, write_bundle
    from unet_export.precision.formats import Precision
    from unet_export.predictor import RuntimeName
    from unet_export.tensorrt.cuda_device import find_device
    from unet_export.tensorrt.settings import RTX_CAPABILITIES

    capability = find_device().compute_capability
    settings = EngineSettings("throughput", (capability,) if capability in RTX_CAPABILITIES else None)
    reference = config.graph.forward({k: t.astype(np.float64) for k, t in tensors.items()}, image.astype(np.float64))
    checkpoint = Checkpoint(config, tensors, DataSpec())
    precisions: tuple[Precision, ...] = ("fp32", "tf32", "fp16", "bf16")
    contestants: list[tuple[RuntimeName, Precision]] = [*(("tensorrt", p) for p in precisions), ("onnx", "fp32")]
    for name, precision in contestants:
        row: dict[str, Any] = {"runtime": name, "precision": precision}
        with tempfile.TemporaryDirectory() as folder:
            try:
                target, built = Path(folder) / "bundle", name == "tensorrt"
                write_bundle(checkpoint, target, BundleSettings((precision,), built, settings))
                with load(target, name, precision=precision) as predictor:
                    runtime: Any = predictor.runtime
                    row["runtime"] = runtime.record.backend if built else f"onnx, {runtime.provider}"
                    found = runtime.run(image)
                    row["worst_relative"] = Distance.between(found, reference).worst_relative
                    row["label_agreement"] = float(np.mean(found.argmax(-1) == reference.argmax(-1)))
                    for batch in args.batches:
                        x = np.repeat(image, batch, axis=0)
                        turn = {"it": lambda count, run=runtime.run, x=x: [run(x) for _ in range(count)]}
                        seconds = in_turns(turn, args.rounds)["it"]
                        yield row | {"batch": batch, "seconds_per_batch": seconds, "images_per_second": batch / seconds}
            except InputError as e:
                yield row | {"note": str(e)}


def training(config: NetworkConfig, args: Args) -> Iterator[dict[str, Any]]:
    """Training steps (forward, backward and update), measured as in `benchmarks.train`."""
    import torch

    for batch in args.batches:
        own = TrainArgs(tile=args.tile, batch=batch, rounds=args.rounds, compile=torch.cuda.is_available())
        runs = {name: contestant(name, config, own) for name in contestants(own, torch.cuda.is_available())}
        yield from ({"batch": batch} | line for line in compared(config, own, in_turns(runs, own.rounds, own.repeats)))


def profiled(config: NetworkConfig, args: Args) -> Iterator[dict[str, Any]]:
    """Time of the JAX training step in bfloat16 by kernel, at the largest batch."""
    run = jax_steps(config, args.tile, max(args.batches), "bfloat16")
    run(2)
    found = profile(run)
    wall = found["seconds_per_step"]
    yield {"kernels": "all, and the wait between them", "milliseconds": wall * 1e3, "share": 1.0}
    for name, seconds in found["kinds"].items():
        yield {"kernels": name, "milliseconds": seconds * 1e3, "share": seconds / wall}
    for kernel in found["kernels"]:
        name, seconds = f"{kernel['calls']:.0f} x {kernel['name'][:70]}", kernel["seconds_per_step"]
        yield {"kernels": name, "milliseconds": seconds * 1e3, "share": seconds / wall}


def main(args: Args) -> int:
    config: Any = preset(args.preset, dropout=0.0) if args.preset == "paper" else preset(args.preset)
    if args.quick:
        config = config.replace(widths=(4, 8))
        grid = config.geometry.grids[0]
        args = replace(args, tile=grid.minimum + 4 * grid.step, batches=(1,), rounds=2)
    tensors = random_tensors(config.graph, 0, np.float32)
    shape = (1, *(args.tile,) * config.spatial_dims, config.in_channels)
    image = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    sections: dict[SectionName, Callable[[], Iterator[dict[str, Any]]]] = {
        "parity": lambda: parity(config, tensors, image[_centre(config, image)]),
        "training": lambda: training(config, args),
        "profile": lambda: profiled(config, args),
        "inference": lambda: inference(config, tensors, args),
        "engines": lambda: engines(config, tensors, image, args),
    }
    document = record_of("gpu", tile=args.tile)
    for name in args.sections:
        document[name] = rows = []
        try:
            for row in sections[name]():
                rows.append(row)
        except Exception as e:  # the other sections can still be measured
            kind = "" if isinstance(e, InputError) else f"{type(e).__name__}: "
            rows.append({"note": kind + (str(e).splitlines() or [""])[0]})
        columns = list(dict.fromkeys(key for row in rows for key in row))
        print_table(name, tuple(columns), [tuple(_cell(row.get(c)) for c in columns) for row in rows])
        if args.out:  # after each section, so that an interrupted run leaves its results
            write_record(args.out, document)
    console.print(document["hardware"])
    return 0


def _centre(config: NetworkConfig, image: np.ndarray) -> tuple[slice, ...]:
    """Selects about 252 pixels per axis of an image (N, *spatial, C), or fewer if it is smaller."""
    sizes = [grid.below(min(252, n)) or n for grid, n in zip(config.geometry.grids, image.shape[1:], strict=False)]
    return (slice(None), *(slice(n) for n in sizes))


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    start("gpu", Args, main, __doc__)
