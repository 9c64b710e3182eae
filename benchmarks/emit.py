"""The time to write a network as ONNX from its weights in memory, including the digest of the weights.

    python -m benchmarks.emit [--presets paper article] [--rounds 5] [--out emission.json]

No framework is used and nothing is traced. The weights are random, which does not change the time. The fastest round is
reported, in wall-clock and processor seconds, because other load on the machine only adds to both.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unet_export import emit_onnx, onnx_bytes
from unet_spec import preset, random_tensors
from unet_tools.console import console, print_table

from .record import record_of, start, write_record


@dataclass(frozen=True)
class Args:
    presets: tuple[str, ...] = ("paper", "article")
    """Presets to emit, at full width."""
    rounds: int = 5
    """Number of times that each preset is emitted."""
    out: Path | None = None
    """A JSON file for the results."""


def emission(name: str, rounds: int) -> dict[str, Any]:
    """Size of the file of one preset, and the time to make its bytes."""
    config = preset(name)
    tensors = random_tensors(config.graph, 0)
    times, nodes, size = [], 0, 0
    for _ in range(rounds):
        clock, processor = time.perf_counter(), time.process_time()
        model = emit_onnx(config, tensors)
        size = len(onnx_bytes(model))
        times.append((time.perf_counter() - clock, time.process_time() - processor))
        nodes = len(model.graph.node)
    seconds, processor_seconds = (min(column) for column in zip(*times, strict=True))
    values = sum(tensors[key].size for key in config.graph.params)
    sizes = {"preset": name, "values": values, "nodes": nodes, "bytes": size}
    return sizes | {"seconds": seconds, "processor_seconds": processor_seconds}


def main(args: Args) -> int:
    lines = [emission(name, args.rounds) for name in args.presets]
    document = record_of("emit", lines=lines)
    times = ("seconds", "processor_seconds")
    shown = [
        (x["preset"], f"{x['values']:,}", x["nodes"], f"{x['bytes']:,}", *(f"{x[k]:.2f}" for k in times)) for x in lines
    ]
    columns = ("preset", "values of tensors", "nodes", "bytes", "seconds", "processor seconds")
    print_table(None, columns, shown, right="1 2 3 4 5")
    console.print(document["hardware"])
    if args.out is not None:
        write_record(args.out, document)
    return 0


if __name__ == "__main__":
    start("emit", Args, main, __doc__)
