"""Label files by the names of their images and classes."""

import pytest

from unet_data.folders.layout import find_layout

from ..io.helpers import refused


def files(path, *names):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).touch()
    return path


@pytest.mark.parametrize("form", ["{own}/{name}.png", "{name}/{own}.png", "{name}_{own}.png", "{name}-{own}.tif"])
def test_the_class_is_a_part_of_the_name(form, tmp_path):
    own = [form.format(name=name, own=own) for name in ("a", "a_1") for own in ("x", "y")]
    layout = find_layout(files(tmp_path, "images/a.png", "images/a_1.png", *(f"labels/{n}" for n in own)), masks=True)
    assert layout.classes == ("x", "y")
    assert [(pair.name, sorted(pair.classes)) for pair in layout.pairs] == [("a", ["x", "y"]), ("a_1", ["x", "y"])]
    for pair in layout.pairs:
        for name, file in zip(pair.classes, pair.labels, strict=True):
            expected = tmp_path / "labels" / form.format(name=pair.name, own=name)
            assert file == expected


def test_subfolders_keep_their_names(tmp_path):
    path = files(tmp_path, "images/p1/a.png", "images/p2/a.png", "labels/x/p1/a.png", "labels/x/p2/a.png")
    assert [(pair.name, pair.classes) for pair in find_layout(path, masks=True).pairs] == [
        ("p1-a", ("x",)), ("p2-a", ("x",)),
    ]  # fmt: skip


def test_one_class_has_one_mask_an_image(tmp_path):
    path = files(tmp_path, "images/a.png", "labels/a_x.png", "labels/x/a.png")
    assert "a second mask of class x" in refused(find_layout, path, True)


def test_files_of_no_class_are_as_they_were(tmp_path):
    path = files(tmp_path, "images/a.png", "labels/a_mask.png")
    assert find_layout(path, masks=True).classes == ()
    assert find_layout(files(tmp_path, "images/b.png", "labels/b/1.png", "labels/b/2.png")).classes == ()
