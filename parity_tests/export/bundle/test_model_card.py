"""The README of a bundle says what the manifest and the comparison say."""

import copy

import pytest

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
from unet_export.bundle.describe import describe, describe_fused
from unet_export.bundle.engines import Source
from unet_export.bundle.model_card import model_card
from unet_export.precision.formats import PrecisionRecipe
from unet_export.precision.variants import Variant
from unet_export.tensorrt.engine_record import EngineRecord
from unet_export.tensorrt.profile import Profile
from unet_spec import Checkpoint, DataSpec, preset, random_tensors

CONFIG = preset("paper", widths=(2, 4), in_channels=3)
PARITY = {
    "bound": 1e-5,
    "results": [
        {"runtime": "onnxruntime", "version": "1.2", "precision": "fp32", "worst_relative": 2e-7, "rms": 3e-6,
         "reference_max": 30.0, "label_agreement": 1.0},
        {"runtime": "simulation", "precision": "fp16", "worst_relative": 4e-4, "rms": 5e-5, "reference_max": 0.0,
         "label_agreement": 0.99987, "least_label_agreement": 0.999, "inputs": 3},
    ],
    "not_run": [
        {"runtime": "tensorrt", "precision": "int8", "reason": "no GPU"},
        {"runtime": "tensorrt_rtx", "reason": "not installed"},
        {"runtime": "tensorrt", "precision": "fp16", "file": "engines/a.plan", "reason": "too new"},
    ],
}  # fmt: skip


def card(config=CONFIG, data=None, extras=(), objects=False, variants=(), engines=(), fused=None, **changes) -> str:
    point = Checkpoint(config, random_tensors(config.graph, 0), data or DataSpec())
    manifest = describe(point, variants, engines, None, fused, None) | changes
    return model_card(copy.deepcopy(manifest), PARITY, extras, objects)


def test_errors_are_shares_of_the_largest_logit_and_what_was_not_run_has_its_reason():
    lines = card().splitlines()
    assert "| onnxruntime 1.2 | fp32 | 2.0e-07 | 1.0e-07 | 100.000% |  |" in lines
    assert "| simulation  | fp16 | 4.0e-04 | 5.0e-05 | 99.987% | 99.9% |" in lines
    assert [line for line in lines if line.startswith("- not run")] == [
        "- not run: tensorrt int8 (no GPU)",
        "- not run: tensorrt\\_rtx (not installed)",
        "- not run: engines/a.plan (too new)",
    ]
    (line,) = [line for line in lines if "bound of float32" in line]
    assert "relative to its largest logit (bound of float32: 1e-05). A simulation" in line
    assert line.endswith("It was compared on 3 images.")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"out_channels": 1}, "The logit of class 1; its sigmoid is a probability."),
        ({"out_channels": 3}, "Logits; softmax over C."),
        ({"out_channels": 1, "distance_head": True}, "The logit of class 1; its sigmoid is a probability. Last: the"),
        ({"out_channels": 3, "distance_head": True}, "Logits; softmax over all channels but the last. Last: the"),
    ],
)
def test_the_meaning_of_the_channels(changes, sentence):
    assert f"pixels per side. {sentence}" in card(CONFIG.replace(**changes))
    overlapping = card(CONFIG, DataSpec(class_names=("a", "b"), overlapping=True))
    assert "One logit for each class, which may overlap; the sigmoid of each is its probability." in overlapping


def test_axes_sizes_and_tiles_are_in_the_order_of_the_axes():
    flat, solid = card(), card(preset("same", widths=(2, 4), spatial_dims=3))
    assert "(images)  # (N, H, W, C), any size" in flat
    assert "(images)  # (N, D, H, W, C), any size" in solid
    assert "- `image`: float32, (N, C = 3, H, W). Sizes that fit: H: 18 + 2 k, W: 18 + 2 k." in flat
    assert "(N, C = 1, D, H, W)" in solid
    assert "- `logits`: float32, (N, C = 2, H, W), smaller by 8/8 pixels per side." in flat
    tiling = {"exact": True, "tile": [20, 30], "stride": [4, 14], "border": ""}
    text = card(tiling=tiling, sizes=[{"minimum": 18, "step": 2}, {"minimum": 20, "step": 4}], margin=[8, 9])
    assert "tiles of 20x30 every 4x14 pixels" in text
    assert "H: 18 + 2 k, W: 20 + 4 k" in text
    assert "smaller by 8/9 pixels per side" in text
    assert "run the image in one piece" in card(tiling=tiling | {"exact": False})


def test_the_network_and_its_classes_are_named():
    text = card()
    assert "A 2-D U-Net with widths 2 4, valid convolutions, norm: none. Classes: 2." in text
    assert "Classes: a, b\\_c." in card(CONFIG, DataSpec(class_names=("a", "b_c")))
    family = card(preset("sa-unet", widths=(4, 6)))
    assert "A 2-D sa-unet: widths 4 6, " in family
    assert not {"in_channels", "out_channels", "spatial_dims", "architecture"} & set(family.split())


def test_files_say_what_stays_in_float32_and_where_engines_run():
    profile = Profile((1, 18, 20), (1, 32, 32), (4, 64, 68))
    rest = (True, profile, {}, 4, 0.0, "0" * 64)
    engines = [
        EngineRecord("a.plan", "tensorrt_rtx", "1.7", ("80", "89"), "fp16", *rest),
        EngineRecord("b.plan", "tensorrt", "11.0", (), "fp32", *rest),
    ]
    variants = [
        Variant(PrecisionRecipe("fp16", ("head",)), "model-fp16.onnx", ("up",)),
        Variant(PrecisionRecipe(), "model.onnx"),
    ]
    point = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0))
    source = Source("model-fp16-baked.onnx", "fp16", True)
    fused = describe_fused(
        point, source, ("normalize", "argmax"), [EngineRecord("c.plan", "x", "1", (), "fp16", *rest)]
    )
    lines = card(variants=variants, engines=engines, fused=fused).splitlines()
    start = "- `model-fp16.onnx`: fp16, for any ONNX runtime that has the type; in float32: head, up."
    assert start in lines
    assert "- `model.onnx`: fp32, for any ONNX runtime that has the type." in lines
    end = "(batch, size) from (1, 18, 20) to (4, 64, 68)."
    assert f"- `engines/a.plan`: tensorrt_rtx 1.7 and no other version, fp16, compute capability 80, 89; {end}" in lines
    native = "compute capability the GPU that it was built on"
    assert f"- `engines/b.plan`: tensorrt 11.0 and no other version, fp32, {native}; {end}" in lines
    assert f"- `engines/c.plan`: x 1 and no other version, fp16, {native}; {end}" in lines
    assert (
        "- `model-fp16-baked.onnx`: fp16 with normalize, argmax fused in: `image` uint8 (N, H, W, C = 3) to `labels` "
        "uint8 (N, H, W), sizes as above."
    ) in lines


def test_limits_objects_and_further_files():
    text = card(extras=("nnunet.json", "notes.txt"), checkpoint_digest="0123456789abcdefXYZ")
    assert "Licence of the weights: not stated; ask whoever gave them to you." in text
    assert "Licence of the weights: MIT." in card(licence="MIT")
    assert "- Weights: checkpoint 0123456789abcdef…" in text
    assert "- `nnunet.json`: nnU-Net's plans: " in text
    assert "- `notes.txt`: comes with the checkpoint." in text
    assert "labels and probabilities." in text
    assert "numbered objects with their classes; the server's Python needs" in card(objects=True)
