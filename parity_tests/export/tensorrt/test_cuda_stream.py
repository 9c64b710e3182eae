"""Batches and tiles on a simulated GPU; a failure frees the engine."""

import threading

import numpy as np
import pytest

from unet_data.inference.stitch import compute_tiles, predict_tiled
from unet_spec import InputError
from unet_spec.tiling.tiles import plan_tiles

from .simulated_gpu import CONFIG, TENSORS, Simulator, images, loaded, right


def test_batches_are_right_whatever_came_before_and_a_closed_engine_says_so(gpu, monkeypatch, tmp_path):
    runtime = loaded(gpu, monkeypatch, tmp_path)
    given = [
        images(seed, 1 + seed % 3, 20 + 2 * (seed % 3), 24) for seed in range(10)
    ]  # memory is replaced when they grow
    for x, found in zip(given, [runtime.run(x) for x in given], strict=True):  # later batches write to none of them
        np.testing.assert_array_equal(found, CONFIG.graph.forward(TENSORS, x))
    assert gpu.executions == 10
    runtime.close()
    assert not gpu.memory
    assert not gpu.streams
    runtime.close()
    with pytest.raises(InputError, match=r"e\.plan was closed"):
        runtime.run(images(0, 1, 20, 20))


@pytest.mark.parametrize("batch", [1, 3])
def test_tiles_of_an_image_are_right(gpu, monkeypatch, tmp_path, batch):
    runtime = loaded(gpu, monkeypatch, tmp_path)
    image = images(3, 57, 41)
    plan = plan_tiles(CONFIG.geometry, image.shape[:-1], 28)
    found = predict_tiled(runtime.run, image, plan, CONFIG.out_channels, batch)
    expected = predict_tiled(lambda x: CONFIG.graph.forward(TENSORS, x), image, plan, CONFIG.out_channels, batch)
    np.testing.assert_array_equal(found, expected)
    runtime.close()


def test_tensorrt_for_rtx_keeps_its_kernels(monkeypatch, tmp_path):
    first = Simulator(rtx=True)
    runtime = loaded(first, monkeypatch, tmp_path)
    right(runtime, images(0, 1, 20, 20))
    assert first.given is None
    runtime.close()
    second = Simulator(rtx=True)
    loaded(second, monkeypatch, tmp_path).close()
    assert second.given == b"compiled kernels"
    second.valid = Simulator.EngineValidity.INVALID
    with pytest.raises(InputError, match=r"e\.plan is not valid on Some GPU \(diagnostics 7\)"):
        loaded(second, monkeypatch, tmp_path)


def test_what_fails_or_is_given_up_leaves_the_engine_free_for_other_threads(gpu, monkeypatch, tmp_path):
    runtime = loaded(gpu, monkeypatch, tmp_path)
    gpu.fails = True
    with pytest.raises(InputError, match=r"e\.plan failed on a batch"):
        runtime.run(images(0, 1, 20, 20))
    with pytest.raises(InputError, match=r"e\.plan failed on a batch"):
        predict_tiled(runtime.run, images(3, 57, 41), plan_tiles(CONFIG.geometry, (57, 41), 28), 1)
    gpu.fails = False
    tiles = compute_tiles(runtime.run, images(3, 57, 41), plan_tiles(CONFIG.geometry, (57, 41), 28), 1, range(4))
    next(tiles)
    tiles.close()  # also if the caller stops early
    wrong = []

    def work(seed):
        for k in range(5):
            x = images(10 * seed + k, 1 + k % 2, 20, 24)
            if not np.array_equal(runtime.run(x), CONFIG.graph.forward(TENSORS, x)):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wrong
    runtime.close()
