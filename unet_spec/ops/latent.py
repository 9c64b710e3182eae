"""A latent variable: where its noise enters, how a sample is drawn with it, what its posterior sees of the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unet_spec.ops.base import Op
from unet_spec.ops.pointwise import Input


@dataclass(frozen=True)
class LatentInput(Input):
    """Where standard normal noise enters, as a map of one pixel with `features` channels. Not given, it is zero."""

    kind: ClassVar[str] = "latent_input"

    def extent(self, axis: int, *inputs: int) -> int:
        return 1


@dataclass(frozen=True)
class LatentSample(Op):
    """mean + exp(log_std) · noise: a sample of a diagonal Gaussian (Kingma and Welling 2014, section 2.4).

    The first input has 2 · features channels, [mean, log_std]; the second is the noise, with features channels.
    """

    kind: ClassVar[str] = "latent_sample"
    features: int

    def channels(self, *inputs: int) -> int:
        return self.features

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        mean, log_std = np.split(inputs[0], 2, axis=-1)
        return mean + np.exp(log_std) * inputs[1]


@dataclass(frozen=True)
class ClassNumbers(Op):
    """A map of labels as it is, but −1 where a label is no class: pixels to be ignored, by whatever number."""

    kind: ClassVar[str] = "class_numbers"
    classes: int

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        (labels,) = inputs
        return np.where((labels >= 0) & (labels < self.classes), labels, np.asarray(-1, labels.dtype))

    def hyper(self) -> str:
        return str(self.classes)
