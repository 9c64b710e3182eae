"""The border weights of the paper, against one distance transform for each cell."""

import math
from dataclasses import replace

import numpy as np
import pytest

from unet_data import Sampler, membrane_instances, membranes, open_dataset, write_stack
from unet_data.datasets.border_weights import border_weights, class_weights, two_nearest, weight_maps
from unet_spec import InputError


def test_by_hand():
    """Two cells, three pixels of background between them: d1 + d2 = 4 everywhere on the line."""
    cells = np.zeros((1, 9), int)
    cells[0, :3], cells[0, 6:] = 1, 2
    weight = border_weights(cells, 10, 5)
    wanted = 10 * math.exp(-(4**2) / (2 * 25))
    np.testing.assert_allclose(weight[0], [0, 0, 0, wanted, wanted, wanted, 0, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("shape", [(60, 70), (12, 20, 24)])
def test_against_one_distance_transform_per_cell(shape):
    from scipy import ndimage

    cells = membrane_instances(1, shape, 0, spatial_dims=len(shape))[0]
    cells[cells == 2] = 1000  # numbers need not be dense
    cells[cells == 3] = 0
    each = np.sort([ndimage.distance_transform_edt(cells != n) for n in np.unique(cells[cells > 0])], axis=0)
    for found, wanted in zip(two_nearest(cells, 9.0), each, strict=False):
        np.testing.assert_allclose(found, np.where(wanted <= 9, wanted, np.inf), rtol=1e-6)
    wanted = np.where(cells == 0, 7 * np.exp(-((each[0] + each[1]) ** 2) / (2 * 1.5**2)), 0)
    np.testing.assert_allclose(border_weights(cells, 7, 1.5), wanted, rtol=1e-5, atol=7 * math.exp(-18))


def test_without_two_cells_there_is_no_border():
    for cells in (np.zeros((8, 8), int), np.eye(1, dtype=int).repeat(8, 0)):
        assert not border_weights(cells).any()


def test_class_weights():
    labels = [np.array([[0, 0, 0, 1]]), np.array([[0, 0, 0, 1]])]
    np.testing.assert_allclose(class_weights(labels, 3), [4 / 6, 2, 0])
    assert np.mean(class_weights(labels, 3)[np.concatenate(labels)]) == pytest.approx(1)


DAMAGES = (
    *(lambda content, eighth=eighth: content[: len(content) * eighth // 8] for eighth in range(8)),
    lambda content: content[:-1],
    lambda content: content[:400] + bytes(200) + content[600:],
    lambda content: b"PK damaged",
)


def test_maps_come_from_the_cache_and_survive_a_damaged_one(tmp_path, monkeypatch):
    import unet_data.datasets.border_weights as module

    data, calls = membranes(2, 48, 0), []
    real = module.border_weights
    monkeypatch.setattr(module, "border_weights", lambda *a: calls.append(1) or real(*a))
    first = weight_maps(data, 10, 5, True, tmp_path)
    again = weight_maps(data, 10, 5, True, tmp_path)
    assert len(calls) == 2
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == np.float32
    weight_maps(data, 10, 4, True, tmp_path)  # another sigma, another map
    assert len(calls) == 4
    files = list(tmp_path.iterdir())
    whole = [file.read_bytes() for file in files]
    for damage in DAMAGES:
        for file, content in zip(files, whole, strict=True):
            file.write_bytes(damage(content))
        calls.clear()
        np.testing.assert_array_equal(weight_maps(data, 10, 5, True, tmp_path)[0], first[0])
        assert len(calls) == 2
    for file, content in zip(files, whole, strict=True):
        file.write_bytes(content)
    calls.clear()
    weight_maps(data, 10, 5, True, tmp_path)
    assert not calls, "what was written anew is not believed"
    blocked = tmp_path / "file"
    blocked.write_text("")
    np.testing.assert_array_equal(weight_maps(data, 10, 5, True, blocked / "x")[0], first[0])  # cannot be written


def poisoned(maps):
    """Files that are no damaged ones: the same members with other content."""
    outside, negative, low, inside = ([m.copy() for m in maps] for _ in range(4))
    outside[0][0, 0], negative[0][0, 0], low[1][-1, -1] = 1e9, -1, 0.5
    inside[0] += 1
    yield from (outside, negative, low, inside, [m * np.nan for m in maps], [m[:8] for m in maps])
    yield [m.astype(np.float64) for m in maps]


def test_a_cache_that_somebody_changed_is_replaced_with_one_line(tmp_path, caplog):
    data = membranes(2, 48, 0)
    first = weight_maps(data, 10, 5, False, tmp_path)
    [file] = tmp_path.iterdir()
    with np.load(file) as stored:
        members = {name: stored[name] for name in stored.files}
    whole, maps = file.read_bytes(), [members["0"], members["1"]]
    for changed in poisoned(maps):
        np.savez(file, **members | {str(i): m for i, m in enumerate(changed)})
        caplog.clear()
        np.testing.assert_array_equal(weight_maps(data, 10, 5, False, tmp_path)[0], first[0])
        [record] = caplog.records
        assert "the border weights in the cache are unusable and computed again" in record.getMessage()
        assert file.read_bytes() == whole
    np.savez_compressed(file, **members | {"0": np.zeros((4096, 4096))})
    caplog.clear()
    weight_maps(data, 10, 5, False, tmp_path)
    assert "bytes, at most" in caplog.text


@pytest.mark.parametrize("gap", [0, 2])
def test_neighbouring_instances_have_a_border_that_class_labels_cannot_show(gap, tmp_path):
    """Cells that touch are a line of background apart (`unet_data.datasets.label_rule.separated`)."""
    numbers = np.zeros((20, 20), np.uint16)
    numbers[4:16, 2:9], numbers[4:16, 9 + gap : 18] = 300, 7
    for folder, array in (("images", np.zeros((20, 20), np.uint8)), ("labels", numbers)):
        (tmp_path / folder).mkdir()
        write_stack(tmp_path / folder / "a.png", array[None])
    data = open_dataset(tmp_path)
    assert sorted(np.unique(data.instances[0])) == [0, 7, 300]
    line, distances = (9, 1 + 2) if gap else (8, 1 + 1)
    assert data.labels[0][10, line] == 0
    numbers_weight = weight_maps(data, 10, 5, False, tmp_path / "cache")[0]
    assert numbers_weight[10, line] == pytest.approx(1 + 10 * math.exp(-(distances**2) / 50), rel=1e-5)
    joined = replace(data, instances=(np.where(numbers > 0, 1, 0).astype(np.int32),))
    assert weight_maps(joined, 10, 5, False, tmp_path / "cache")[0].max() == 1


def test_refusals():
    with pytest.raises(InputError, match="sigma"):
        border_weights(np.zeros((3, 3), int), 1, 0)
    data = membranes(1, 16, 0)
    with pytest.raises(InputError, match="no labels"):
        weight_maps(replace(data, labels=None, class_names=()), 1, 1, False)
    with pytest.raises(InputError, match="shape of its label"):
        Sampler(data, (8, 8), (8, 8), 1, 0, weights=[np.zeros((3, 3), np.float32)])


def test_border_weights_in_one_cache_are_of_their_own_w0(tmp_path):
    data = membranes(2, 48, 0)
    ten, five = (weight_maps(data, w0, 5, False, tmp_path) for w0 in (10, 5))
    for one, other in zip(ten, five, strict=True):
        np.testing.assert_allclose(one - 1, 2 * (other - 1), rtol=1e-6)
        assert (one > 1).any()
