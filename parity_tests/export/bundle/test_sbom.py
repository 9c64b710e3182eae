"""The bill of materials: complete, valid, and the same for equal bundles."""

import json
from importlib.metadata import version

import pytest

from unet_export import BundleSettings, open_bundle, write_bundle

from ..bundles import checkpoint


@pytest.fixture(scope="module", params=["CC-BY-4.0", "ask Ada", None])
def written(request, tmp_path_factory):
    settings = BundleSettings(engines=False, licence=request.param)
    return request.param, write_bundle(checkpoint(), tmp_path_factory.mktemp("sbom") / "bundle", settings)


def test_every_file_is_listed_with_its_hash_and_every_package_with_its_version(written):
    licence, bundle = written
    content = json.loads((bundle.folder / "sbom.cdx.json").read_text())
    files = {c["name"]: c["hashes"] for c in content["components"] if c["type"] == "file"}
    listed = {name: entry["sha256"] for name, entry in open_bundle(bundle.folder).manifest["files"].items()}
    assert "sbom.cdx.json" in listed
    del listed["sbom.cdx.json"]
    assert files == {name: [{"alg": "SHA-256", "content": digest}] for name, digest in listed.items()}
    packages = {c["name"]: c["version"] for c in content["components"] if c["type"] == "library"}
    assert packages["onnx"] == version("onnx")
    assert set(packages) >= {"numpy", "jsonschema", "unet-twins"}
    given = content["metadata"]["component"].get("licenses")
    expected = {"CC-BY-4.0": {"id": "CC-BY-4.0"}, "ask Ada": {"name": "ask Ada"}}
    assert given == (None if licence is None else [{"license": expected[licence]}])
    (needed,) = content["dependencies"]
    assert sorted(needed["dependsOn"]) == sorted(c["bom-ref"] for c in content["components"])


def test_it_is_valid_cyclonedx(written):
    pytest.importorskip("cyclonedx", reason="cyclonedx-python-lib is not installed")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (written[1].folder / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    broken = text.replace('"machine-learning-model"', '"network"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken) is not None
