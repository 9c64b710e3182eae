"""A bundle's model with baked-in steps, from bytes to labels or probabilities, against the float64 reference.

It runs in ONNX Runtime, which computes fp16 in float32 on a CPU: what is judged here are the steps. The precision is
judged on the network alone (`unet_tools.checking`), whose file has the same recipe.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from unet_data.predict import labels, probabilities
from unet_export import Bundle, Distance
from unet_export.manifest import GOLDEN
from unet_export.onnx_check import read_onnx
from unet_export.onnx_ops import INPUT
from unet_export.onnx_runtime import open_session, run_session
from unet_export.parity import whole_input
from unet_spec import InputError
from unet_tools.findings import BOUNDS, Finding


def baked_finding(bundle: Bundle) -> Finding | None:
    """On the golden image; None where the bundle has no such model. Not made where the golden image is not of bytes but
    the model takes bytes, and where ONNX Runtime has no kernel for the precision."""
    entry = bundle.manifest["baked"]
    if entry is None:
        return None
    name, precision = f"onnx, {'+'.join(entry['steps'])} inside", entry["precision"]
    with np.load(bundle.folder / GOLDEN, allow_pickle=False) as golden:
        image, x, reference = golden["image"], golden["input"], golden["logits"]
    given = np.moveaxis(x, -1, 1)
    if "normalize" in entry["steps"]:
        if image.dtype != np.uint8:
            return Finding(name, precision, "NumPy float64", note=f"it takes bytes, the golden image is {image.dtype}")
        given = whole_input(bundle.config.geometry, image)
    try:
        content, _, where = read_onnx(bundle.folder / entry["file"], baked=True)
        session = open_session(content, precision, where)
        (found,) = run_session(session, [entry["output"]["name"]], {INPUT: np.ascontiguousarray(given)})
    except InputError as e:
        return Finding(name, precision, "NumPy float64", note=str(e))
    found, wanted, chosen = _as_reference(found, reference, entry["steps"])
    agreement = float(np.mean(chosen == labels(reference)))
    least = next(p["least_label_agreement"] for p in bundle.manifest["precisions"] if p["precision"] == precision)
    finding = Finding(name, precision, "NumPy float64", label_agreement=agreement, least_agreement=least)
    if "argmax" in entry["steps"]:
        return replace(finding, ok=agreement >= least)
    distance = Distance.between(found, wanted)
    bound = BOUNDS["float32"] if precision == "fp32" else None
    return replace(
        finding,
        worst_relative=distance.worst_relative,
        rms_relative=distance.rms / (distance.reference_max or 1.0),
        bound=bound,
        ok=agreement >= least and (bound is None or distance.worst_relative <= bound),
    )


def _as_reference(
    found: np.ndarray, reference: np.ndarray, steps: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the model gave, what the reference says of it, and the labels that follow from what the model gave."""
    if "argmax" in steps:
        return found, labels(reference), found
    if "softmax" not in steps:
        found = np.moveaxis(found, 1, -1)
        return found, reference, labels(found)
    wanted = probabilities(reference)
    if found.shape[-1] == 1:  # of class 1 alone
        return found, wanted[..., 1:], labels(found - 0.5)
    return found, wanted, labels(found)
