"""The search for the layers that must stay in float32."""

import numpy as np
import pytest

from unet_spec import PRESETS, InputError, UNetConfig, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import Distance, OnnxRuntime, PrecisionRecipe, emit_onnx, onnx_bytes, simulate
from unet_export.precision.formats import lower_for
from unet_export.precision.search import Search, smallest_kept
from unet_export.reference import Comparison, compare

from ...fixtures.export_cases import images_for, reference


def overflowing(precision: str = "fp16") -> tuple[UNetConfig, dict]:
    """The logits are those of an ordinary network, but one layer's output is beyond the range of float16."""
    config = PRESETS["paper"].replace(widths=(4, 8))
    tensors = random_tensors(config.graph, 1)
    for key in ("encoder.1.conv1.weight", "encoder.1.conv1.bias"):
        tensors[key] *= np.float32(1e6)
    tensors["encoder.1.conv2.weight"] *= np.float32(1e-6)
    return config, tensors


def test_a_black_mask_is_seen_and_the_layers_that_cause_it_stay_in_float32():
    config, tensors = overflowing()
    images = images_for(config)
    wanted = [reference(config, tensors, images)]
    network = lower_for("fp16", config.graph, tensors)
    logits = simulate(network, PrecisionRecipe("fp16"), images)
    assert not np.isfinite(logits).all()
    assert compare([logits], wanted).label_agreement == 0
    search = Search(network, PrecisionRecipe("fp16"), [images], wanted)
    kept = smallest_kept(search, 0.999)
    assert kept == ("encoder.1.conv1", "encoder.1.conv2"), "who makes the large values, and who takes them"
    good = simulate(network, PrecisionRecipe("fp16", kept), images)
    assert compare([good], wanted).label_agreement >= 0.999
    assert OnnxRuntime(onnx_bytes(emit_onnx(config, tensors, recipe=PrecisionRecipe("fp16", kept)))).precision == "fp16"


class Puzzle(Search):
    """Labels agree if, and only if, the secret convolutions are kept."""

    def __init__(self, names: tuple[str, ...], secret: set[str]):
        self.candidates, self.secret, self.recipe, self._known = names, secret, PrecisionRecipe("int8"), {}

    def compare(self, kept):
        missing = len(self.secret - set(kept))
        return Comparison(Distance(missing, missing, 1, missing), 1 - 0.01 * missing)


@pytest.mark.parametrize("secret", [set(), {"c"}, {"b", "e"}, {"a", "d", "f"}, set("abdef")], ids=len)
def test_the_search_finds_the_smallest_set(secret):
    assert set(smallest_kept(Puzzle(tuple("abcdefgh"), secret), 0.999)) == secret


def test_a_network_that_no_precision_suits_is_refused():
    with pytest.raises(InputError, match=r"int8 changes 3\.00% of the labels even with the best choice"):
        smallest_kept(Puzzle(tuple("abc"), set("abc")), 0.999)
