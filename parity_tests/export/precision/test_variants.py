"""The precisions of a bundle: which images search, which compare, and how much of the allowance a search uses."""

from types import SimpleNamespace

import numpy as np
import pytest

from unet_spec import PRESETS, Checkpoint, DataSpec, InputError, preset, random_tensors

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
from unet_export.precision import variants
from unet_export.precision.formats import AGREEMENT, PrecisionRecipe
from unet_export.precision.variants import Variant, choose_variants
from unet_export.reference import Comparison, Distance, reference_logits

CONFIG = PRESETS["same"].replace(widths=(2, 4), out_channels=3, distance_head=True)
POINT = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0), DataSpec((0.5,), (0.2,)))
GOLDEN = (np.full((1, 8, 8, 1), 99.0, np.float32), np.full((1, 8, 8, 4), 99.0))


def compared(agreement: float) -> Comparison:
    return Comparison(Distance(1.0, 0.5, 4.0, 0.25), agreement)


class Steps:
    """Stands for the slow steps, and records their arguments. agreements: results of comparisons, in order."""

    def __init__(self, patch: pytest.MonkeyPatch, count: int, agreements: list[float], kept: tuple[str, ...] = ()):
        self.agreements, self.bounds, self.classes, self.compared = iter(agreements), [], [], []
        self.ranged, self.searched, self.recipes = [], [], []
        images = [np.full((1, 16, 16, 1), float(k), np.float32) for k in range(count)]
        patch.setattr(variants, "windows", lambda given, config, data: images)
        patch.setattr(variants, "reference_logits", lambda point, image: image + 100)
        patch.setattr(variants, "activation_ranges", self.ranges)
        patch.setattr(variants, "Search", self.search)
        patch.setattr(variants, "smallest_kept", lambda search, bound: self.bounds.append(bound) or kept)
        patch.setattr(variants, "simulate", lambda network, recipe, image: self.recipes.append(recipe) or image + 200)
        patch.setattr(variants, "compare", self.compare)

    def ranges(self, network, inputs, precision):
        self.ranged.append([x.max() for x in inputs])
        return {"encoder.0.conv1": 2.0, "head": 3.0}

    def search(self, network, recipe, inputs, references, classes, probe):
        self.searched.append(([x.max() for x in inputs], [x.max() for x in references], classes, probe.shape))
        return SimpleNamespace(recipe=recipe, trials=7)

    def compare(self, candidates, references, classes):
        self.compared.append(([x.max() for x in candidates], [x.max() for x in references], classes))
        return compared(next(self.agreements))


def test_every_second_image_searches_and_the_others_and_the_golden_one_compare(monkeypatch):
    steps, lines = Steps(monkeypatch, 5, [0.998, 0.997], ("head",)), []
    narrow, plain = choose_variants(POINT, ["int8"], [np.zeros((9, 9, 1))], GOLDEN, lines.append)
    assert steps.ranged == [[0, 2, 4]]
    assert steps.searched == [([0, 2, 4], [100, 102, 104], 3, (1, 16, 16, 1))]
    assert steps.compared == [([201, 203], [101, 103], 3), ([299], [99], 3)]
    assert (narrow.compared_on, narrow.searched_on, narrow.trials) == (2, 3, 7)
    assert narrow.comparison == compared(0.998)
    assert narrow.recipe == PrecisionRecipe("int8", ("head",), {"encoder.0.conv1": 2.0})
    assert plain == Variant(PrecisionRecipe(), "model.onnx")
    assert lines == ["int8: 99.8000% of labels agree; head kept in float32"]


@pytest.mark.parametrize("calibration", [None, [np.zeros((9, 9, 1))]])
def test_a_single_image_is_used_for_everything(calibration, monkeypatch):
    steps, lines = Steps(monkeypatch, 1, [1.0, 1.0]), []
    narrow = choose_variants(POINT, ["fp16"], calibration, GOLDEN, lines.append)[0]
    which = "the golden image (synthetic, unless --golden gives one)" if calibration is None else "one image"
    expected = f"fp16: compared on {which} alone; several images with --calibrate show what holds for others"
    assert lines[1:] == [expected]
    only = 99 if calibration is None else 0
    reference = 99 if calibration is None else 100
    assert steps.searched[0][:2] == ([only], [reference])
    assert steps.compared == [([only + 200], [reference], 3), ([299], [99], 3)]
    assert (narrow.compared_on, narrow.searched_on) == (1, 1)
    assert steps.ranged == []


@pytest.mark.parametrize("decides", ["the images", "the golden one"])
@pytest.mark.parametrize("trials", [1, 2, 3])
def test_a_search_that_other_images_contradict_may_use_less_of_the_allowance(trials, decides, monkeypatch):
    low, high = 0.9949, AGREEMENT["int8"]
    bad = [low, 1.0] if decides == "the images" else [1.0, low]
    steps = Steps(monkeypatch, 4, bad * (trials - 1) + [high, high])
    choose_variants(POINT, ["int8"], [np.zeros((9, 9, 1))], GOLDEN)
    assert steps.bounds == pytest.approx([1 - share * 0.005 for share in (0.9, 0.7, 0.5)[:trials]])


