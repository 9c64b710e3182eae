"""Checkpoints joined: exactly their mean probability, each on images normalised as its own training had them."""

from dataclasses import replace

import numpy as np
import pytest

import unet_jax
import unet_torch
from unet_data import prepare, probabilities
from unet_spec import Checkpoint, DataSpec, InputError, NetworkConfig, preset, random_tensors
from unet_spec.families.ensemble import EnsembleConfig
from unet_spec.weights.ensemble import join

SAME = preset("same", widths=(3, 4), in_channels=2, out_channels=3)
IMAGES = np.random.default_rng(3).integers(0, 256, (1, 8, 10, 2), np.uint8)


def member(seed, config=SAME, **data):
    spec = {"mean": (0.4 + seed / 50, 0.5), "std": (0.2 + seed / 10, 0.3 - seed / 20)} | data
    return Checkpoint(config, random_tensors(config.graph, seed, np.float64), DataSpec(**spec))


def chances(checkpoint, images=IMAGES):
    """By the reference, from images as they were read."""
    given = prepare(images, checkpoint.config, checkpoint.data).astype(np.float64)
    return probabilities(checkpoint.config.graph.forward(checkpoint.tensors, given), checkpoint.data.overlapping)


@pytest.mark.parametrize(
    ("config", "data"),
    [
        (SAME, {}),
        (SAME.replace(out_channels=1), {}),
        (SAME, {"overlapping": True}),
        (preset("paper", widths=(3, 4), in_channels=2), {}),
    ],
    ids=["softmax", "one logit", "overlapping", "valid"],
)
def test_its_probability_is_the_mean_of_the_members(config, data):
    """Also at the borders, where zeros are the mean of a member's own images and no other's."""
    images = np.random.default_rng(3).integers(0, 256, (1, *(g.above(24) for g in config.geometry.grids), 2), np.uint8)
    members = [member(seed, config, **data) for seed in range(3)]
    joined = join(members).checkpoint
    mean = np.mean([chances(each, images) for each in members], axis=0)
    np.testing.assert_allclose(chances(joined, images), mean, atol=1e-6)  # images are prepared in float32
    assert np.abs(chances(members[1], images) - mean).max() > 1e-3


def test_equal_members_are_the_member():
    one = member(0)
    joined = join([one] * 4)
    np.testing.assert_allclose(chances(joined.checkpoint), chances(one), rtol=1e-12)
    assert joined.notes == ()
    assert joined.checkpoint.data == one.data


def test_both_twins_open_it_and_agree(tmp_path):
    joined = join([member(0), member(1)]).checkpoint
    tensors = {name: t.astype(np.float32) for name, t in joined.tensors.items()}
    replace(joined, tensors=tensors).save(tmp_path)
    image = prepare(IMAGES, joined.config, joined.data)
    ours = np.asarray(unet_jax.from_pretrained(tmp_path)(image))
    theirs = unet_torch.TorchRuntime(unet_torch.from_pretrained(tmp_path)).run(image)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_a_config_in_a_config_comes_back_from_json():
    config = join([member(0), member(1)]).checkpoint.config
    assert NetworkConfig.from_json(config.to_json()) == config
    with pytest.raises(InputError, match="member: unknown architecture 'u-net'"):
        NetworkConfig.from_dict(config.to_dict() | {"member": {"architecture": "u-net"}})
    with pytest.raises(InputError, match="member is 3; it must be the config of a network"):
        NetworkConfig.from_dict(config.to_dict() | {"member": 3})


