"""Facts about images and classes that are stored with the weights: the object "data" of config.json."""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from ..errors import InputError
from ..network import NetworkConfig

NormalizationName = Literal["dataset", "image", "percentile", "ct", "none"]

_LABELS = {"labels": "semantic|instance|overlapping", "ignore": r"-?\d{1,18}", "class_numbers": "(?s:.*)"}
"""Allowed values of the fields of `DataSpec.labels`, as regular expressions."""


@dataclass(frozen=True)
class DataSpec:
    """Input normalisation, class names and how files were read, stored with the weights.

    Attributes:
        mean, std: per channel, for (image − mean) / std. Before that, integers are divided by the maximum of their
            dtype (uint8 / 255); floats are not changed. Empty: no normalisation.
        class_names: one name for each class. Empty: no names.
        overlapping: whether a pixel may have several classes. If so, the sigmoid of each logit is the probability of
            its class; otherwise the softmax over the logits gives the probabilities.
        normalization: how images are normalised: "dataset", by mean and std; "image", each image by its own mean and
            standard deviation per channel; "percentile", (image − p1) / (p99 − p1) with its own 1st and 99th
            percentiles; "ct", clipped to low … high, then by mean and std; "none".
        low, high: limits per channel for "ct", in the units of mean.
        nodata: value of pixels without data (NaN or a number, as stored in the file). They are left out of statistics
            and become 0 after normalisation. None: all pixels have data.
        reading: how training read its files, the fields of `unet_data.ReadSettings` by name ("channels": "all"). None:
            not stored.
        objects: settings that separate objects, from `unet_data.ObjectSettings.to_dict`. None: not chosen.
        assumed: for converted weights, the assumptions about facts that the source file did not state.
        spacing: pixel size along (z,) y, x that the network expects; images with another one are resampled to it, and
            results back. Empty: images are used with the pixels that they have.
        spacing_unit: unit of `spacing`, such as "mm"; empty: not stated.
        labels: how training read the numbers of its label files: "labels", "ignore" and "class_numbers" of
            `unet_jax.TrainSettings`, as text ("class_numbers": "255,0"), without defaults. None: by the defaults.

    Example:
        >>> DataSpec(mean=(0.5,), std=(0.2,), class_names=("background", "cell")).mean
        (0.5,)
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    class_names: tuple[str, ...] = ()
    overlapping: bool = False
    assumed: tuple[str, ...] = ()
    normalization: NormalizationName = "dataset"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    nodata: float | None = None
    objects: dict[str, Any] | None = field(default=None, hash=False)
    reading: dict[str, str] | None = field(default=None, hash=False)
    spacing: tuple[float, ...] = ()
    spacing_unit: str = ""
    labels: dict[str, str] | None = field(default=None, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """The fields for JSON. Newer fields with default values are left out, so that older versions can read it."""
        values = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}
        if self.nodata is not None and math.isnan(self.nodata):
            values["nodata"] = "nan"  # JSON has no NaN
        later = {each.name: each.default for each in fields(self)[3:]}
        return {k: v for k, v in values.items() if k not in later or getattr(self, k) != later[k]}

    @classmethod
    def from_dict(cls, values: Any, where: str) -> DataSpec:
        """The inverse of `to_dict`. Raises InputError."""
        defaults = {each.name: each.default for each in fields(cls)}
        if not isinstance(values, dict) or set(values) - set(defaults):
            raise InputError(f"{where}: 'data' must be an object with the keys {', '.join(defaults)}; found {values!r}")
        for key, value in values.items():
            if key in ("normalization", "nodata"):
                continue
            if isinstance(defaults[key], bool):
                if not isinstance(value, bool):
                    raise InputError(f"{where}: data.{key} is {value!r}; it must be true or false")
                continue
            if key in ("objects", "reading", "labels"):
                if value is not None and not isinstance(value, dict):
                    raise InputError(f"{where}: data.{key} is {value!r}; it must be an object")
                if key != "objects" and not all(isinstance(each, str) for each in (value or {}).values()):
                    raise InputError(f"{where}: data.{key} is {value!r}; it must be an object of names")
                for name, text in (value or {}).items() if key == "labels" else ():
                    if re.fullmatch(_LABELS.get(name, "(?!)"), text) is None:
                        raise InputError(f"{where}: data.labels has {name} {text!r}, which this version does not know")
                continue
            if key == "spacing_unit":
                if not isinstance(value, str):
                    raise InputError(f"{where}: data.spacing_unit is {value!r}; it must be the name of a unit")
                continue
            allowed = int | float if key in ("mean", "std", "low", "high", "spacing") else str
            if not isinstance(value, list | tuple) or not all(isinstance(v, allowed) for v in value):
                what = "names" if allowed is str else "numbers"
                raise InputError(f"{where}: data.{key} is {value!r}; it must be a list of {what}")
        normalization, nodata = values.get("normalization", "dataset"), values.get("nodata")
        if normalization not in get_args(NormalizationName):
            allowed = ", ".join(get_args(NormalizationName))
            raise InputError(f"{where}: data.normalization is {normalization!r}; it must be one of {allowed}")
        if isinstance(nodata, bool) or not (nodata in (None, "nan") or isinstance(nodata, int | float)):
            raise InputError(f'{where}: data.nodata is {nodata!r}; it must be a number, "nan" or null')
        values = values | {"nodata": None if nodata is None else float(nodata)}
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        spec = cls(**given)
        if len(spec.mean) != len(spec.std):
            raise InputError(
                f"{where}: data.mean has {len(spec.mean)} numbers, data.std {len(spec.std)}; they must have "
                "the same count"
            )
        if not all(math.isfinite(m) for m in spec.mean) or not all(s > 0 and math.isfinite(s) for s in spec.std):
            raise InputError(
                f"{where}: data.mean must be finite and data.std above zero; they are {spec.mean}, {spec.std}"
            )
        if len(spec.low) != len(spec.high) or len(spec.low) not in (0, len(spec.mean)):
            raise InputError(f"{where}: data.low and data.high must have as many numbers as data.mean, or none")
        if not all(math.isfinite(a) and math.isfinite(b) and a < b for a, b in zip(spec.low, spec.high, strict=True)):
            raise InputError(f"{where}: data.low must lie below data.high; they are {spec.low}, {spec.high}")
        if not all(0 < length < math.inf for length in spec.spacing):
            raise InputError(f"{where}: data.spacing must be finite and above zero; it is {spec.spacing}")
        if spec.normalization == "ct" and not spec.low:
            raise InputError(f"{where}: data.normalization is ct, which needs data.low and data.high")
        return spec

    def describe(self) -> str:
        """A description of the normalisation, as the end of a sentence that begins with the division of integers.

        Example:
            >>> DataSpec((0.5,), (0.2,)).describe()
            ', then (x − mean) / std per channel; mean 0.5; std 0.2'
        """
        low, high, mean, std = (
            ", ".join(f"{v:.6g}" for v in values) for values in (self.low, self.high, self.mean, self.std)
        )
        own = "its own mean and standard deviation per channel"
        how = f", then (x − mean) / std per channel; mean {mean}; std {std}" if self.mean else "; nothing else"
        if self.normalization == "image":
            how = f", then each image normalised by {own}"
        elif self.normalization == "percentile":
            how = ", then (x − p1) / (p99 − p1) per channel, with each image's own 1st and 99th percentiles"
        elif self.low:
            how = f", clipped to {low} … {high}{how}"
        return how + (f"; pixels that are {self.nodata:g} have no data and become 0" if self.nodata is not None else "")

    def describe_reading(self) -> str:
        """A description of how training read its files; "" if it is not stored.

        Example:
            >>> DataSpec(reading={"channels": "all", "white_is_zero": "auto"}).describe_reading()
            'channels all, white is zero auto'
        """
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in (self.reading or {}).items() if value)

    def describe_spacing(self) -> str:
        """The pixel size that the network expects; "" if images are used with the pixels that they have.

        Example:
            >>> DataSpec(spacing=(5.0, 1.0, 1.0), spacing_unit="mm").describe_spacing()
            '5 x 1 x 1 mm'
        """
        return f"{' x '.join(f'{length:.4g}' for length in self.spacing)} {self.spacing_unit}".strip()

    def check_affine(self, program: str) -> None:
        """Raises InputError if the normalisation is more than one multiplication and one addition per channel.

        `program` names the program that supports no more than that.
        """
        if self.normalization not in ("dataset", "none") or self.nodata is not None:
            raise InputError(
                f"{program} supports only normalisation by one mean and one standard deviation per channel, "
                "but this network prepares images differently: integers divided by the largest value of "
                f"their type{self.describe()}"
            )

    def class_count(self, config: NetworkConfig) -> int:
        """Number of classes. If they overlap, it is one per logit; otherwise `config.classes`, 2 for a single logit.

        Args:
            config: the network.

        Example:
            >>> from unet_spec import preset
            >>> one = preset("same", out_channels=1)
            >>> DataSpec().class_count(one), DataSpec(overlapping=True).class_count(one)
            (2, 1)
        """
        return config.out_channels if self.overlapping else config.classes

    def names(self, config: NetworkConfig) -> tuple[str, ...]:
        """Names of the classes, in the order of the class numbers: `class_names`, or "class 0", "class 1", … if it is
        empty.

        Args:
            config: the network.

        Example:
            >>> from unet_spec import preset
            >>> DataSpec().names(preset("same"))
            ('class 0', 'class 1')
        """
        return self.class_names or tuple(f"class {number}" for number in range(self.class_count(config)))

    def check(self, config: NetworkConfig, where: str) -> None:
        """Raises InputError if channels or classes do not match the network, or if it does not support overlap."""
        try:
            config.check_classes(self.overlapping)
        except InputError as e:
            raise InputError(f"{where}: {e}") from None
        if self.mean and len(self.mean) != config.in_channels:
            raise InputError(f"{where}: data.mean has {len(self.mean)} numbers for {config.in_channels} channels")
        if self.spacing and len(self.spacing) != config.spatial_dims:
            raise InputError(f"{where}: data.spacing has {len(self.spacing)} numbers for {config.spatial_dims} axes")
        if self.class_names and len(self.class_names) != self.class_count(config):
            raise InputError(f"{where}: {len(self.class_names)} class names for {self.class_count(config)} classes")


class EmptyDataSpecWarning(UserWarning):
    """Weights are saved without the normalisation and class names that prediction needs."""


def warn_of_empty(data: DataSpec) -> None:
    """Warns, in one line, if weights are about to be saved without normalisation and class names."""
    if data == DataSpec():
        warnings.warn(
            "saved without normalisation and class names: set model.data = DataSpec(mean=…, std=…, class_names=…) "
            "before saving, so that prediction prepares images as training did",
            EmptyDataSpecWarning,
            stacklevel=3,
        )
