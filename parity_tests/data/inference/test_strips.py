"""Bands of a result from a runtime that computes strips: where they begin, what they read, and their order."""

from types import SimpleNamespace

import numpy as np
import pytest

from unet_data import OpenNetwork
from unet_data.inference.strips import compute_bands, stream_of
from unet_spec import DataSpec, InputError, preset
from unet_spec.tiling.strips import first_row, plan_bands
from unet_spec.tiling.tiles import plan_tiles

CONFIG = preset("paper", widths=(2, 4))
IMAGE = np.random.default_rng(0).integers(1, 200, (75, 21, 1)).astype(np.uint8)
PLAN = plan_bands(CONFIG.geometry, IMAGE.shape[:2], 10)
MARGIN, DATA = CONFIG.geometry.margin(), DataSpec()


class Streaming:
    """A runtime whose logits of a pixel are its own value, of a network with the margin of CONFIG."""

    name, config = "streaming", CONFIG

    def __init__(self, bad: float = 0.0):
        self.calls, self.bad = [], bad

    def stream(self, read, height, rows):
        self.calls.append((height, rows))
        canvas = np.zeros((0, 1, 1))
        for low in range(0, height, rows):
            new = read(low, min(low + rows, height))
            canvas = np.concatenate([canvas, new]) if low else new
            out = canvas[MARGIN : len(canvas) - MARGIN, MARGIN:-MARGIN]
            done = max(0, low - 2 * MARGIN)
            if len(out) > done:
                yield done, np.concatenate([out[done:], -out[done:]], -1) + self.bad


def bands_of(numbers, rows=8, runtime=None, data=DATA):
    runtime = runtime or Streaming()
    return runtime, list(compute_bands(OpenNetwork(runtime, data), IMAGE, PLAN, numbers, rows))


def check(found):
    for number, logits in found:
        own = IMAGE[10 * number : 10 * number + 10] / np.float32(255)
        np.testing.assert_allclose(logits, np.concatenate([own, -own], -1), rtol=1e-6)


@pytest.mark.parametrize("rows", [2, 8, 14, 200])
def test_all_bands_are_the_image_whatever_the_height_of_strips(rows):
    runtime, found = bands_of(list(range(8)), rows)
    assert [number for number, _ in found] == list(range(8))
    assert [len(logits) for _, logits in found] == [10] * 7 + [5]
    check(found)
    assert runtime.calls == [(plan_tiles(CONFIG.geometry, (75, 21)).canvas[0], rows)]


def test_each_stretch_of_missing_bands_begins_at_the_first_row_it_depends_on():
    runtime, found = bands_of([2, 3, 6])
    assert [number for number, _ in found] == [2, 3, 6]
    check(found)
    canvas = PLAN.canvas[0]
    tops = [first_row(CONFIG.geometry, 10 * band) for band in (2, 6)]
    assert runtime.calls == [(canvas - top, 8) for top in tops]
    assert tops[1] > tops[0] > 0


def test_rows_are_prepared_as_the_network_expects():
    _, [(_, logits)] = bands_of([1], data=DataSpec((0.5,), (0.25,)))
    np.testing.assert_allclose(logits[..., :1], (IMAGE[10:20] / 255 - 0.5) / 0.25, rtol=1e-4, atol=1e-5)


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="NaN or infinite logits"):
        bands_of([0], runtime=Streaming(np.nan))


def test_a_runtime_without_strips_is_refused():
    with pytest.raises(InputError, match="--strips runs in torch or jax, not in onnx; add --runtime torch"):
        stream_of(OpenNetwork(SimpleNamespace(name="onnx"), DataSpec()))


def test_the_next_rows_are_read_once_each_and_never_beyond_the_end(monkeypatch):
    from unet_data.inference import strips

    asked, read = [], strips.mirror_window

    def noted(picture, start, shape):
        asked.append((start[0] + MARGIN, shape[0]))
        return read(picture, start, shape)

    monkeypatch.setattr(strips, "mirror_window", noted)
    bands_of(list(range(8)), 14)
    height = PLAN.canvas[0]
    assert asked == [(low, min(14, height - low)) for low in range(0, height, 14)]
