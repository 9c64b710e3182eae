"""Archives that others may have made: .npz and the instructions of a pickle."""

import io
import pickle
import time
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from unet_spec import InputError
from unet_spec.untrusted.archives import MAX_DEPTH, MAX_NODES, check_pickle, read_npz


def npz(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def npy(array, **changes):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    content = file.getvalue()
    for old, new in changes.values():
        assert old in content
        content = content.replace(old, new)
    return content


@pytest.mark.parametrize("array", [np.arange(6, dtype=">i2").reshape(2, 3), np.zeros((0, 2)), np.float32(2.5)])
def test_arrays_arrive(array, tmp_path):
    np.savez(tmp_path / "a.npz", a=array, b=1)
    read = read_npz(tmp_path / "a.npz", ["a"])["a"]
    assert read.dtype == np.asarray(array).dtype
    assert np.array_equal(read, array)
    np.savez_compressed(tmp_path / "a.npz", a=array)
    assert np.array_equal(read_npz(tmp_path / "a.npz", ["a"])["a"], array)


@pytest.mark.parametrize(
    ("content", "reason"),
    {
        "no zip": (b"not a zip" * 10, "not a readable .npz"),
        "a pickle": (pickle.dumps([1]), "not a readable .npz"),
        "one array": (npy(np.zeros(3)), "not a readable .npz"),
        "nothing": (b"", "not a readable .npz"),
    }.values(),
)
def test_what_is_no_npz_is_refused(content, reason, tmp_path):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        read_npz(tmp_path / "a.npz", ["a"])


@pytest.mark.parametrize(
    ("members", "reason"),
    {
        "objects": ({"a": npy(np.array([{}, None]))}, "not contain plain numbers"),
        "text": ({"a": npy(np.array(["x"]))}, "not contain plain numbers"),
        "more than it holds": ({"a": npy(np.zeros(99, "u1"), s=(b"(99,)", b"(9**9,)"[:5]))}, "readable"),
        "a large shape": ({"a": npy(np.zeros(9999, "u1"), s=(b"(9999,), }", b"(99999,),}"))}, "fewer than it declares"),
        "another name": ({"b": npy(np.zeros(3))}, "no item named"),
        "cut": ({"a": npy(np.zeros(300))[:200]}, "fewer than it declares"),
    }.values(),
)
def test_damaged_members_are_refused(members, reason, tmp_path):
    with pytest.raises(InputError, match=reason):
        read_npz(npz(tmp_path / "a.npz", **members), ["a"])


def test_a_member_that_unpacks_to_too_much_is_not_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(2**20, "u1"))
    with pytest.raises(InputError, match="unpacks to 2 MiB"):
        read_npz(tmp_path / "a.npz", ["a"], most=2**20)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_npz(tmp_path / "a.npz", ["a"])


def laugh(levels, kind=list):
    value = kind(["ha"])
    for _ in range(levels):
        value = kind([value] * 10)
    return value


def refilled():
    """The lists are memoised empty and filled from the outermost in, so that no count is right when it is taken."""
    lists = [b"]q%c" % i for i in range(10)]
    fill = [b"h%c(" % i + b"h%c" % (i + 1) * 10 + b"e" for i in range(9)]
    return b"\x80\x02" + b"0".join(lists) + b"0" + b"0".join(fill) + b"0h\x00."


LAUGHS = {
    "lists": pickle.dumps(laugh(9), 2),
    "tuples": pickle.dumps(laugh(9, tuple), 2),
    "tuples as a name": pickle.dumps({"a": laugh(9, tuple)}, 4),
    "dictionaries": pickle.dumps(laugh(9, lambda items: dict(enumerate(items))), 4),
    "sets": pickle.dumps(laugh(9, frozenset) if False else laugh(9, lambda items: OrderedDict(enumerate(items))), 2),
    "filled later": refilled(),
}


@pytest.mark.parametrize("kind", LAUGHS)
def test_a_small_file_of_very_many_objects_is_refused_at_once(kind):
    assert len(LAUGHS[kind]) < 2000
    start = time.process_time()
    with pytest.raises(InputError, match=f"more than {MAX_NODES:,} objects; no code in it was run"):
        check_pickle(io.BytesIO(LAUGHS[kind]), "w.pth")
    assert time.process_time() - start < 5


def test_the_list_that_is_filled_later_is_a_pickle():
    small = b"\x80\x02]q\x00h\x00(K\x01K\x02e0h\x00."
    assert pickle.loads(small) == [1, 2]
    check_pickle(io.BytesIO(small), "w.pth")


def test_an_object_within_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(InputError, match="within itself"):
        check_pickle(io.BytesIO(pickle.dumps(value)), "w.pth")


def test_deep_nesting_is_refused():
    value = []
    for _ in range(MAX_DEPTH):
        value = [value]
    with pytest.raises(InputError, match="nested deeper than 100"):
        check_pickle(io.BytesIO(pickle.dumps(value, 2)), "w.pth")
    check_pickle(io.BytesIO(pickle.dumps(value[0][0], 2)), "w.pth")


@pytest.mark.parametrize("protocol", range(6))
def test_what_programs_write_is_taken(protocol):
    value = {f"layer.{i}": [i, (1.5, None), {"a", "b"}, "x" * i, np.float32(2), b"y"] for i in range(50)}
    check_pickle(io.BytesIO(pickle.dumps(OrderedDict(value), protocol)), "w.pth")


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"\x80\x02h\x00.", b"\x80\x02e.", b"\x80\x02(]e.", b"0."])
def test_damage_is_refused(content):
    with pytest.raises(InputError, match="not a PyTorch file of plain tensors"):
        check_pickle(io.BytesIO(content), "w.pth")
