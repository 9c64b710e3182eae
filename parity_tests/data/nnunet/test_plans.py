"""Plans of nnU-Net that are read, stored, or refused."""

from __future__ import annotations

import copy
import json

import pytest

from unet_data.nnunet import NnunetPlans, find_plans
from unet_data.nnunet.plans import Resampling
from unet_spec import Checkpoint, InputError, preset, random_tensors

from .example_plans import DATASET, MEASURED, checked_plans, plans


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalization_schemes": ["Magic"]}, "unknown normalization scheme 'Magic'"),
        ({"resampling_fn_data": "resample_torch_fornnunet"}, "unknown resampling_fn_data"),
        ({"use_mask_for_norm": []}, "0 use_mask_for_norm for 1 channels"),
        ({"previous_stage": "3d_lowres"}, "second stage of a cascade"),
        ({"spacing": [1.0]}, "must both have 2 or 3 axes"),
        ({"inherits_from": "2d"}, "no usable configuration '2d'"),
        *[({"spacing": [1.0, bad, 1.0]}, "each above 0") for bad in (0, -1, 1e-9, 1e9, float("nan"))],
        *[({"patch_size": [4, bad, 4]}, "whole numbers of voxels") for bad in (0, -4, 4.5, "4", True, 2**40)],
        ({"patch_size": "444"}, "whole numbers of voxels"),
    ],
)
def test_plans_that_cannot_be_followed_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        checked_plans(**changes)


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ({"mean": []}, "'mean' of channel 0 must be a number"),
        ({"std": True}, "'std' of channel 0 must be a number"),
        ({"percentile_99_5": None}, "'percentile_99_5' of channel 0 must be a number"),
    ],
)
def test_intensities_of_ct_are_numbers(measured, message):
    made = plans(normalization_schemes=["CTNormalization"])
    made["foreground_intensity_properties_per_channel"] = {"0": MEASURED | measured}
    with pytest.raises(InputError, match=message):
        assert NnunetPlans(made, DATASET, "3d_fullres").intensities


@pytest.mark.parametrize("ending", ["/../../x.sh", "\\x", ".nii/", "", ".", "..", "nii", ".n\nii", ".sh\x00", 7])
def test_the_end_of_a_files_name_is_no_path(ending):
    with pytest.raises(InputError, match="file_ending is"):
        checked_plans(DATASET | {"file_ending": ending})
    assert checked_plans(DATASET | {"file_ending": ".nii"}).file_ending == ".nii"


@pytest.mark.parametrize("fold", ["..", "../fold_0", "/tmp", "a/b", ""])
def test_a_fold_is_a_folder_beside_the_file(fold):
    with pytest.raises(InputError, match="folds is"):
        NnunetPlans(plans(), DATASET, "3d_fullres", (), (fold,))


def test_plans_survive_their_file(tmp_path):
    own = NnunetPlans(plans(), DATASET, "3d_fullres", (0, 2), ("fold_0", "fold_1"), "nnUNetTrainer_5epochs")
    own.save(tmp_path)
    assert NnunetPlans.load(tmp_path) == own
    (tmp_path / "nnunet.json").write_text("{}")
    with pytest.raises(InputError, match="expected format 'unet-nnunet'"):
        NnunetPlans.load(tmp_path)
    (tmp_path / "nnunet.json").write_text(own.to_json().replace('"plans": {', '"plans": [{').rstrip()[:-1] + "]}")
    with pytest.raises(InputError, match=r"nnunet\.json"):
        NnunetPlans.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, d: p.update(transpose_forward=[0, 1]), r"transpose_forward is \(0, 1\); it must be an order of"),
        (lambda p, d: p.update(image_reader_writer="Tiff"), "'Tiff' does not read NIfTI; known: "),
        (lambda p, d: p["configurations"]["3d_fullres"].pop("patch_size"), "'3d_fullres' has no 'patch_size'"),
        (lambda p, d: p["configurations"].clear(), "no usable configuration '3d_fullres'; available: $"),
        (lambda p, d: d.pop("channel_names"), "dataset: no 'channel_names'"),
        (lambda p, d: d.update(labels={"organ": 1}), "'labels' must name the labels, with background 0"),
        (lambda p, d: d.update(labels={"background": 1, "organ": 0}), "with background 0"),
        (lambda p, d: d["labels"].update(both=[1, 2]), "regions_class_order is None; it must give"),
        (lambda p, d: d.update(regions_class_order=[1], labels={"background": 0, "both": [1, 2], "one": [1]}),
         r"regions_class_order is \[1\]; it must give a label to each of 2 regions"),
    ],
)  # fmt: skip
def test_a_fact_that_is_missing_or_wrong_is_named(change, message):
    changed, dataset = plans(), copy.deepcopy(DATASET)
    change(changed, dataset)
    with pytest.raises(InputError, match=message):
        NnunetPlans(changed, dataset, "3d_fullres")


