"""That a file of `unet_spec.families` is all that an architecture needs: what is derived from it, and where."""

import ast
import inspect
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import unet_jax
import unet_spec
import unet_torch
from unet_spec import FAMILIES, PRESETS, InputError, NetworkConfig, narrow, preset, preset_names
from unet_spec.network import ARCHITECTURES
from unet_spec.registry import Networks

from .. import ROOT

TWINS = {"unet_jax": unet_jax, "unet_torch": unet_torch}
OTHER = {"unet_jax": "unet_torch", "unet_torch": "unet_jax"}


def leaf(family):
    return family.config.__module__.rpartition(".")[2]


def test_every_file_is_found_and_the_u_net_comes_first():
    files = {path.stem for path in Path(unet_spec.__file__).parent.glob("families/[a-z]*.py")} - {"builder"}
    assert {leaf(family) for family in FAMILIES.values()} == files
    assert next(iter(FAMILIES)) == "unet"
    assert preset_names()[:2] == ("paper", "article")
    assert list(PRESETS) == list(preset_names())
    assert len(PRESETS) == sum(len(family.presets) for family in FAMILIES.values())  # no name is given twice
    assert len(FAMILIES) == len(files)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_says_all_that_is_asked_of_it(family):
    assert family.when.endswith(".")
    assert "─" in family.figure
    assert family.presets
    assert set(family.narrow) <= set(family.presets)
    for configs in (family.presets, family.narrow, family.tests):
        assert all(type(config) is family.config for config in configs.values())
    for config in family.tests.values():
        assert config.graph.parameter_count < 50_000
    for name in family.presets:
        assert narrow(name).graph.parameter_count < 1_000_000
        size = preset(name).geometry.grid().above(family.image_size)
        assert size - family.image_size < preset(name).geometry.grid().step


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("room", TWINS)
def test_a_twin_is_found_by_the_name_of_its_file(room, family):
    network = TWINS[room].NETWORKS[family.config.architecture]
    assert network.__module__ == f"{room}.families.{leaf(family)}"
    assert getattr(TWINS[room].families, network.__name__) is network
    assert inspect.signature(network.__init__).parameters["config"].annotation == family.config.__name__


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("room", TWINS)
def test_a_twin_names_the_figure_and_the_other_twin(room, family):
    printed = ast.get_docstring(
        ast.parse((ROOT / room / "families" / f"{leaf(family)}.py").read_text(encoding="utf-8"))
    )
    assert f"`unet_spec/families/{leaf(family)}.py`" in printed
    assert f"`{OTHER[room]}/families/{leaf(family)}.py`" in printed


@pytest.mark.parametrize("room", TWINS)
def test_a_twin_is_imported_when_it_is_needed(room):
    code = f"""
import sys, {room}
{room}.UNet
imported = {{m for m in sys.modules if m.startswith("{room}.families.")}}
assert imported == {{"{room}.families.unet"}}, imported
from {room}.families import MNet
assert MNet.__name__ == "MNet"
import {room}.families.unetpp
assert "{room}.families.transunet" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.fixture
def foreign():
    """The config of an architecture that only this test knows."""
    before = dict(ARCHITECTURES)

    class ForeignConfig(NetworkConfig, architecture="foreign"):
        pass

    yield ForeignConfig
    ARCHITECTURES.clear()
    ARCHITECTURES.update(before)


def test_a_missing_twin_is_reported(foreign):
    with pytest.raises(InputError, match=r"'foreign' has no network in unet_torch.*@register\(ForeignConfig\)"):
        unet_torch.NETWORKS["foreign"]
    with pytest.raises(KeyError):
        unet_torch.NETWORKS["none"]
    with pytest.raises(AttributeError, match=r"'unet_torch.families' has no attribute 'Nobody'"):
        unet_torch.families.Nobody  # noqa: B018


def test_a_network_from_outside_can_be_registered(foreign):
    networks = Networks("unet_torch.families")

    @networks.register(foreign)
    class Foreign:
        pass

    assert networks["foreign"] is networks.called("Foreign") is Foreign


@pytest.mark.parametrize("room", TWINS)
def test_a_class_refuses_a_config_of_another_architecture_in_one_line(room):
    twin = TWINS[room]
    with pytest.raises(InputError, match=rf"UNet is the network 'unet', .* of 'm-net'; {room}\.from_pretrained and"):
        twin.UNet(narrow("m-net"))
    for call in (twin.UNet, twin.create):
        with pytest.raises(InputError, match=rf"made of a config, such as {room}\.preset\('paper'\), not of 'paper'"):
            call("paper")
    assert twin.NETWORKS["m-net"].config_type is FAMILIES["m-net"].config


def test_an_unknown_preset_is_reported_with_the_nearest():
    message = r"unknown preset 'unet\+\+\+'; known: paper, .*; did you mean 'unet\+\+'\?"
    with pytest.raises(InputError, match=message):
        preset("unet+++")


def test_docs_families_md_is_up_to_date():
    """Where it is not: python docs/generate/families.py"""
    page = runpy.run_path(str(ROOT / "docs/generate/families.py"))["page"]
    assert (ROOT / "docs/families.md").read_text(encoding="utf-8") == page()


def test_the_readme_names_every_preset():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in PRESETS if f"`{name}`" not in text] == []
    for name, config in FAMILIES["unet"].presets.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert row.endswith(f"| {config.graph.parameter_count:,} |")


def test_the_command_names_every_preset(capsys):
    from unet_tools import cli

    assert cli.main(["info", "--help"]) == 0
    text = re.sub(r"[│\s]", "", capsys.readouterr().out)
    assert [name for name in PRESETS if name not in text] == []
