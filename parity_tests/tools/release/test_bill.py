"""The bill of materials: every package once, with its extras, licence and dependencies."""

from __future__ import annotations

from tools.release.bill import bill, licences, normal
from tools.release.environments import Installed

OWN = Installed("unet-twins", "0.1.0", "Apache-2.0", ("numpy", "jax", "Ruamel.yaml"))
NUMPY = Installed("numpy", "2.0", "BSD-3-Clause")
JAX = Installed("jax", "0.9+cpu", "", ("NumPy", "scipy"))
ENVIRONMENTS = {"": [OWN, NUMPY], "jax": [OWN, NUMPY, JAX]}


def test_components_and_dependencies():
    document = bill("0.1.0", "ab" * 32, ENVIRONMENTS)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    jax, numpy = document["components"]
    assert (jax["purl"], numpy["purl"]) == ("pkg:pypi/jax@0.9%2Bcpu", "pkg:pypi/numpy@2.0")
    assert [c["properties"][0]["value"] for c in (jax, numpy)] == ["jax", "(none); jax"]
    assert numpy["licenses"] == [{"license": {"name": "BSD-3-Clause"}}]
    assert "licenses" not in jax
    needs = {entry["ref"]: entry["dependsOn"] for entry in document["dependencies"]}
    assert needs == {
        "pkg:pypi/unet-twins@0.1.0": ["pkg:pypi/jax@0.9%2Bcpu", "pkg:pypi/numpy@2.0"],
        "pkg:pypi/jax@0.9%2Bcpu": ["pkg:pypi/numpy@2.0"],  # scipy is not installed
        "pkg:pypi/numpy@2.0": [],
    }
    assert document["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]


def test_the_same_packages_give_the_same_number_and_others_another():
    first, again = bill("0.1.0", "a", ENVIRONMENTS), bill("0.1.0", "a", ENVIRONMENTS)
    assert first == again
    assert first["serialNumber"] != bill("0.1.0", "b", ENVIRONMENTS)["serialNumber"]


def test_licences_name_each_package_once():
    lines = licences(ENVIRONMENTS).splitlines()
    assert lines.count("numpy 2.0: BSD-3-Clause") == 1
    assert "jax 0.9+cpu: not stated" in lines
    assert lines[1] == "nothing: every file is the project's"


def test_names_are_compared_as_indexes_do():
    assert normal("Ruamel.yaml") == normal("ruamel_yaml") == "ruamel-yaml"
