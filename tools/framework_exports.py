"""The network as each framework's own file: torch.export (.pt2) and jax.export (.stablehlo, serialised StableHLO).

For programs that already load those. Batch size is free; height and width are fixed where the format wants it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unet_spec import Checkpoint, InputError
from unet_spec.checkpoint import replacing
from unet_tools.runtimes import installed

SUFFIXES = {".pt2": "torch", ".stablehlo": "jax"}


def write_framework_file(checkpoint: Checkpoint, path: Path, size: tuple[int, ...]) -> float:
    """Writes the file, loads it again and runs it; returns how far that is from the float64 reference, relative to its
    largest logit. The input is float32, prepared: (N, C, *size) for .pt2, (N, *size, C) for .stablehlo.

    Raises InputError for another suffix, a size off the grid, and where the framework is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"cannot write {path}: use {' or '.join(SUFFIXES)}, or a folder for a bundle")
    framework = SUFFIXES[path.suffix]
    if not installed(framework):
        raise InputError(f"{path.suffix} needs {framework}; pip install 'unet-twins[{framework}]'")
    checkpoint.config.geometry.check(size)
    x = np.random.default_rng(0).normal(size=(2, *size, checkpoint.config.in_channels)).astype(np.float32)
    try:
        with replacing(path) as temporary:
            logits = (_torch if framework == "torch" else _jax)(checkpoint, temporary, x)
    except OSError as e:
        raise InputError(f"cannot write {path}: {e.strerror or e}") from None
    double = {name: t.astype(np.float64) for name, t in checkpoint.tensors.items()}
    reference = checkpoint.config.graph.forward(double, x.astype(np.float64))
    return float(np.abs(logits - reference).max() / np.abs(reference).max())


def _torch(checkpoint: Checkpoint, path: Path, x: np.ndarray) -> np.ndarray:
    import torch

    from unet_torch import from_checkpoint

    image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(from_checkpoint(checkpoint), (image,), dynamic_shapes=shapes)
    torch.export.save(program, path)
    with torch.inference_mode():
        return np.moveaxis(torch.export.load(path).module()(image).numpy(), 1, -1)


def _jax(checkpoint: Checkpoint, path: Path, x: np.ndarray) -> np.ndarray:
    import jax
    import jax.export
    from flax import nnx

    from unet_jax import from_checkpoint

    model = from_checkpoint(checkpoint)
    model.eval()
    graph, state = nnx.split(model)

    def forward(image: jax.Array) -> jax.Array:
        return nnx.merge(graph, state)(image)

    (batch,) = jax.export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, *x.shape[1:]), np.float32)
    path.write_bytes(jax.export.export(jax.jit(forward), platforms=("cpu", "cuda", "tpu"))(shape).serialize())
    loaded = jax.export.deserialize(bytearray(path.read_bytes()))
    return np.asarray(loaded.call(x))
