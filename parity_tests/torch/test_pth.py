"""Untrusted PyTorch files: reading without running code, and damage of every kind."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest
import torch

from unet_spec import InputError
from unet_tools.conversion.tensor_files import read_files
from unet_torch.pth import read_file

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


def test_a_whole_model_is_refused_by_its_class(tmp_path):
    torch.save(torch.nn.Conv2d(1, 1, 1), tmp_path / "w.pth")
    with pytest.raises(InputError) as printed:
        read_files(tmp_path / "w.pth")
    expected = "no code in it was run (it contains a torch.nn.modules.conv.Conv2d); of a whole model, save"
    assert expected in str(printed.value)


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


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.uint8], ids=str)
def test_a_tensor_may_fill_its_storage_and_no_more(dtype, tmp_path):
    """Views that leave something out are read; one value more than the storage has is refused."""
    tensor = torch.arange(6).to(dtype)
    views = {"all": tensor, "turned": tensor.reshape(2, 3).T, "part": tensor[2:4], "one": tensor[:1].expand(6)}
    torch.save(views, tmp_path / "views.pth")
    found = read_file(tmp_path / "views.pth", lambda values: (values, {}))
    for name, view in views.items():
        np.testing.assert_array_equal(found.tensors[name], view.numpy())
    torch.save({"w": tensor[:1].clone().expand(2)}, tmp_path / "more.pth")
    with pytest.raises(InputError, match="w declares 2 values and contains fewer"):
        read_file(tmp_path / "more.pth", lambda values: (values, {}))
    torch.save({"w": tensor.clone().as_strided((7,), (0,))}, tmp_path / "more.pth")
    with pytest.raises(InputError, match="w declares 7 values and contains fewer"):
        read_file(tmp_path / "more.pth", lambda values: (values, {}))


def test_metadata_are_what_json_can_represent(tmp_path):
    """Nested up to twenty times; what is not plain is left out with its entry, and the rest stays."""
    deep = [1]
    for _ in range(19):
        deep = [deep]
    kept = {"a": [1, 2.5, None, True, "x"], "b": {"c": (1, [2])}, "deep": deep, "device": torch.device("cpu")}
    left = {"deeper": [[deep]], "tensor": torch.zeros(2), "keys": {1: 2}, "inside": [{"a": [torch.zeros(1)]}]}
    torch.save({"w": torch.ones(2), **kept, **left}, tmp_path / "w.pth")
    found = read_file(tmp_path / "w.pth", lambda v: ({"w": v["w"]}, {k: t for k, t in v.items() if k != "w"}))
    assert found.metadata == kept | {"b": {"c": [1, [2]]}, "device": "cpu"}


def test_names_of_one_tensor_share_an_array_and_others_do_not(tmp_path):
    one = torch.arange(6.0)
    same = {"a": one, "b": one, "turned": one.reshape(2, 3), "part": one[:3]}
    torch.save(same | {"copy": one.clone()}, tmp_path / "w.pth")
    found = read_file(tmp_path / "w.pth", lambda values: (values, {})).tensors
    assert found["a"] is found["b"]
    assert len({id(array) for array in found.values()}) == 4
    for name, tensor in same.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


@pytest.mark.parametrize("new", [True, False])
def test_large_numbers_that_are_no_sizes_are_read_and_others_are_refused(new, tmp_path):
    """A number may be as large as the file, and at least 2^20; negative ones likewise."""
    for number in (1 << 20, -(1 << 20)):
        torch.save({"w": torch.ones(2), "n": number}, tmp_path / "w.pth", _use_new_zipfile_serialization=new)
        chosen = read_file(tmp_path / "w.pth", lambda v: ({"w": v["w"]}, {"n": v["n"]}))
        assert chosen.metadata == {"n": number}
    for number in ((1 << 20) + 1, -(1 << 20) - 1):
        torch.save({"w": torch.ones(2), "n": number}, tmp_path / "w.pth", _use_new_zipfile_serialization=new)
        with pytest.raises(InputError, match=f"declares a size of {number} in a file of"):
            read_file(tmp_path / "w.pth", lambda v: ({"w": v["w"]}, {}))


@pytest.mark.parametrize("content", [[torch.zeros(1)], torch.zeros(1), torch.nn.ParameterDict()])
def test_what_is_no_dictionary_of_tensors_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"expected a state_dict, a dictionary|not a PyTorch file of plain tensors"):
        read_file(tmp_path / "w.pth", lambda values: (values, {}))
    torch.save({"w": torch.zeros(1), "n": 3}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="expected a state_dict, names to tensors; it has other values"):
        read_file(tmp_path / "w.pth", lambda values: (values, {}))
    torch.save({"w": torch.eye(2).to_sparse()}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="w is sparse or quantised; a plain tensor is expected"):
        read_file(tmp_path / "w.pth", lambda values: (values, {}))
