"""Measurements on disk: complete ones are read, damaged ones are not."""

import json

import pytest

from unet_tools.prediction.runtimes import cache
from unet_tools.prediction.runtimes.cache import Measured, Measurements

FOUND = Measurements({"onnx": Measured(1.0, 2e9, 0.0)}, {"mnn": "2-D networks only"}, {"jax": 12.0})


@pytest.fixture
def key(tmp_path, monkeypatch):
    monkeypatch.setenv("UNET_CACHE", str(tmp_path))
    return cache.key_of("ab12", (1, 32, 48, 1), "onnx")


def test_what_is_kept_comes_back_under_its_key_only(key, tmp_path):
    assert cache.load(key) is None
    cache.save(key, FOUND)
    assert cache.load(key) == FOUND
    for name, other in (("network", "cd"), ("input", [1, 64, 48, 1]), ("reference", "torch"), ("machine", "another")):
        assert cache.load(key | {name: other}) is None, name
    assert {"network", "input", "dtype", "reference", "machine", "software"} == set(key)
    assert " cores, " in key["machine"]
    assert [path.suffix for path in (tmp_path / "runtimes").iterdir()] == [".json"]  # no temporary file stays


@pytest.mark.parametrize("bad", ["nan", True, "-1", "text", None])
def test_a_number_that_cannot_be_is_not_taken(key, tmp_path, bad):
    cache.save(key, FOUND)
    (file,) = (tmp_path / "runtimes").iterdir()
    document = json.loads(file.read_text())
    document["measurements"]["done"]["onnx"]["rate"] = float(bad) if bad in ("nan", "-1") else bad
    content = {name: document[name] for name in ("key", "measurements")}
    file.write_text(json.dumps(content | {"sha256": cache._digest(content)}))
    assert cache.load(key) is None