@pytest.mark.parametrize("axes", [(3,), (-1,), (True,), ("0",), (0, 1, 2, 3)])
def test_axes_to_mirror_are_those_of_the_patch(axes):
    with pytest.raises(InputError, match="must name axes of a 3-D patch, from 0"):
        NnunetPlans(plans(), DATASET, "3d_fullres", axes)


@pytest.mark.parametrize(
    ("labels", "order", "regions", "heads"),
    [
        ({"background": 0, "a": 1, "b": 2}, None, None, 3),
        ({"background": 0, "a": 1, "ignore": 2}, None, None, 2),
        ({"background": 0, "a": [1], "b": [2]}, None, None, 3),  # each a single label: no regions
        ({"background": 0, "whole": [1, 2], "core": [2]}, [1, 2], (1, 2), 2),
        ({"background": [0], "whole": [1, 2], "core": 2, "ignore": 3}, [2, 1], (2, 1), 2),
    ],
)
def test_channels_of_the_logits_follow_from_the_labels(labels, order, regions, heads):
    dataset = DATASET | {"labels": labels} | ({} if order is None else {"regions_class_order": order})
    if labels["background"] != 0:
        with pytest.raises(InputError, match="with background 0"):
            checked_plans(dataset)
        dataset["labels"]["background"] = 0
    found = checked_plans(dataset)
    assert (found.regions, found.heads) == (regions, heads)


def test_a_configuration_inherits_what_it_does_not_say():
    made = plans()
    made["configurations"]["fine"] = {"inherits_from": "3d_fullres", "patch_size": [8, 4, 4], "spacing": [2, 1, 1]}
    found = NnunetPlans(made, DATASET, "fine")
    assert (found.patch, found.spacing) == ((8, 4, 4), (2.0, 1.0, 1.0))
    assert found.schemes == (("ZScoreNormalization", False),)
    made["configurations"]["3d_fullres"]["inherits_from"] = "fine"
    with pytest.raises(InputError, match="no usable configuration 'fine'"):  # a circle
        NnunetPlans(made, DATASET, "fine")


def test_channels_are_in_the_order_of_their_numbers():
    names = {"10": "k", "2": "c", "0": "a"}
    dataset = DATASET | {"channel_names": names}
    own = {"normalization_schemes": ["ZScoreNormalization"] * 3, "use_mask_for_norm": [False, True, False]}
    found = checked_plans(dataset, **own)
    assert found.channel_names == ("a", "c", "k")
    assert [masked for _, masked in found.schemes] == [False, True, False]
    old = {key: value for key, value in dataset.items() if key != "channel_names"} | {"modality": names}
    assert checked_plans(old, **own).channel_names == ("a", "c", "k")


def test_resampling_is_of_data_and_of_probabilities():
    kwargs = {"order": 2, "order_z": 1, "force_separate_z": True}
    found = checked_plans(resampling_fn_data_kwargs=kwargs, resampling_fn_probabilities_kwargs=None)
    assert found.data_resampling == Resampling(2, 1, True, False)
    assert found.logits_resampling == Resampling(3, 0, False, False)


def test_a_network_that_does_not_fit_the_plans_is_named():
    found = checked_plans()
    same = preset("same", widths=(2, 3), spatial_dims=3)
    found.check(same)
    with pytest.raises(InputError, match=r"^ck: 2-D with 1 channels and 2 outputs; the plans say \(3, 1, 2\)"):
        found.check(preset("same", widths=(2, 3)), "ck")
    with pytest.raises(InputError, match=r"3-D with 1 channels and 3 outputs"):
        found.check(same.replace(out_channels=3))


def test_a_converted_folder_is_found_by_the_files_beside_its_folds(tmp_path):
    assert find_plans(tmp_path) is None
    config = preset("same", widths=(2, 3), spatial_dims=3)
    for name in ("fold_1", "fold_0"):
        Checkpoint(config, random_tensors(config.graph, 0)).save(tmp_path / name)
    assert find_plans(tmp_path) is None
    (tmp_path / "plans.json").write_text(json.dumps(plans()))
    assert find_plans(tmp_path) is None
    (tmp_path / "dataset.json").write_text(json.dumps(DATASET))
    found = find_plans(tmp_path)
    assert (found.configuration, found.folds) == ("3d_fullres", ("fold_0", "fold_1"))
    assert (found.mirror_axes, found.trainer) == ((), "nnUNetTrainer")
    assert found.plans == plans()
    own = NnunetPlans(plans(), DATASET, "3d_fullres", (1,), ("fold_0",), "own")
    own.save(tmp_path)  # the file of a conversion says more
    assert find_plans(tmp_path) == own