def test_a_change_reaches_the_members():
    config = EnsembleConfig.of(SAME, 2)
    wider = config.replace(widths=(5, 6), out_channels=4, members=3)
    assert (wider.members, wider.member.widths, wider.member.out_channels, wider.out_channels) == (3, (5, 6), 4, 4)
    with pytest.raises(InputError, match="unknown key 'width'"):
        config.replace(width=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"members": 0}, "members is 0; it must be 1 to 64"),
        ({"members": 65}, "members is 65"),
        ({"member": EnsembleConfig.of(SAME, 2)}, "member is an ensemble"),
        ({"member": preset("probabilistic-unet", widths=(2, 3))}, "which samples segmentations"),
    ],
)
def test_what_is_no_ensemble_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        EnsembleConfig.of(SAME, 2).replace(**changes)
    with pytest.raises(InputError, match="in_channels is 1; it must be the member's, 2"):
        EnsembleConfig(1, 3, 2, 2, SAME)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (member(1, SAME.replace(widths=(3, 5))), r"b: its widths is \[3, 5\], that of a \[3, 4\]"),
        (member(1, class_names=("x", "y", "z")), "b: its class names is x, y, z, that of a empty"),
        (member(1, overlapping=True), "its overlapping is True, that of a False"),
        (member(1, normalization="image", mean=(), std=()), "its normalization is image, that of a dataset"),
        (member(1, reading={"channels": "first"}), "its reading is"),
        (member(1, normalization="ct", low=(0.0, 0.0), high=(1.0, 1.0)), "members must prepare images alike"),
    ],
    ids=["network", "names", "overlap", "normalisation", "reading", "ct"],
)
def test_members_that_do_not_match_are_refused(other, message):
    with pytest.raises(InputError, match=message):
        join([member(0), other], ["a", "b"])
    with pytest.raises(InputError, match="needs at least one checkpoint"):
        join([])


def test_pixels_without_data_need_one_normalisation():
    with pytest.raises(InputError, match="another mean and standard deviation than a, and pixels without data"):
        join([member(0, nodata=float("nan")), member(1, nodata=float("nan"))], ["a", "b"])
    equal = [replace(member(seed), data=DataSpec((0.5, 0.5), (0.2, 0.2), nodata=7.0)) for seed in range(2)]
    assert join(equal).checkpoint.data.nodata == 7.0


def test_label_numbers_are_kept_if_they_are_those_of_all_members():
    numbers = {"class_numbers": "255,0"}
    assert join([member(0, labels=numbers), member(1, labels=numbers)]).checkpoint.data.labels == numbers
    joined = join([member(0, labels=numbers), member(1)])
    assert joined.checkpoint.data.labels is None
    assert any("different numbers" in note for note in joined.notes)


def test_folds_that_clip_to_their_own_limits_join_with_the_narrowest():
    """Each fold has the percentiles of its own training images."""
    ct = {"normalization": "ct"}
    members = [
        member(0, low=(0.1, 0.0), high=(0.9, 0.8), **ct),
        member(1, low=(0.05, 0.05), high=(0.95, 0.75), **ct),
    ]
    joined = join(members)
    assert (joined.checkpoint.data.low, joined.checkpoint.data.high) == ((0.1, 0.05), (0.9, 0.75))
    assert any("clip images to different limits; the ensemble clips to the narrowest" in note for note in joined.notes)
    images = np.clip(IMAGES / np.float32(255), 0.1, 0.7)
    mean = np.mean([chances(each, images) for each in members], axis=0)
    np.testing.assert_allclose(chances(joined.checkpoint, images), mean, atol=1e-6)
    with pytest.raises(
        InputError, match=r"it clips images to 0.5, 0.5 … 0.6, 0.6, checkpoint 0 to 0.1, 0.0 … 0.9, 0.8"
    ):
        join([members[0], member(1, low=(0.5, 0.5), high=(0.6, 0.6), **ct)])


def test_objects_made_in_different_ways_are_left_out_with_a_note():
    joined = join([member(0, objects={"threshold": 0.5}), member(1, objects={"threshold": 0.6})])
    assert joined.checkpoint.data.objects is None
    assert any("--choose-objects" in note for note in joined.notes)


def test_an_ensemble_of_the_other_kind_of_classes_is_not_saved(tmp_path):
    joined = join([member(0), member(1)]).checkpoint
    with pytest.raises(InputError, match=r"takes the mean of each softmax .* these classes need the sigmoid"):
        replace(joined, data=replace(joined.data, overlapping=True)).save(tmp_path / "x")
    assert not (tmp_path / "x").exists()
