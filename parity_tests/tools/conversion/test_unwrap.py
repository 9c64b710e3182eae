"""Files of training programs: the same weights, whatever surrounds them, and the report of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

import unet_torch
from unet_spec import Checkpoint, InputError, preset
from unet_tools.cli import main
from unet_tools.conversion.unwrap import find_weights

CONFIG = preset("same", widths=(2, 3))


@pytest.fixture(scope="module")
def model():
    return unet_torch.create(CONFIG, 0)


@pytest.fixture(scope="module")
def state(model):
    return model.state_dict()


def behind(prefix: str, state: dict) -> dict:
    return {prefix + name: t for name, t in state.items()}


def raised(state: dict) -> dict:
    return {name: t + 1 for name, t in state.items()}


WRAPPED = {
    "a.pth": (lambda s: behind("module.", s), "prefix 'module.'"),
    "b.pth.tar": (lambda s: behind("_orig_mod.", s), "prefix '_orig_mod.'"),
    "c.ckpt": (
        lambda s: {
            "state_dict": behind("model.", s),
            "pytorch-lightning_version": "2.5",
            "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
        },
        "prefix 'model.'",
    ),
    "d.bin": (
        lambda s: {"state_dict": behind("net._orig_mod.", s) | {"loss.weight": torch.ones(2)}},
        "prefix 'net._orig_mod.'",
    ),
    "e.pt": (lambda s: {k.replace("encoder.", "encoder.module."): t for k, t in s.items()}, "34 tensors"),
    "f.weights": (lambda s: {"model": s, "model_ema": raised(s)}, "also contains model_ema; used: model; --key"),
    "g.ckpt": (
        lambda s: {"state_dict": behind("ema_model.module.", raised(s)) | behind("model.", s)},
        "also contains state_dict.ema_model.module; used: state_dict.model",
    ),
    "h.pth": (lambda s: {"teacher": raised(s), "student": s, "epoch": 3}, "also contains teacher; used: student"),
    "i.pth": (lambda s: {"swa_model": behind("module.", raised(s)), "weights": s}, "also contains swa_model.module"),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_what_lies_around_the_weights_is_removed_and_said(name, state, tmp_path, capsys):
    wrap, words = WRAPPED[name]
    torch.save(wrap(state), tmp_path / name)
    assert main(["convert", str(tmp_path / name), str(tmp_path / "out"), "--preset", "same", "--to", "checkpoint"]) == 0
    read = capsys.readouterr()
    assert words in " ".join((read.err + read.out).split())
    loaded = Checkpoint.load(tmp_path / "out")
    assert loaded.config.widths == (2, 3)
    assert all(t.tobytes() == state[key].numpy().tobytes() for key, t in loaded.tensors.items())


def test_an_averaged_model(model, state, tmp_path, capsys):
    average = AveragedModel(model)
    average.update_parameters(model)
    torch.save(average.state_dict(), tmp_path / "a.pt")
    assert main(["convert", str(tmp_path / "a.pt"), str(tmp_path / "out"), "--preset", "same"]) == 0
    assert "left out, since they do not belong to the network: n_averaged" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["model_ema", "state_dict_ema.module", "state_dict_ema"])
def test_key_takes_the_average(key, state, tmp_path, capsys):
    entry = key.partition(".")[0]
    torch.save(
        {"model": state, entry: behind("module.", raised(state)) if "dict" in key else raised(state)}, tmp_path / "a"
    )
    (tmp_path / "a").rename(tmp_path / "a.pth")
    out = tmp_path / "out"
    assert main(["convert", str(tmp_path / "a.pth"), str(out), "--preset", "same", "--key", key]) == 0
    np.testing.assert_array_equal(Checkpoint.load(out).tensors["head.bias"], state["head.bias"].numpy() + 1)
    assert main(["convert", str(tmp_path / "a.pth"), str(out), "--preset", "same", "--key", "foo"]) == 2
    assert "no weights under 'foo'; choices for --key: model, " in capsys.readouterr().err


def test_safetensors_with_a_prefix_and_a_strangers_config(state, tmp_path):
    from safetensors.numpy import save_file

    arrays = {f"module.{name}": t.numpy() for name, t in state.items()}
    save_file(arrays, tmp_path / "a.safetensors", {"config": '{"model_type": "other"}', "format": "pt"})
    assert main(["convert", str(tmp_path / "a.safetensors"), str(tmp_path / "out"), "--preset", "same"]) == 0


def test_a_file_without_tensors_says_what_it_has():
    with pytest.raises(InputError, match="expected a state_dict, a dictionary of tensors; it has epoch"):
        find_weights({"epoch": 3, "names": ["a"]}, lambda names: False, None, "x")


def test_an_unknown_networks_names_are_those_of_the_file_without_usual_beginnings():
    tensors = {f"module.decoder.{k}.weight": np.zeros(1) for k in range(5)}
    found = find_weights(tensors, lambda names: False, None, "x")
    assert (found.prefix, next(iter(found.tensors))) == ("module.", "decoder.0.weight")


KNOWN = {"enc.weight", "head.weight"}


def ours(names):
    return set(names) >= KNOWN


def behind_all(prefix=""):
    return {f"{prefix}{name}": np.zeros(1) for name in ("enc.weight", "enc.bias", "head.weight", "head.bias")}


@pytest.mark.parametrize(
    ("values", "label", "others"),
    [
        ({"network_weights": behind_all(), "state_dict": behind_all()}, "network_weights", ("state_dict",)),
        ({"model": behind_all(), "model_state_dict": behind_all()}, "model_state_dict", ("model",)),
        ({"other": behind_all(), "model": behind_all()}, "model", ("other",)),
        ({"other-EMA": behind_all(), "any": behind_all()}, "any", ("other-EMA",)),
        ({"emax": behind_all(), "shadow": behind_all()}, "emax", ("shadow",)),
        ({"a": behind_all() | {"enc2.weight": np.zeros(1)}, "b": behind_all()}, "a", ("b",)),  # the larger one
        ({"b": behind_all(), "a": behind_all() | {"enc2.weight": np.zeros(1)}}, "a", ("b",)),
        ({"a": {"b": {"c": behind_all()}}}, "a.b.c", ()),
        (behind_all(), ".", ()),
        (behind_all("a.b.c."), "a.b.c", ()),
    ],
)
def test_which_of_several_sets_is_taken(values, label, others):
    found = find_weights(values, ours, None, "x")
    assert (found.label, found.others) == (label, others)
    assert set(found.tensors) >= KNOWN


@pytest.mark.parametrize("values", [{"a": {"b": {"c": {"d": behind_all()}}}}])
def test_sets_are_sought_three_levels_deep(values):
    with pytest.raises(InputError, match="expected a state_dict"):
        find_weights(values, ours, None, "x")
    assert not ours(find_weights(behind_all("a.b.c.d."), ours, None, "x").tensors)


@pytest.mark.parametrize(
    ("key", "label"),
    [("ema", "state.ema"), ("state.ema", "state.ema"), ("state.ema.", "state.ema"), ("net", "state.net"), (".", ".")],
)
def test_a_key_is_an_entry_a_prefix_or_a_part_of_both(key, label):
    values = behind_all() | {"state": behind_all("net.") | behind_all("ema.")}
    found = find_weights(values, ours, key, "x")
    assert found.label == label
    assert label not in found.others
    assert len(found.others) == 2


def test_what_was_decided_is_said():
    values = {"model": behind_all("module.") | {"n": np.zeros(1)}, "ema": behind_all()}
    found = find_weights(values, ours, None, "x")
    assert found.left_out == ("n",)
    assert found.notes() == [
        "the prefix 'module.' of the names is removed",
        "the file also contains ema; used: model.module; --key chooses another",
        "left out, since they do not belong to the network: n",
    ]
    top = find_weights(behind_all() | {"ema": behind_all()}, ours, None, "x")
    assert top.notes() == ["the file also contains ema; used: those at the top; --key chooses another"]
    assert find_weights(behind_all(), ours, None, "x").notes() == []


def test_names_that_would_be_equal_without_their_wrappers_keep_them():
    values = behind_all() | behind_all("_orig_mod.")
    found = find_weights(values, ours, None, "x")
    assert {found.label, *found.others} == {".", "_orig_mod"}  # two sets, of which neither lost a tensor
    assert set(found.tensors) == set(behind_all())
    inside = {name.replace("enc.", "enc._fsdp_wrapped_module."): t for name, t in behind_all().items()}
    assert find_weights(inside, ours, None, "x").prefix == "_fsdp_wrapped_module."


def test_a_prefix_is_shared_by_more_than_three_tensors():
    few = {f"a.{name}": np.zeros(1) for name in ("enc.weight", "head.weight", "x")}
    assert not ours(find_weights(few, ours, None, "x").tensors)
    assert ours(find_weights(few | {"a.y": np.zeros(1)}, ours, None, "x").tensors)
