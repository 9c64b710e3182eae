"""Untrusted PyTorch files: reading without running code, and damage of every kind."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest
import torch

from unet_spec import InputError
from unet_tools.conversion.tensor_files import read_files

from ..fixtures.sources.recorded import arrays

NAME = "nnunet_plain_2d"


def state():
    return {key: torch.from_numpy(np.asarray(t)) for key, t in arrays(NAME).items()}


def test_numpy_scalars_are_plain_numbers_or_refused(tmp_path):
    torch.save({**state(), "mask_values": [np.float32(1.5), np.int64(3), np.int64(1 << 40)]}, tmp_path / "a.pth")
    assert list(map(type, read_files(tmp_path / "a.pth").metadata["mask_values"])) == [float, int, float]
    assert read_files(tmp_path / "a.pth").metadata["mask_values"][:2] == [1.5, 3]
    torch.save({**state(), "mask_values": np.array([(1, 2.0)], [("a", int), ("b", float)])[0]}, tmp_path / "b.pth")
    with pytest.raises(InputError, match="no code in it was run"):
        read_files(tmp_path / "b.pth")


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
@pytest.mark.parametrize("new", [True, False])
def test_a_truncated_pth_is_refused(kept, new, tmp_path):
    torch.save({key: t.clone() for key, t in state().items()}, tmp_path / "w.pth", _use_new_zipfile_serialization=new)
    content = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(InputError) as printed:
        read_files(tmp_path / "w.pth")
    assert "\n" not in str(printed.value)


def test_a_tensor_larger_than_its_storage_is_refused_before_it_is_copied(tmp_path):
    torch.save({**state(), "outc": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "w.pth")  # 4 TB if copied
    with pytest.raises(InputError, match="declares 1000000000000 values and contains fewer"):
        read_files(tmp_path / "w.pth")


def test_a_storage_larger_than_the_file_is_refused_before_it_is_allocated(tmp_path):
    """The older format allocates the size in its pickle: here 2^40 values instead of 48."""
    torch.save({"w": torch.zeros(48)}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "w.pth").read_bytes()
    lie = pickle.LONG1 + b"\x06" + (1 << 40).to_bytes(6, "little")
    assert content.count(pickle.BININT1 + b"\x30") == 2  # the storage's size and the tensor's shape
    (tmp_path / "w.pth").write_bytes(content.replace(pickle.BININT1 + b"\x30", lie))
    with pytest.raises(InputError, match=f"declares a size of {1 << 40} in a file of"):
        read_files(tmp_path / "w.pth")


def test_a_zip_behind_an_older_file_hides_nothing(tmp_path):
    test_a_storage_larger_than_the_file_is_refused_before_it_is_allocated(tmp_path)
    with zipfile.ZipFile(tmp_path / "w.pth", "a") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    assert zipfile.is_zipfile(tmp_path / "w.pth")
    with pytest.raises(InputError, match=f"declares a size of {1 << 40} in a file of"):
        read_files(tmp_path / "w.pth")


def test_a_zip_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(10**7))
    with pytest.raises(InputError, match="unpack to more than its size"):
        read_files(tmp_path / "w.pth")
