"""A store with all tiles of an image."""

import numpy as np

from unet_data.inference.store import TileStore, begin
from unet_spec import PRESETS
from unet_spec.tiling.tiles import plan_tiles

RNG = np.random.default_rng(0)


def filled(tmp_path, dtype, values=(), images=1, size=(1301, 1107)):
    config = PRESETS["paper"].replace(widths=(2, 4, 6))
    plan = plan_tiles(config.geometry, size, 300)
    whole = RNG.integers(0, 200, (images, *size, *values)).astype(dtype)
    begin(tmp_path / "part", {"a": 1}, {"tile": 300})
    store = TileStore(tmp_path / "part", plan, images, values, np.dtype(dtype))
    for number in range(len(store)):
        image, tile = divmod(number, len(plan))
        store.put(number, whole[image][plan[tile].target])
    return store, whole if images > 1 else whole[0]
