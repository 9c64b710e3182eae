"""From pixel values to what a network sees: per channel, mean 0 and standard deviation 1 over the training images."""

from dataclasses import dataclass

import numpy as np

from unet_spec.errors import InputError

from .dataset import Dataset
from .tiles import bands

# A channel whose standard deviation is this small beside its mean is constant but for rounding.
_CONSTANT = 1e-6


@dataclass(frozen=True)
class Normalization:
    """One mean and one standard deviation per channel, in units of full scale.

    Integer images count as value / largest value of the dtype (uint8 / 255, uint16 / 65535), so that the same picture
    in 8 and 16 bits has the same statistics; float images count as they are. mean: finite. std: finite, > 0.

    Raises InputError for empty or unequal lengths and values outside these ranges.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise InputError(
                f"a normalization needs one mean and one std per channel, not {len(self.mean)} and {len(self.std)}"
            )
        if not all(np.isfinite(self.mean)) or not all(np.isfinite(value) and value > 0 for value in self.std):
            raise InputError(f"a normalization needs finite means and stds > 0, not {self.mean} and {self.std}")

    def apply(self, image: np.ndarray) -> np.ndarray:
        """(image - m mean) / (m std), with m the largest value of an integer dtype and 1 for floats, in float32.

        image: (..., C), unsigned integer or floating. Result: a new array of the same shape, float32.
        Raises InputError where C differs from the number of means, and for other dtypes.
        """
        if image.ndim < 1 or image.shape[-1] != len(self.mean):
            given = image.shape[-1] if image.ndim else 0
            raise InputError(f"the image has {given} channel(s) but the normalization is for {len(self.mean)}")
        # Written in the image's own units, integers are exact in float32 and the subtraction rounds only once.
        scale = full_scale(image.dtype)
        result = image.astype(np.float32)
        result -= np.asarray([value * scale for value in self.mean], np.float32)
        result /= np.asarray([value * scale for value in self.std], np.float32)
        return result

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> "Normalization":
        """Mean and (population) standard deviation of every channel over all pixels of all images.

        Band by band of each image in float64, joined by the pairwise update of Chan, Golub and LeVeque 1979, which
        does not cancel where the mean is large. A constant channel gets std 1, so that it becomes 0 rather than noise.
        """
        count, mean, spread = 0, np.zeros(dataset.channels), np.zeros(dataset.channels)
        for image, band in ((i, band) for i in dataset.images for band in bands(i.shape[:-1])):
            pixels = image[band].reshape(-1, dataset.channels).astype(np.float64) / full_scale(image.dtype)
            here = pixels.mean(axis=0)
            delta, total = here - mean, count + len(pixels)
            spread += ((pixels - here) ** 2).sum(axis=0) + delta**2 * (count * len(pixels) / total)
            mean += delta * (len(pixels) / total)
            count = total
        std = np.sqrt(spread / count)
        std = np.where(std <= _CONSTANT * np.abs(mean), 1.0, std)
        return cls(tuple(float(value) for value in mean), tuple(float(value) for value in std))


def full_scale(dtype: np.dtype) -> float:
    """The value that counts as 1: 255 for uint8, 65535 for uint16, 1 for floats. Raises InputError for others."""
    if dtype.kind == "f":
        return 1.0
    if dtype in (np.uint8, np.uint16):
        return float(np.iinfo(dtype).max)
    raise InputError(f"cannot normalize {dtype}; images are uint8, uint16 or floating point")
