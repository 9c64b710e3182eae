"""How an image is computed within the memory of the process: tiles, strips, and a run that is continued."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from unet_data import OpenNetwork, PredictSettings
from unet_data.inference import plan as module
from unet_data.inference.plan import BAND_ROWS, STRIP_ROWS, ImagePlan, check_whole_image, plan_file, plan_tiled
from unet_spec import DataSpec, InputError, preset
from unet_spec.tiling.planner import Limits, plan_image

GIB = 2**30
EXACT, WHOLE = preset("same", widths=(2, 4)), preset("same-bilinear", widths=(2, 4))


DEEP = preset("same", widths=(2, 2, 4, 4))


def network(config=EXACT, profile=None, name="onnx"):
    record = None if profile is None else SimpleNamespace(profile=SimpleNamespace(min=profile[0], max=profile[1]))
    return OpenNetwork(SimpleNamespace(name=name, config=config, run=lambda x: x, record=record), DataSpec())


@pytest.fixture
def memory(monkeypatch):
    """A machine with 10 GiB available, of which the process uses 1 GiB."""
    found = SimpleNamespace(available=10 * GIB, resident=GIB)
    monkeypatch.setattr(module, "available", lambda: found.available)
    monkeypatch.setattr(module, "resident", lambda: found.resident)
    return found


@pytest.fixture
def limits(monkeypatch):
    """The arguments of each plan."""
    asked = []

    def planned(geometry, image, runtime, limits):
        asked.append((runtime, limits))
        return plan_image(geometry, image, runtime, limits)

    monkeypatch.setattr(module, "_planned", planned)
    return asked


@pytest.mark.parametrize(("available", "budget"), [(10, 2), (4, 2), (3, 1.5), (0.25, 0.25), (0, 0.25)])
def test_the_default_budget_is_2_gib_or_half_of_what_is_available(memory, limits, available, budget):
    memory.available = int(available * GIB)
    plan_tiled(network(name="jax"), (64, 48))
    assert limits == [("jax", Limits(int(budget * GIB)))]


def test_what_the_process_uses_is_taken_from_a_budget_that_is_asked_for(memory, limits):
    plan_tiled(network(), (64, 48), Limits(4 * GIB, halo=3))
    assert limits == [("onnx", Limits(4 * GIB, held=GIB, halo=3))]


def test_a_tile_that_is_asked_for_has_no_default_budget(memory, limits):
    plan_tiled(network(), (64, 48), Limits(tile=(32, 18)))
    assert limits == [("onnx", Limits(tile=(32, 18)))]


def test_tiles_stay_within_the_profile_of_an_engine(memory, limits):
    plan_tiled(network(profile=((1, 16, 20), (4, 32, 40))), (64, 48))
    assert limits[0][1] == Limits(2 * GIB, minimum=(16, 20), maximum=(32, 40), batch=4)


def test_a_whole_image_that_does_not_fit_is_refused_with_advice(memory):
    size = (512, 384)
    needed = plan_tiled(network(WHOLE), size).memory
    memory.available = needed
    assert plan_tiled(network(WHOLE), size).memory == needed
    memory.available = needed - 1
    with pytest.raises(InputError, match=r"whole image at once, which takes [\d.]+ MiB, but .* available; --tile") as e:
        plan_tiled(network(WHOLE), size)
    assert "--memory 2GiB tries the whole image" in str(e.value)  # that of the process and a little, rounded up
    plan_tiled(network(WHOLE), size, Limits(tile=(128, 128), halo=0))
    plan_tiled(network(WHOLE), size, Limits(8 * GIB))
    plan_tiled(network(WHOLE, ((1, 16, 16), (1, 512, 512))), size)


def test_an_image_that_is_measured_whole_must_fit(memory):
    size = (512, 384)
    memory.available = plan_tiled(network(WHOLE), size).memory
    check_whole_image(network(WHOLE), size)
    memory.available -= 1
    with pytest.raises(InputError, match=r"whole image at once, [\d.]+ MiB for 512x384 pixels, but .* available; give"):
        check_whole_image(network(WHOLE), size)
    check_whole_image(network(EXACT), size)  # by tiles
    check_whole_image(network(WHOLE, ((1, 16, 16), (1, 512, 512))), size)  # of an engine's sizes


def test_a_continued_run_keeps_its_tiles(memory, tmp_path):
    first = plan_file(network(), (200, 120), PredictSettings(tile=64), tmp_path / "p", {"a": 1})
    assert first.work.tiles.tile == (64, 64)
    again = plan_file(network(), (200, 120), PredictSettings(), tmp_path / "p", {"a": 1})
    assert (again, again.rows) == (first, 0)


def test_a_continued_run_whose_tiles_no_longer_fit_is_refused(memory, tmp_path):
    size = (600, 400)
    large = PredictSettings(memory=GIB + 32 * 2**20)
    first = plan_file(network(DEEP), size, large, tmp_path / "p", {})
    same = plan_file(
        network(DEEP), size, PredictSettings(memory=3 * GIB), tmp_path / "p", {}
    )  # more memory: same tiles
    assert same.work.tiles == first.work.tiles
    with pytest.raises(InputError, match=r"started with larger tiles: a tile of .*, or delete the folder to start"):
        plan_file(network(DEEP), size, PredictSettings(memory=GIB + 3 * 2**20), tmp_path / "p", {})


def test_bands_of_a_result_do_not_depend_on_the_memory():
    assert BAND_ROWS == 256
    assert STRIP_ROWS == (512, 256, 128, 64, 32, 16)


def strips(size, memory=None, config=EXACT, folder=None) -> ImagePlan:
    return plan_file(network(config), size, PredictSettings(strips=True, memory=memory), folder, {"a": 1})


@pytest.fixture
def strip_sizes(monkeypatch):
    """A strip of the image takes 1 MiB for each row; the sizes of the canvas for which it is asked."""
    asked = {}

    def measured(graph, size, rows):
        asked[rows] = size
        return rows * 2**20

    monkeypatch.setattr(module, "strip_memory", measured)
    return asked


def test_strips_are_as_tall_as_the_memory_allows(memory, tmp_path, strip_sizes):
    size, memory.resident = (6000, 63), 3 * 2**20
    plan = strips(size, folder=tmp_path / "p")
    assert (plan.rows, plan.work.memory) == (512, 2 * 512 * 2**20)
    assert (plan.work.batch, plan.work.at_risk) == (1, 0.0)
    assert plan.work.work == plan.work.whole == sum(EXACT.graph.macs((6000, 64)).values())
    assert [t.target[0] for t in plan.work.tiles][-2:] == [slice(5632, 5888), slice(5888, 6000)]
    for rows in (512, 128, 16):
        held = memory.resident + 2 * rows * 2**20
        assert strips(size, held, folder=tmp_path / "p").rows == rows
        if rows > 16:
            assert strips(size, held - 1, folder=tmp_path / "p").rows == rows // 2
    assert strip_sizes == {rows: (4 * rows + 1024, 64) for rows in STRIP_ROWS}  # not the whole height: it is the same
    with pytest.raises(InputError, match=r"the minimum is 35 MiB, of which the process already uses 3 MiB"):
        strips(size, memory.resident + 2 * 16 * 2**20 - 1, folder=tmp_path / "p")


def test_strips_without_a_limit_are_the_lowest_ones_where_none_fit(memory, tmp_path, monkeypatch, strip_sizes):
    monkeypatch.setattr(module, "_default_budget", lambda: 1)
    plan = strips((300, 32), folder=tmp_path / "p")
    assert (plan.rows, plan.work.memory) == (16, 2 * 16 * 2**20)
    assert set(strip_sizes.values()) == {(300, 32)}


def test_strips_are_multiples_of_the_networks_stride(memory, tmp_path, monkeypatch, strip_sizes):
    monkeypatch.setattr(module, "STRIP_ROWS", (23, 11, 3, 1))
    assert strips((64, 32), config=DEEP, folder=tmp_path / "p").rows == 16
    monkeypatch.setattr(module, "_default_budget", lambda: 1)
    assert strips((64, 32), config=DEEP, folder=tmp_path / "p").rows == 8
