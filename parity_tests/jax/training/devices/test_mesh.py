"""Training on a mesh of devices equals training on one."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from benchmarks.scaling import Args, run_child
from unet_jax.training.devices import mesh as mesh_module
from unet_jax.training.devices.mesh import make_mesh, process_rows, split_image, state_shardings
from unet_jax.training.settings import TrainSettings
from unet_spec import InputError

# Sums over the batch have another order: 3.4e-7 was measured after two steps (python -m benchmarks.scaling).
BOUND = 2e-5


def compare(found):
    first = found[0]["losses"]
    assert len({round(loss, 6) for loss in first}) == len(first)  # the losses change
    for line in found[1:]:
        assert line["losses"] == pytest.approx(first, rel=BOUND), line["mesh"]
    return {line["mesh"]: line for line in found}


@pytest.mark.slow
def test_data_parallel_fsdp_and_shared_images_equal_one_device():
    found = compare(
        run_child(Args(meshes=("1 device", "2 data x 4 space, FSDP"), widths=(2, 4), tile=28, batch=2, steps=2))
    )
    assert found["2 data x 4 space, FSDP"]["largest_weight_share"] == 0.5
    assert found["2 data x 4 space, FSDP"]["collectives"].get("collective-permute")  # halo exchange


@pytest.mark.slow
def test_every_mesh_equals_one_device():
    found = compare(run_child(Args()))
    assert found["8 data, FSDP"]["largest_weight_share"] == 1 / 8
    whole = found["1 device"]["temporary_bytes"]
    for space in (2, 4, 8):  # the purpose of the split: each device stores only a part of the activations
        assert found[f"{space} space"]["temporary_bytes"] < whole / space * 1.6


@pytest.mark.slow
def test_without_a_norm_too():
    compare(run_child(Args(norm="none", meshes=("1 device", "4 data, FSDP", "8 space"))))


@pytest.mark.parametrize(
    ("settings", "count", "words"),
    [
        (TrainSettings().replace(batch=3), 2, "multiple of the 2 devices"),
        (TrainSettings().replace(batch=2, accumulate=2), 2, "in 2 part"),
        (TrainSettings().replace(space=3), 4, "must divide the 4 device"),
        (TrainSettings().replace(space=5), 5, "cannot be cut into 5 equal parts"),
    ],
)
def test_refusals(settings, count, words):
    with pytest.raises(InputError, match=words):
        make_mesh(settings, (44, 44), [object()] * count)  # type: ignore[list-item]


def test_weights_are_cut_along_their_longest_axis():
    mesh, made = SimpleNamespace(shape={"data": 2}), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unet_jax.training.devices.mesh.NamedSharding", lambda _, spec: made.append(tuple(spec)))
        state_shardings(mesh, [np.zeros((4, 8)), np.zeros((8, 4)), np.zeros((3, 3, 2, 6)), np.zeros((3, 5))], True)
    assert made == [(None, "data"), ("data",), (None, None, None, "data"), ()]


@pytest.mark.parametrize(
    ("count", "space", "tile", "shape"),
    [
        (1, 1, (44, 44), None),
        (2, 1, (44, 44), (2, 1, 1)),
        (8, 4, (44, 44), (2, 4, 1)),  # rows first
        (8, 4, (42, 44), (2, 2, 2)),
        (8, 4, (41, 44), (2, 1, 4)),
        (8, 8, (9, 12, 42), (1, 4, 2)),  # of a volume, planes are not cut
    ],
)
def test_the_mesh_divides_the_batch_then_rows_then_columns(count, space, tile, shape, monkeypatch):
    monkeypatch.setattr(mesh_module, "_mesh", lambda devices, shape: (len(devices), shape))
    settings = TrainSettings().replace(space=space, batch=4, accumulate=2)
    found = make_mesh(settings, tile, [object()] * count)
    assert found == (None if shape is None else (count, shape))


def test_devices_of_each_process_share_its_images(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(mesh_module, "_mesh", lambda devices, shape: shape)
    settings = TrainSettings().replace(batch=4, space=2)
    assert make_mesh(settings, (44, 44), [object()] * 4) == (2, 2, 1)
    with pytest.raises(InputError, match=r"space is 4; it must divide the 2 device\(s\) of each process"):
        make_mesh(settings.replace(space=4), (44, 44), [object()] * 4)


@pytest.mark.parametrize(("index", "rows"), [(0, slice(0, 2)), (2, slice(4, 6))])
def test_each_process_has_its_part_of_the_batch(index, rows, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(jax, "process_index", lambda: index)
    assert process_rows(SimpleNamespace(), 6) == rows
    assert process_rows(None, 6) == slice(None)


def test_the_axes_of_an_image_that_are_cut(monkeypatch):
    monkeypatch.setattr(mesh_module, "NamedSharding", lambda mesh, spec: tuple(spec))
    monkeypatch.setattr(jax.lax, "with_sharding_constraint", lambda x, layout: (x, layout))
    mesh = SimpleNamespace()
    assert split_image(mesh, "x", 2) == ("x", ("data", "rows", "columns"))
    assert split_image(mesh, "x", 3) == ("x", ("data", None, "rows", "columns"))
    assert split_image(None, "x", 2) == "x"
    assert split_image(mesh, None, 2) is None


def test_weights_are_whole_unless_they_are_shared(monkeypatch):
    monkeypatch.setattr(mesh_module, "NamedSharding", lambda mesh, spec: tuple(spec))
    for data, fsdp, expected in ((2, False, ()), (1, True, ()), (2, True, ("data",))):
        found = state_shardings(SimpleNamespace(shape={"data": data}), np.zeros((4, 2)), fsdp)
        assert found == expected


def test_one_device_has_a_mesh_of_one():
    mesh = mesh_module.one_device_mesh(jax.devices())
    assert mesh.shape == {"data": 1, "rows": 1, "columns": 1}
    assert mesh_module.platform_of(mesh) == jax.devices()[0].platform
    assert mesh_module.platform_of(None) == jax.default_backend()
    state = {"a": np.arange(3.0)}
    assert mesh_module.shard_state(None, state, True) is state
    shared = mesh_module.shard_state(mesh, state, True)
    np.testing.assert_array_equal(shared["a"], state["a"])
    (put,) = mesh_module.put_batch(mesh, (np.arange(4.0),))
    assert tuple(put.sharding.spec) == ("data",)
    for one in (None, mesh):
        found = mesh_module.gather(one, {"a": put})
        assert isinstance(found["a"], np.ndarray)
        np.testing.assert_array_equal(found["a"], np.arange(4.0))
