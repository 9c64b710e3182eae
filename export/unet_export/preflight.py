"""Tests a bundle on this machine: whether it runs, its speed, memory and distance from the reference."""

from __future__ import annotations

import math
import os
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unet_data.memory import peak_resident, resident, restart_peak

from .bundle.golden import Golden
from .bundle.manifest import Bundle, open_bundle
from .precision.formats import AGREEMENT
from .predictor import RuntimeName, load
from .reference import FLOAT32_BOUND, compare

_RUNS = 3
_SECONDS = 10.0


@dataclass(frozen=True)
class Preflight:
    """Result of `preflight`.

    Attributes:
        runtime, provider, precision: Runtime of the network, such as "onnx", "CPUExecutionProvider", "fp32".
        passed_over: Runtimes that were tried first, each with the reason why it does not run here.
        tile: Input size in the measurement, pixels per axis.
        load_seconds: Time to verify the checksums and open the model.
        first_seconds: Duration in seconds of the first run on a tile.
        tile_seconds: Median duration of the later runs.
        megapixels_per_second: Output pixels per second, computing one tile after the other.
        memory: Peak memory in bytes, in addition to that of the process before the bundle was opened.
        worst_relative: Largest error on the golden image, relative to the largest logit of the float64 reference.
        bound: Largest `worst_relative` allowed; None for a narrow precision.
        label_agreement: Share of the golden image's pixels with the reference's label, in 0..1.
        least_agreement: Smallest `label_agreement` allowed.

    Example:
        >>> from unet_export import Preflight
        >>> speed = dict(load_seconds=0.2, first_seconds=0.3, tile_seconds=0.1, megapixels_per_second=3.2, memory=10**8)
        >>> agreement = dict(worst_relative=2e-5, bound=1e-5, label_agreement=1.0, least_agreement=0.9999)
        >>> Preflight("onnx", "CPUExecutionProvider", "fp32", {}, (572, 572), **speed, **agreement).ok
        False
    """

    runtime: str
    provider: str
    precision: str
    passed_over: dict[str, str]
    tile: tuple[int, ...]
    load_seconds: float
    first_seconds: float
    tile_seconds: float
    megapixels_per_second: float
    memory: int
    worst_relative: float
    bound: float | None
    label_agreement: float
    least_agreement: float

    @property
    def ok(self) -> bool:
        """Whether both bounds hold."""
        close = self.bound is None or self.worst_relative <= self.bound
        return close and self.label_agreement >= self.least_agreement

    def to_dict(self) -> dict[str, Any]:
        """The output of `unet check --preflight --json`."""
        return {"ok": self.ok, **asdict(self)}


def preflight(
    bundle: str | os.PathLike[str] | Bundle,
    runtime: RuntimeName = "auto",
    threads: int | None = None,
    precision: str | None = None,
    provider: str | None = None,
) -> Preflight:
    """Opens a bundle like `load`, and measures it on one tile and on its golden image.

    Args:
        bundle, runtime, threads, precision, provider: As in `load`.

    Raises:
        InputError: As `load`.

    Example:
        >>> from unet_export import BundleSettings, preflight, write_bundle
        >>> from unet_spec import Checkpoint, preset, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> checkpoint = Checkpoint(config, random_tensors(config.graph, 0))
        >>> bundle = write_bundle(checkpoint, "preflight", BundleSettings(engines=False))
        >>> found = preflight(bundle, "onnx", threads=1)
        >>> found.ok, found.tile
        (True, (572, 572))
    """
    restart_peak()
    before, start = resident(), time.perf_counter()
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    with load(opened, runtime, threads, precision, provider) as predictor:
        loaded = time.perf_counter() - start
        config = opened.config
        seconds = [predictor.warm_up()]
        while len(seconds) <= _RUNS and sum(seconds) < _SECONDS:
            seconds.append(predictor.warm_up())
        memory = max(0, peak_resident() - before)
        golden = Golden.load(opened)
        compared = compare(
            [predictor.runtime.run(golden.input.astype(np.float32))], [golden.logits], config.out_channels
        )
        again = statistics.median(seconds[1:] or seconds)
        record = getattr(predictor.runtime, "record", None)  # TensorRT only
        used = getattr(predictor.runtime, "precision", "fp32") if record is None else record.precision
        pixels = math.prod(config.geometry.output_shape(predictor.tile))
        return Preflight(
            runtime=predictor.runtime.name,
            provider=getattr(predictor.runtime, "provider", ""),
            precision=used,
            passed_over=predictor.passed_over,
            tile=predictor.tile,
            load_seconds=loaded,
            first_seconds=seconds[0],
            tile_seconds=again,
            megapixels_per_second=pixels / 1e6 / again,
            memory=memory,
            worst_relative=compared.distance.worst_relative,
            bound=FLOAT32_BOUND if used == "fp32" else None,
            label_agreement=compared.label_agreement,
            least_agreement=AGREEMENT[used],
        )
