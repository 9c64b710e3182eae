"""nnU-Net's inference behind NVIDIA Triton: a model of its Python backend that asks the networks beside it for logits.

`triton/nnunet/1/model.py` of an exported model is this class, beside its nnunet.json. The Python of the server needs
`pip install unet-twins`, which is NumPy and SciPy and no framework. One request is one case:

    image    float32 (C, z, y, x), as read from the file, not normalised (turned to RAS where the plans' reader does so)
    spacing  float64 (3,): millimetres per voxel (z, y, x)
    labels   uint16 (z, y, x), as `predict_case` gives them
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec.errors import InputError

from .plans import NnunetPlans
from .predict import predict_case

IMAGE, SPACING, LABELS, LOGITS = "image", "spacing", "labels", "logits"


def network_name(fold: str, model: str = "nnunet") -> str:
    """What the network of a fold is called in the repository; model: what the model that asks it is called."""
    return f"{model}_{fold}"


class TritonModel:
    """What Triton calls; `folder` is where nnunet.json is."""

    folder: Path

    def initialize(self, args: dict[str, str]) -> None:
        self.plans = NnunetPlans.load(self.folder)
        self.runs = [partial(_ask, network_name(fold, args["model_name"])) for fold in self.plans.folds]
        window = self.plans.window()
        self.window = replace(window, batch=len(window.views))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response a request; what is wrong with a case is reported in its response."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        utils = _backend()
        image, spacing = (utils.get_input_tensor_by_name(request, name).as_numpy() for name in (IMAGE, SPACING))
        try:
            found = predict_case(self.runs, image, tuple(map(float, spacing)), self.plans, window=self.window)
        except InputError as e:
            return utils.InferenceResponse(error=utils.TritonError(str(e)))
        return utils.InferenceResponse([utils.Tensor(LABELS, found.astype(np.uint16))])


def _ask(network: str, tiles: np.ndarray) -> np.ndarray:
    """Tiles (N, *patch, C) to logits (N, *patch, K), by a model of the same server. Raises InputError."""
    utils = _backend()
    given = utils.Tensor(IMAGE, np.ascontiguousarray(np.moveaxis(tiles, -1, 1)))
    request = utils.InferenceRequest(
        model_name=network,
        requested_output_names=[LOGITS],
        inputs=[given],
        # On a GPU the logits would otherwise stay there.
        preferred_memory=utils.PreferredMemory(utils.TRITONSERVER_MEMORY_CPU, 0),
    )
    response = request.exec()
    if response.has_error():
        raise InputError(f"{network}: {response.error().message()}")
    return np.moveaxis(utils.get_output_tensor_by_name(response, LOGITS).as_numpy(), 1, -1)


def _backend() -> Any:
    import triton_python_backend_utils  # type: ignore[import-not-found]  # only Triton has it

    return triton_python_backend_utils
