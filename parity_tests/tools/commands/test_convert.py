"""`unet convert`: round trips, a pruned UNet++, and Orbax checkpoints."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_spec.families.staged_unet import StagedUNetConfig
from unet_tools import cli
from unet_tools.cli import main

from ...fixtures.family_cases import FAMILIES
from ...fixtures.full_disk import files_of_at_most


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_convert_there_and_back_is_bit_for_bit(checkpoint, tmp_path, suffix, capsys):
    there, flax, back = tmp_path / f"w{suffix}", tmp_path / "flax.safetensors", tmp_path / "back"
    assert main(["convert", str(checkpoint), str(there)]) == 0
    assert main(["convert", str(there), str(flax), "--to", "flax"]) == 0
    assert main(["convert", str(flax), str(back), "--from", "flax", "--to", "checkpoint"]) == 0
    assert (back / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()
    if suffix == ".safetensors":  # a .pth contains only tensors
        assert (back / "config.json").read_text() == (checkpoint / "config.json").read_text()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_a_state_dict_leaves_out_is_reported(tmp_path, suffix, capsys):
    config = preset("same", widths=(2, 4))
    data = DataSpec((0.5,), (0.2,), ("sky", "cell"))
    Checkpoint(config, random_tensors(config.graph, 0), data).save(tmp_path / "a")
    assert main(["convert", str(tmp_path / "a"), str(tmp_path / f"w{suffix}")]) == 0
    left = "does not contain: normalisation, class names; keep the checkpoint, or convert to .safetensors, which does\n"
    assert capsys.readouterr().err == (f"{tmp_path / 'w.pth'}: {left}" if suffix == ".pth" else "")


def test_the_source_is_never_its_own_result(checkpoint, tmp_path, capsys):
    weights = tmp_path / "w.safetensors"
    assert main(["convert", str(checkpoint), str(weights)]) == 0
    before = weights.read_bytes()
    (tmp_path / "link").symlink_to(weights)
    for dest in (weights, tmp_path / "link"):
        assert main(["convert", str(weights), str(dest), "--to", "pytorch"]) == 2
        assert "the source itself" in capsys.readouterr().err
    assert weights.read_bytes() == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax, as its event loop ends
@pytest.mark.parametrize("form", ["checkpoint", "orbax", "pytorch", "safetensors", "flax", "keras"])
@pytest.mark.parametrize("limit", [64, 3000])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(form, limit, tmp_path, capsys):
    """Within a header, and within the tensors."""
    if form == "keras":
        pytest.importorskip("h5py")
    config = preset("same-bilinear", widths=(8, 16), norm="none") if form != "keras" else KERAS
    Checkpoint(config, random_tensors(config.graph, 0)).save(tmp_path / "source")
    dest = tmp_path / ("w.h5" if form == "keras" else "w.pth" if form == "pytorch" else "w")
    (tmp_path / "other").write_text("stays")
    if form != "orbax":
        assert main(["convert", str(tmp_path / "source"), str(dest), "--to", form]) == 0
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    capsys.readouterr()
    with files_of_at_most(limit):
        assert main(["convert", str(tmp_path / "source"), str(dest), "--to", form]) == 1
    message = capsys.readouterr().err.strip()
    assert message.startswith("unet: cannot write")
    assert "\n" not in message
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_folder_of_another_program_is_not_written_over(checkpoint, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"model_type": "bert"}')
    assert main(["convert", str(checkpoint), str(tmp_path / "mine")]) == 2
    assert "its config.json is not from this project" in capsys.readouterr().err
    assert (tmp_path / "mine" / "config.json").read_text() == '{"model_type": "bert"}'
    (tmp_path / "mine" / "config.json").unlink()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert main(["convert", str(checkpoint), str(tmp_path / "mine")]) == 0
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def test_what_another_project_said_goes_with_its_weights(checkpoint, tmp_path):
    """The source.json of replaced weights is not kept for the new ones."""
    Checkpoint.load(checkpoint).save(tmp_path / "w", {"source.json": '{"source": "nnunet"}'})
    assert main(["convert", str(checkpoint), str(tmp_path / "w")]) == 0
    assert not (tmp_path / "w" / "source.json").exists()


CONFIG = preset("same", widths=(3, 4), in_channels=2, dropout=0.0)
KERAS = StagedUNetConfig(
    widths=(4, 8), downsampling="max", upsampling="nearest", first="skip", norm="none", activation="relu"
)


def same(a, b) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y), a, b)


def test_the_command_converts_to_orbax_and_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0), DataSpec()).save("a")
    assert main(["convert", "a", "b", "--to", "orbax"]) == 0
    assert main(["convert", "b", "c"]) == 0
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()
    assert main(["convert", "a", "b", "--to", "orbax"]) == 2  # it is there already


PROBABILISTIC = preset("probabilistic-unet", widths=(4, 6), latent=3, convolutions=1)


def checkpoint_of(config, dtype=np.float32):
    return Checkpoint(config, random_tensors(config.graph, 0, dtype), DataSpec())


def unet(*arguments):
    return cli.main([str(a) for a in arguments])


def test_convert_prunes_a_supervised_unetpp(tmp_path, capsys):
    """The pruned checkpoint gives the output of the remaining head, and contains no tensors of the others."""
    whole = checkpoint_of(FAMILIES["unet++-deep"])
    whole.save(tmp_path / "whole")
    assert unet("convert", tmp_path / "whole", tmp_path / "cut", "--prune", 2) == 0
    cut = Checkpoint.load(tmp_path / "cut")
    assert cut.config == whole.config.replace(widths=whole.config.widths[:3], deep_supervision=False)
    assert len(cut.tensors) < len(whole.tensors)
    x = np.random.default_rng(0).normal(size=(1, 16, 24, 1)).astype(np.float32)
    wanted = whole.config.graph.activations(whole.tensors, x, keep=("heads.1",))["heads.1"]
    np.testing.assert_array_equal(cut.config.graph.forward(cut.tensors, x), wanted)
    for folder, level, message in (("whole", 4, "cannot prune to level 4"), ("cut", 1, "needs deep_supervision")):
        assert unet("convert", tmp_path / folder, tmp_path / "none", "--prune", level) == 2
        assert message in capsys.readouterr().err
    checkpoint_of(PROBABILISTIC).save(tmp_path / "other")
    assert unet("convert", tmp_path / "other", tmp_path / "none", "--prune", 1) == 2
    assert "this network is 'probabilistic-unet'" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
