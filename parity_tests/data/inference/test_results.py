"""Reading, computing and writing overlap."""

import threading
from types import SimpleNamespace

import numpy as np

from unet_data import OpenNetwork, PredictSettings
from unet_data.inference.output import Output
from unet_data.inference.results import by_tiles, write_results
from unet_data.inference.store import TileStore
from unet_spec import DataSpec, random_tensors
from unet_spec.families.unet import PRESETS
from unet_spec.tiling.planner import Plan
from unet_spec.tiling.tiles import plan_tiles

EXACT = {n: c for n, c in PRESETS.items() if c.geometry.shift_invariant}


def test_reading_computing_and_writing_overlap(tmp_path):
    """Each waits for the others' next piece of work: one after the other, this would wait forever."""
    config, run = runs()
    plan = plan_tiles(config.geometry, (150, 60), 60)
    read, computed = threading.Semaphore(0), threading.Semaphore(0)
    image = np.random.default_rng(0).integers(0, 255, (150, 60, 1)).astype(np.uint8)

    class Picture:
        shape, ndim = image.shape, 3

        def __getitem__(self, window):
            read.release()
            return image[window]

    count = len(plan)
    calls = []

    def overlapping(x):
        calls.append(x)
        if len(calls) < count:
            assert all(read.acquire(timeout=20) for _ in range(2 if len(calls) == 1 else 1)), "the next is not read"
        computed.release()
        return run(x)

    class Store(TileStore):
        def put(self, number, pixels):
            wanted = 2 if number == 0 else 1 if number + 1 < count else 0
            assert all(computed.acquire(timeout=20) for _ in range(wanted)), "the next is not computed"
            super().put(number, pixels)

    store = Store(tmp_path, plan, 1, (), np.dtype(np.uint8))
    network = OpenNetwork(SimpleNamespace(name="numpy", config=config, run=overlapping), DataSpec())
    results = by_tiles(network, [Picture()], Plan(plan, 1, 0, 0, 0, 0.0), range(count), PredictSettings())
    write_results(results, store, Output())
    assert len(calls) == count > 3
    assert store.done() == set(range(count))


# --- test-time augmentation and blending ------------------------------------------------------------------------------


def runs(name="paper"):
    config = EXACT[name].replace(widths=(2, 4), dropout=0.0)
    tensors = random_tensors(config.graph, 3, np.float64)
    return config, lambda x: config.graph.forward(tensors, x)
