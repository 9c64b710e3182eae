"""nnU-Net's inference in NVIDIA Triton: a model for its Python backend that calls the networks beside it for logits.

`triton/nnunet/1/model.py` of an exported model is this class, beside its nnunet.json. In the server's Python,
`pip install unet-twins` is needed, which installs NumPy and SciPy but no framework. One request is one case:

    image    float32 (C, z, y, x), values of the file, not normalised (turned to RAS if the plans' reader does so)
    spacing  float64 (3,): millimetres per voxel (z, y, x)
    labels   uint16 (z, y, x), as returned by `predict_case`
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
    """Name of a fold's network in the repository. `model` is the name of the model that calls it."""
    return f"{model}_{fold}"


class TritonModel:
    """The class that Triton calls. `folder` contains nnunet.json."""

    folder: Path

    def initialize(self, args: dict[str, str]) -> None:
        self.plans = NnunetPlans.load(self.folder)
        self.runs = [partial(_ask, network_name(fold, args["model_name"])) for fold in self.plans.folds]
        window = self.plans.window()
        self.window = replace(window, batch=len(window.views))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response per request. The error of a case is reported in its response."""
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
    """Computes logits (N, *patch, K) of tiles (N, *patch, C) by a model of the same server. Raises InputError."""
    utils = _backend()
    given = utils.Tensor(IMAGE, np.ascontiguousarray(np.moveaxis(tiles, -1, 1)))
    request = utils.InferenceRequest(
        model_name=network,
        requested_output_names=[LOGITS],
        inputs=[given],
        # Otherwise the logits would stay on the GPU.
        preferred_memory=utils.PreferredMemory(utils.TRITONSERVER_MEMORY_CPU, 0),
    )
    response = request.exec()
    if response.has_error():
        raise InputError(f"{network}: {response.error().message()}")
    return np.moveaxis(utils.get_output_tensor_by_name(response, LOGITS).as_numpy(), 1, -1)


def _backend() -> Any:
    import triton_python_backend_utils  # type: ignore[import-not-found]  # only Triton has it

    return triton_python_backend_utils
