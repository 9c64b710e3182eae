"""Data sets check themselves, and are cut into subsets."""

from dataclasses import replace

import numpy as np

from unet_data import Dataset, membrane_instances, membranes, split

from .folders import noise, refused


def test_a_dataset_checks_itself():
    image, label = noise(4, 5, 1), np.zeros((4, 5), np.int32)

    def build(images=(image,), labels=(label,), names=("a",), classes=("x", "y")):
        return Dataset(images, labels, names, classes, "here")

    assert len(build()) == 1
    assert "at least one" in refused(build, images=(), names=())
    assert "2 names" in refused(build, names=("a", "b"))
    assert "(4, 5)" in refused(build, images=(image[..., 0],))
    assert "int64" in refused(build, images=(image.astype(np.int64),))
    assert "0 labels" in refused(build, labels=())
    assert "4x5 but its label is 5x4" in refused(build, labels=(label.T,))
    assert "values 2..2" in refused(build, labels=(label + 2,))
    assert "int64" in refused(build, labels=(label.astype(np.int64),))
    assert "float" in refused(build, labels=(label.astype(np.float32),))


def many(count, spatial_dims=2):
    images = tuple(np.full((3,) * spatial_dims + (1,), i, np.uint8) for i in range(count))
    labels = tuple(np.zeros((3,) * spatial_dims, np.int32) for _ in range(count))
    return Dataset(images, labels, tuple(map(str, range(count))), ("x", "y"), "here")


def test_subset_keeps_order_and_pairs():
    data = many(5)
    part = data.subset([3, 1])
    assert part.names == ("3", "1")
    assert part.images[0] is data.images[3]
    assert part.labels[1] is data.labels[1]
    assert "index 5 is out of range" in refused(data.subset, [5])
    assert "index -1" in refused(data.subset, [-1])
    assert "no index" in refused(data.subset, [])


def test_the_objects_numbers_go_with_their_images():
    made = membranes(3, 40, 0)
    numbered = replace(made, instances=membrane_instances(3, 40, 0))
    chosen = numbered.subset([2, 0])
    assert [a is b for a, b in zip(chosen.instances, (numbered.instances[2], numbered.instances[0]), strict=True)] == [
        True
    ] * 2
    volume = membranes(1, 24, 0, spatial_dims=3)
    volume = replace(volume, instances=membrane_instances(1, 24, 0, spatial_dims=3))
    parts = split(volume)
    np.testing.assert_array_equal(np.concatenate([part.instances[0] for part in parts]), volume.instances[0])
    assert [len(part.instances[0]) for part in parts] == [len(part.images[0]) for part in parts]