@pytest.mark.parametrize(
    ("images", "last", "on"),
    [
        (4, [0.97, 0.98], "images that it was not calibrated on"),
        (1, [0.97, 0.98], "the image that it was calibrated on"),
        (4, [0.98, 0.97], "the golden image"),
    ],
)
def test_a_precision_that_changes_too_many_labels_is_refused(images, last, on, monkeypatch):
    steps = Steps(monkeypatch, images, [0.99, 1.0] * 2 + last)
    with pytest.raises(InputError, match=rf"int8 changes 3\.00% of the labels on {on}; allowed is 0\.50%; give"):
        choose_variants(POINT, ["int8"], [np.zeros((9, 9, 1))], GOLDEN)
    assert len(steps.bounds) == 3


def test_tf32_has_nothing_to_search_and_the_file_of_float32(monkeypatch):
    steps = Steps(monkeypatch, 2, [0.9995, 0.9995])
    tf32, plain = choose_variants(POINT, ["tf32"], None, GOLDEN)
    assert (steps.bounds, steps.ranged) == ([], [])
    assert [r.precision for r in steps.recipes] == ["tf32", "tf32"]
    assert (tf32.file, tf32.precision, plain.precision) == ("model.onnx", "tf32", "fp32")


def test_precisions_keep_their_order_and_float32_is_the_last_if_it_is_not_named(monkeypatch):
    for asked, order in ((["fp16"], "fp16 fp32"), (["fp32", "bf16"], "fp32 bf16"), (["bf16", "fp32"], "bf16 fp32")):
        Steps(monkeypatch, 1, [1.0] * 9)
        assert " ".join(v.precision for v in choose_variants(POINT, asked, None, GOLDEN)) == order
    assert [v.precision for v in choose_variants(POINT, [], None, GOLDEN)] == ["fp32"]


@pytest.mark.parametrize(
    ("precisions", "message"),
    [
        (["fp16", "fp16"], "a precision is listed twice: fp16 fp16"),
        (["fp4"], "unknown precision 'fp4'"),
        (["fp16", "fp8"], "fp8 must be calibrated on representative images; --calibrate DATA"),
    ],
)
def test_what_no_search_can_begin_with(precisions, message):
    with pytest.raises(InputError, match=message):
        choose_variants(POINT, precisions, None, GOLDEN)


def test_what_no_builder_can_do_in_the_precision_is_stated():
    config = preset("same", widths=(2, 4), spatial_dims=3)
    point = Checkpoint(config, random_tensors(config.graph, 1))
    image = np.random.default_rng(0).normal(size=(1, 4, 8, 8, 1)).astype(np.float32)
    lines = []
    narrow = choose_variants(point, ["bf16"], None, (image, reference_logits(point, image)), lines.append)[0]
    assert narrow.kept_for_builder == ("decoder.0.up",)
    assert lines[0].endswith("decoder.0.up kept in float32")
    assert narrow.to_dict()["kept_for_builder"] == ["decoder.0.up"]


def test_the_entries_of_a_variant():
    variant = Variant(PrecisionRecipe("fp16", ("head",)), "model-fp16.onnx", ("up",), compared(0.9992), 2, 3, 7)
    assert variant.to_dict() == {
        "precision": "fp16", "file": "model-fp16.onnx", "kept_float32": ["head"], "kept_for_builder": ["up"],
        "least_label_agreement": 0.999,
    }  # fmt: skip
    assert variant.parity() == {
        "runtime": "simulation", "precision": "fp16", "file": "model-fp16.onnx", "worst_absolute": 1.0, "rms": 0.5,
        "reference_max": 4.0, "worst_relative": 0.25, "label_agreement": 0.9992, "least_label_agreement": 0.999,
        "inputs": 2, "searched_on": 3, "trials": 7,
    }  # fmt: skip
    assert variants._in_words(variant) == "99.9200% of labels agree; head, up kept in float32"
    plain = Variant(PrecisionRecipe("fp16"), "model-fp16.onnx", comparison=compared(1.0))
    assert variants._in_words(plain) == "100.0000% of labels agree; no layer kept in float32"
    assert Variant(PrecisionRecipe(), "model.onnx").parity() is None
    assert [variants.onnx_name(p) for p in ("fp32", "tf32", "int8")] == ["model.onnx"] * 2 + ["model-int8.onnx"]


def test_layers_are_ranked_on_the_middle_of_an_image():
    image = np.arange(41 * 26, dtype=np.float32).reshape(1, 41, 26, 1)[:, :40, :24]
    found = variants._probe(image, CONFIG.geometry)
    np.testing.assert_array_equal(found, image[:, 10:30, 2:22])
    assert found.flags.c_contiguous
    whole = preset("paper", widths=(2, 4)).geometry  # its smallest input is larger than half
    np.testing.assert_array_equal(variants._probe(image[:, :20, :20], whole), image[:, 1:19, 1:19])
