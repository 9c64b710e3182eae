"""Training on a mesh of devices equals training on one."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.scaling import Args, run_child
from unet_jax.training.devices.mesh import make_mesh, state_shardings
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
