"""Parts of a model repository: names, protobuf's text, links or copies, and the order in which models are added."""

import os

import pytest

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
from unet_export.serving.repository import (
    Word,
    add_models,
    check_free,
    checked_name,
    place,
    protobuf_text,
    tensor,
    write_model,
)
from unet_spec import InputError


@pytest.mark.parametrize("name", ["a", "A9", "0", "a_b-c.d", "x" * 100])
def test_names_of_models(name):
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "_a", ".a", "a b", "a/b", "x" * 101, "a\n", "ä"])
def test_names_that_no_model_can_have(name):
    with pytest.raises(InputError, match=r"cannot be a model's: letters, digits, _ \. and -, at most 100, no"):
        checked_name(name)


def test_protobufs_text():
    fields = {
        "name": "a",
        "kind": Word("KIND_CPU"),
        "on": True,
        "off": False,
        "count": 3,
        "dims": [-1, 2],
        "names": ["x", "y"],
        "none": [],
        "one": {"key": "k", "deep": {"n": 1}},
        "many": [{"n": 1}, {"n": 2}],
    }
    assert protobuf_text(fields).splitlines() == [
        'name: "a"', "kind: KIND_CPU", "on: true", "off: false", "count: 3", "dims: [-1, 2]", 'names: ["x", "y"]',
        "none: []", "one {", '  key: "k"', "  deep {", "    n: 1", "  }", "}", "many {", "  n: 1", "}", "many {",
        "  n: 2", "}",
    ]  # fmt: skip
    assert protobuf_text(tensor("x", "TYPE_FP32", (1, -1))).splitlines() == [
        'name: "x"', "data_type: TYPE_FP32", "dims: [1, -1]"
    ]  # fmt: skip


def test_a_model_has_its_configuration_and_a_first_version(tmp_path):
    version = write_model(tmp_path, "m", {"backend": "python"})
    assert version == tmp_path / "m" / "1"
    assert version.is_dir()
    assert (tmp_path / "m" / "config.pbtxt").read_text() == 'name: "m"\nbackend: "python"\n'


@pytest.mark.parametrize("links", [True, False])
def test_files_are_linked_where_the_file_system_has_links(tmp_path, monkeypatch, links):
    def none(*_):
        raise OSError("no links")

    if not links:
        monkeypatch.setattr(os, "link", none)
    (tmp_path / "a").write_bytes(b"plan")
    place(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"plan"
    assert (tmp_path / "a").samefile(tmp_path / "b") == links


def test_networks_come_first_then_python_then_ensembles(tmp_path):
    kinds = {"a": {"platform": "ensemble"}, "b": {"backend": "python"}, "c": {"backend": "onnxruntime"}, "d": {}}
    for name, config in kinds.items():
        version = write_model(tmp_path / "source", name, config)
        for file in ("model.onnx", "model.plan", "model.py"):
            (version / file).write_text(name)
    assert add_models(tmp_path / "source", tmp_path / "target") == ["c", "d", "b", "a"]
    for name in kinds:
        for file, linked in (("model.onnx", True), ("model.plan", True), ("model.py", False)):
            new, old = (tmp_path / folder / name / "1" / file for folder in ("target", "source"))
            assert new.read_text() == name
            assert new.samefile(old) == linked
        assert not (tmp_path / "target" / name / "config.pbtxt").samefile(tmp_path / "source" / name / "config.pbtxt")


def test_a_repository_is_a_folder_without_these_models(tmp_path):
    check_free(tmp_path / "none", ["a"])
    (tmp_path / "r" / "a").mkdir(parents=True)
    check_free(tmp_path / "r", ["b"])
    with pytest.raises(InputError, match=r"/r has a model a already; give another --name, or move that model away"):
        check_free(tmp_path / "r", ["b", "a"])
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file; a model repository is a folder"):
        check_free(tmp_path / "file", [])
