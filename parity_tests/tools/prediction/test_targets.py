"""The images of a prediction, and the names of their results."""

from pathlib import Path

import pytest

pytest.importorskip("zarr", reason="zarr is not installed")
pytest.importorskip("fsspec", reason="fsspec is not installed")

from unet_data.io.stores import remote
from unet_spec import InputError
from unet_tools.prediction.targets import targets

from ...data.io.stores.test_hcs import plate


def test_every_field_of_a_plate_has_a_result(tmp_path):
    images = plate(tmp_path / "p.zarr", labelled=False)
    (tmp_path / "folder").mkdir()
    (tmp_path / "p.zarr").rename(tmp_path / "folder/p.zarr")
    for given in (tmp_path / "folder/p.zarr", tmp_path / "folder"):
        found = targets([given], tmp_path / "out")
        assert [source.relative_to(tmp_path / "folder/p.zarr").as_posix() for source in found] == list(images)
        assert [target.name for target in found.values()] == [f"p-{name.replace('/', '-')}.zarr" for name in images]
    level = targets([tmp_path / "folder/p.zarr/A/1/0/0"], tmp_path / "out")
    assert list(level.values()) == [tmp_path / "out/p-A-1-0-0.zarr"]
    inside = tmp_path / "folder/p.zarr/A/1/0"
    assert targets([inside], inside / "labels/cells") == {inside: inside / "labels/cells"}


def test_a_folder_behind_a_url_gives_its_zarr():
    bucket = Path("memory://listed")
    try:
        for name in ("b.zarr/zarr.json", "a.zarr/zarr.json", "notes.txt"):
            remote.write(bucket / name, b"{}")
        found = targets([bucket], bucket / "out")
        assert list(found) == [bucket / "a.zarr", bucket / "b.zarr"]
        assert list(found.values()) == [bucket / "out/a.zarr", bucket / "out/b.zarr"]
        with pytest.raises(InputError, match=r"memory://listed/empty: contains no \.zarr"):
            targets([bucket / "empty"], bucket / "out")
    finally:
        remote.remove(bucket)
