"""Objects in NVIDIA Triton: a model of its Python backend that separates and numbers objects.

`triton/unet_objects/1/model.py` of a bundle is `TritonModel`; objects.json beside it has the settings of the
separation. The server's Python needs `pip install unet-twins`, which installs NumPy and SciPy but no framework.

    logits          float32 (N, K, *out), perhaps with a distance after them, as the network gives them
    image           uint8 (N, *spatial, C): its size is that of the result
    objects         uint32 (N, *spatial): 0 outside of objects, 1 … n in the order of their first pixels
    object_classes  int64 (N, most): class of each object, padded with 0 to the largest number of objects in an image of
                    the request, at least to length 1
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_data.inference.output import Output
from unet_data.objects.settings import ObjectSettings, settings_for
from unet_spec import DataSpec, InputError, NetworkConfig

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, UInt32

IMAGE, LOGITS, OBJECTS, CLASSES = "image", "logits", "objects", "object_classes"
FILE = "objects.json"


@dataclass(frozen=True)
class ObjectStep:
    """Separates objects in a network's output, like `Predictor.objects`.

    Attributes:
        settings: settings that separate objects.
        spatial_dims: 2 for images, 3 for volumes.
        distance: whether the network's last channel is a distance.
    """

    settings: ObjectSettings
    spatial_dims: int = 2
    distance: bool = False

    @classmethod
    def of_network(cls, config: NetworkConfig, data: DataSpec) -> ObjectStep:
        """The settings stored with a network, or the defaults for its classes. Raises InputError if its classes
        overlap, or the settings do not fit it."""
        return cls(settings_for(data, config), config.spatial_dims, config.distance_head)

    @classmethod
    def load(cls, folder: Path) -> ObjectStep:
        """Reads objects.json in a folder. Raises InputError if it is damaged."""
        path = folder / FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            settings, dims, distance = values["settings"], int(values["spatial_dims"]), bool(values["distance"])
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise InputError(f"{path} is damaged ({type(e).__name__}: {e}); export the bundle again") from None
        return cls(ObjectSettings.from_dict(settings, str(path)), dims, distance)

    def save(self, folder: Path) -> None:
        """Writes objects.json into a folder."""
        settings = self.settings.to_dict()
        values = {"spatial_dims": self.spatial_dims, "distance": self.distance, "settings": settings}
        (folder / FILE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    def __call__(
        self, logits: Float32[np.ndarray, "n k *out"], size: Sequence[int]
    ) -> tuple[UInt32[np.ndarray, "*n_spatial"], Int64[np.ndarray, "n most"]]:
        """Numbers the objects of images.

        Args:
            logits: output of the network, as large as the images or larger.
            size: size of the images; the result is cropped to it.

        Returns:
            Object numbers (N, *spatial), and the class of each object, padded with 0 to the largest number of objects
            in an image, at least to length 1.

        Raises:
            InputError: the logits are not finite.
        """
        from unet_data.objects.whole import objects_of  # slow to import

        output = Output("objects", distance=self.distance)
        cut = (..., *(slice(0, n) for n in size), slice(None))
        values = np.moveaxis(logits, 1, -1)[cut]
        if not np.isfinite(values).all():
            raise InputError("the network's output is not finite, so there are no objects")
        found = [objects_of(output.of(image), self.settings, self.spatial_dims) for image in values]
        classes = np.zeros((len(found), max([1, *(len(own) for _, own in found)])), np.int64)
        for row, (_, own) in zip(classes, found, strict=True):
            row[: len(own)] = own
        return np.stack([labels for labels, _ in found]), classes


class TritonModel:
    """The interface for Triton. `folder`: the folder of objects.json."""

    folder: Path

    def initialize(self, args: dict[str, str]) -> None:
        self.step = ObjectStep.load(self.folder)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response per request; errors are reported in the response."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        import triton_python_backend_utils as utils  # type: ignore[import-not-found]  # only Triton has it

        logits, image = (utils.get_input_tensor_by_name(request, name).as_numpy() for name in (LOGITS, IMAGE))
        try:
            objects, classes = self.step(logits, image.shape[1:-1])
        except InputError as e:
            return utils.InferenceResponse(error=utils.TritonError(str(e)))
        return utils.InferenceResponse([utils.Tensor(OBJECTS, objects), utils.Tensor(CLASSES, classes)])
