"""The headline numbers of a report's page: values, names and notes."""

import math

from unet_tools.report.page import _FILTERS, tiles

from .reports import bare, check

NETWORK = {"parameters": 1234567, "convolutions": 23, "macs": 2_500_000_000, "input": [572, 388, 3]}


def lines(**changes):
    return [tuple(tile.values()) for tile in tiles(bare(facts={}, **changes))]


def test_scores_are_shares_with_their_names_and_the_commonest_class():
    scores = {"pixel_accuracy": 0.9, "baseline_pixel_accuracy": 0.75, "pixel_error": 0.1, "iou": 0.5}
    scores |= {"adapted_rand_error": 0.125, "mean_of_all": math.nan, "v_rand": 0.25, "v_rand_threshold": 0.5}
    assert lines(scores=scores) == [
        ("90.00%", "Pixel accuracy", "75.00% if every pixel were the commonest class"),
        ("50.00%", "IoU", "on validation images"),
        ("12.50%", "Adapted Rand error", "on validation images"),
        ("–", "Mean of all", "on validation images"),
        ("25.00%", "V_Rand", "on validation images, at the threshold 0.50"),
    ]
    assert lines(scores={"v_info": 0.5}) == [("50.00%", "V_Info", "on validation images")]
    assert lines(scores={"pixel_accuracy": 0.5}) == [("50.00%", "Pixel accuracy", "on validation images")]


def test_the_worst_check_is_the_one_of_the_largest_error_that_ran():
    parity = [check("JAX", "float64", 1e-14, 1e-12, True), check("ONNX", "float32", 3e-6, 1e-5, True)]
    worst = ("3.0e-6", "Worst parity error")
    assert lines(parity=parity) == [(*worst, "ONNX float32; 2 of 2 checks pass")]
    skipped = [check("TensorRT", "float32", 9.0, 1e-5, None)] * 2
    assert lines(parity=[*parity, *skipped]) == [(*worst, "ONNX float32; 2 of 2 checks pass, 2 not run")]
    assert lines(parity=skipped) == [("–", "Worst parity error", "0 of 0 checks pass, 2 not run")]
    for value in (math.nan, None, math.inf):
        failed = [*parity, check("Torch", "float32", value, 1e-5, False)]
        assert lines(parity=failed) == [("not finite", "Worst parity error", "Torch float32; 2 of 3 checks pass")]


def test_the_worst_tile_of_all_runtimes_is_shown():
    deviations = {"worst_deviation": {"JAX": 1e-7, "ONNX": 4e-7, "Torch": 0.0}}
    for tiling, count in ((deviations, "?"), ({"tiles": 24} | deviations, "24")):
        assert lines(tiling=tiling) == [
            ("4.0e-7", "Tiles against whole image", f"largest deviation of {count} stitched tiles")
        ]
    assert lines(tiling={"worst_deviation": {"JAX": math.nan}})[0][0] == "not finite"
    assert lines(tiling={"tiles": 24}) == []


def test_results_of_a_training_come_before_its_network():
    scores = {"iou": 0.5}
    names = [tile["name"] for tile in tiles(bare(facts=NETWORK, scores=scores))]
    assert names == ["Parameters", "Multiply-adds", "IoU"]
    found = tiles(bare(facts=NETWORK, scores=scores, verdict=["good"]))
    assert [tuple(tile.values()) for tile in found[1:]] == [
        ("1,234,567", "Parameters", "23 convolutions"), ("2.5 G", "Multiply-adds", "for one image of 572 × 388"),
    ]  # fmt: skip
    assert tiles(bare(facts={"parameters": 5})) == [{"value": "5", "name": "Parameters", "note": ""}]


def test_missing_values_are_dashes_and_words():
    shown = {name: _FILTERS[name](None) for name in ("count", "sentence", "verdict", "share", "short", "size")}
    assert shown == {"count": "–", "sentence": "", "verdict": "not run", "share": "–", "short": "–", "size": "–"}
    assert (_FILTERS["count"](1234), _FILTERS["sentence"]("a Bc"), _FILTERS["operation"]("max_pool")) == (
        "1,234", "A Bc", "max pool",
    )  # fmt: skip
    assert len({_FILTERS["verdict"](ok) for ok in (None, True, False)}) == 3
    assert (_FILTERS["verdict"](1), _FILTERS["verdict"](0)) == (_FILTERS["verdict"](True), _FILTERS["verdict"](False))
