"""Compares a bundle's model with fused steps, from bytes to labels or probabilities, with the float64 reference.

It runs in ONNX Runtime, which computes fp16 in float32 on a CPU, so only the steps are checked here. The precision is
checked on the network without fused steps (`unet_tools.checking.runtimes`), whose file has the same recipe.
"""

from __future__ import annotations

import numpy as np

from unet_data import most_probable, present_classes, probabilities
from unet_export import Bundle, Distance
from unet_export.bundle.golden import Golden
from unet_export.onnx.check import read_onnx
from unet_export.onnx.ops import INPUT
from unet_export.reference import FLOAT32_BOUND, Comparison, whole_input
from unet_export.runtimes.onnx_runtime import open_session, run_session
from unet_spec import InputError

from .findings import Finding


def fused_finding(bundle: Bundle) -> Finding | None:
    """The finding on the golden image; None if the bundle has no such model. The comparison is not made if the model
    takes uint8 but the golden image has another dtype, or if ONNX Runtime has no kernel for the precision."""
    entry = bundle.manifest["baked"]
    if entry is None:
        return None
    name, precision = f"onnx, {'+'.join(entry['steps'])} inside", entry["precision"]
    golden = Golden.load(bundle)
    image, reference = golden.image, golden.logits
    if {"softmax", "argmax"} & set(entry["steps"]):
        reference = reference[..., : bundle.config.out_channels]
    image_input = np.moveaxis(golden.input, -1, 1)
    if "normalize" in entry["steps"]:
        if image.dtype != np.uint8:
            return Finding(name, precision, note=f"its input is uint8, the golden image is {image.dtype}")
        image_input = whole_input(bundle.config.geometry, image)
    try:
        content, _, where = read_onnx(bundle.folder / entry["file"], fused=True)
        session = open_session(content, precision, where)
        (output,) = run_session(session, [entry["output"]["name"]], {INPUT: np.ascontiguousarray(image_input)})
    except InputError as e:
        return Finding(name, precision, note=str(e))
    if bundle.data.overlapping:
        output, expected, chosen = _overlapping(output, reference, entry["steps"])
        agreement = float(np.mean(chosen == present_classes(reference)))
    else:
        output, expected, chosen = _as_reference(output, reference, entry["steps"])
        agreement = float(np.mean(chosen == most_probable(reference)))
    minimum_agreement = next(
        p["least_label_agreement"] for p in bundle.manifest["precisions"] if p["precision"] == precision
    )
    if "argmax" in entry["steps"]:
        return Finding(
            name,
            precision,
            label_agreement=agreement,
            least_agreement=minimum_agreement,
            ok=agreement >= minimum_agreement,
        )
    bound = FLOAT32_BOUND if precision == "fp32" else None
    return Finding.of(
        name, precision, Comparison(Distance.between(output, expected), agreement), bound, minimum_agreement
    )


def _as_reference(
    output: np.ndarray, reference: np.ndarray, steps: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The model's output, channels last; the expected output of the reference; and the labels derived from the
    output."""
    if "argmax" in steps:
        return output, most_probable(reference), output
    if "softmax" not in steps:
        output = np.moveaxis(output, 1, -1)
        return output, reference, most_probable(output)
    expected = probabilities(reference)
    if output.shape[-1] == 1:  # of an older version: the probability of class 1 only
        return output, expected[..., 1:], most_probable(output - 0.5)
    return output, expected, most_probable(output)


def _overlapping(
    output: np.ndarray, reference: np.ndarray, steps: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Like `_as_reference`, for overlapping classes: one mask per class instead of labels."""
    if "argmax" in steps:
        return output, present_classes(reference), output
    if "softmax" not in steps:
        output = np.moveaxis(output, 1, -1)
        return output, reference, present_classes(output)
    return output, probabilities(reference, overlapping=True), present_classes(output - 0.5)
