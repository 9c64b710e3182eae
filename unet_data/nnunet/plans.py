"""nnunet.json, the file beside an nnU-Net v2 network that describes preparation of images and meaning of channels.

The file contains nnU-Net's plans.json and dataset.json unchanged, and facts from its checkpoint: the configuration, the
trainer, the axes that may be mirrored, the folds. `NnunetPlans` checks it and gives what inference needs.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unet_spec import InputError, NetworkConfig, is_checkpoint
from unet_spec.files import writing
from unet_spec.sources import Origin
from unet_spec.untrusted.strict_json import MAX_BYTES, parse_json, read_bytes, read_object

from .sliding import SlidingWindow

FILE, FORMAT, VERSION = "nnunet.json", "unet-nnunet", 1
PLANS, DATASET = "plans.json", "dataset.json"
SCHEMES = (
    "ZScoreNormalization",
    "CTNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
    "RGBTo01Normalization",
)
RESAMPLERS = ("resample_data_or_seg_to_shape", "no_resampling_hack")
READERS = ("SimpleITKIO", "NibabelIO", "NibabelIOWithReorient", "SimpleITKIOWithReorient")
_INTENSITIES = ("mean", "std", "percentile_00_5", "percentile_99_5")
_FACTS = (
    *("spacing", "patch", "transpose", "intensities", "data_resampling", "logits_resampling", "reorient", "heads"),
    "file_ending",
)
_ENDING = re.compile(r"(\.[A-Za-z0-9]+)+")
_MIN_SPACING, _MAX_PATCH = 1e-6, 2**20  # millimetres per voxel (and, as its inverse, the maximum), voxels of a patch


@dataclass(frozen=True)
class Resampling:
    """How a volume is resampled: by splines of `order`, and of `order_z` along the axis of low resolution if that is
    resampled separately (`separate_z`; None: if spacings differ more than threefold). With `none`, it is not resampled.
    """

    order: int
    order_z: int
    separate_z: bool | None
    none: bool = False


@dataclass(frozen=True)
class NnunetPlans:
    """The content of nnunet.json.

    Attributes:
        plans, dataset: nnU-Net's plans.json and dataset.json.
        configuration: configuration of the plans, such as "2d" or "3d_fullres".
        mirror_axes: spatial axes of the network's input that test-time augmentation may flip.
        folds: folders of checkpoints beside the file, whose logits are averaged; "." is the file's folder.
        trainer: the class that trained it, for information.

    Raises InputError, which names the key, if plans lack a value or need something that is not supported.
    """

    plans: Mapping[str, Any]
    dataset: Mapping[str, Any]
    configuration: str
    mirror_axes: tuple[int, ...] = ()
    folds: tuple[str, ...] = (".",)
    trainer: str = "nnUNetTrainer"

    def __post_init__(self) -> None:
        object.__setattr__(self, "mirror_axes", tuple(self.mirror_axes or ()))
        object.__setattr__(self, "folds", tuple(self.folds))
        for fact in _FACTS:
            getattr(self, fact)  # raises if it is missing or invalid
        dims = len(self.patch)
        if not all(type(axis) is int and 0 <= axis < dims for axis in self.mirror_axes):
            raise InputError(f"mirror_axes is {self.mirror_axes}; it must name axes of a {dims}-D patch, from 0")
        if dims not in (2, 3) or len(self.spacing) != dims:
            raise InputError(f"patch_size {self.patch} and spacing {self.spacing} must both have 2 or 3 axes")
        if not self.folds or not all(f == "." or (f not in ("", "..") and Path(f).name == f) for f in self.folds):
            raise InputError(f"folds is {self.folds}; it must name folders beside {FILE}, or '.'")
        if self._configuration.get("previous_stage"):
            raise InputError(
                f"configuration {self.configuration!r} is the second stage of a cascade, which needs the labels of"
                f" {self._configuration['previous_stage']!r}; convert a configuration without a previous stage"
            )

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> NnunetPlans:
        """Reads `folder`/nnunet.json. Raises InputError."""
        path = Path(folder) / FILE
        return cls.from_json(read_bytes(path, MAX_BYTES), str(path))

    @classmethod
    def from_json(cls, text: str | bytes, where: str = FILE) -> NnunetPlans:
        """The inverse of `to_json`. Raises InputError, naming `where`."""
        values = parse_json(text, where)
        if not isinstance(values, dict) or values.get("format") != FORMAT or values.get("format_version") != VERSION:
            raise InputError(f"{where}: expected format {FORMAT!r}, version {VERSION}")
        keys = ("plans", "dataset", "configuration", "mirror_axes", "folds", "trainer")
        if missing := [key for key in keys if key not in values]:
            raise InputError(f"{where}: {missing[0]!r} is missing")
        try:
            return cls(**{key: values[key] for key in keys})
        except InputError as e:
            raise InputError(f"{where}: {e}") from None
        except (TypeError, ValueError, AttributeError, KeyError) as e:  # such as a list instead of an object
            raise InputError(f"{where}: damaged, not nnU-Net's plans or dataset description ({e})") from None

    def to_json(self) -> str:
        values = {"format": FORMAT, "format_version": VERSION, "configuration": self.configuration}
        values |= {"trainer": self.trainer, "mirror_axes": list(self.mirror_axes), "folds": list(self.folds)}
        return json.dumps(values | {"dataset": dict(self.dataset), "plans": dict(self.plans)}, indent=1) + "\n"

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes `folder`/nnunet.json. Raises InputError if it cannot be written."""
        with writing(Path(folder) / FILE) as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")

    def check(self, config: NetworkConfig, where: object = "the network") -> None:
        """Raises InputError, which names `where`, unless a network has the axes, channels and outputs of the plans and
        their patch size fits."""
        found = (config.spatial_dims, config.in_channels, config.out_channels)
        expected = (len(self.patch), len(self.channel_names), self.heads)
        if found != expected:
            raise InputError(
                f"{where}: {found[0]}-D with {found[1]} channels and {found[2]} outputs; the plans say {expected}"
            )
        config.geometry.check(self.patch)

    def window(self, mirror: bool = True, **options: Any) -> SlidingWindow:
        """The sliding window of nnU-Net.

        If `mirror`, views are averaged over the flips with which the network was trained. `options` are further fields
        of `SlidingWindow`.
        """
        return SlidingWindow(self.patch, self.heads, self.mirror_axes if mirror else (), **options)

    @cached_property
    def _configuration(self) -> Mapping[str, Any]:
        """The configuration with the entries that it inherits from others."""
        every, name, chain = self.plans.get("configurations", {}), self.configuration, []
        while name is not None:
            if name not in every or name in chain:
                raise InputError(f"plans: no usable configuration {name!r}; available: {', '.join(map(repr, every))}")
            chain.append(name)
            name = every[name].get("inherits_from")
        merged: dict[str, Any] = {}
        for name in reversed(chain):
            merged |= every[name]
        return merged

    def _of(self, key: str) -> Any:
        if key not in self._configuration:
            raise InputError(f"plans: configuration {self.configuration!r} has no {key!r}")
        return self._configuration[key]

    @cached_property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres per voxel in training, per axis of the patch."""
        found = tuple(float(s) for s in self._of("spacing"))
        if not all(_MIN_SPACING <= s <= 1 / _MIN_SPACING for s in found):
            raise InputError(f"plans: spacing is {found}; it must be millimetres per voxel, each above 0")
        return found

    @cached_property
    def patch(self) -> tuple[int, ...]:
        """Voxels per axis of a tile. In 2-D, tiles are parts of the slices along the first axis."""
        found = self._of("patch_size")
        if not isinstance(found, list | tuple) or not all(type(n) is int and 1 <= n <= _MAX_PATCH for n in found):
            raise InputError(f"plans: patch_size is {found}; it must be whole numbers of voxels, each above 0")
        return tuple(found)

    @cached_property
    def transpose(self) -> tuple[int, ...]:
        """Indices of the file's axes (z, y, x) that become the network's first, second and third axis."""
        order = tuple(int(a) for a in self.plans.get("transpose_forward", (0, 1, 2)))
        if sorted(order) != [0, 1, 2]:
            raise InputError(f"plans: transpose_forward is {order}; it must be an order of the axes 0, 1, 2")
        return order

    @cached_property
    def channel_names(self) -> tuple[str, ...]:
        names = self.dataset.get("channel_names", self.dataset.get("modality"))
        if not isinstance(names, Mapping) or not names:
            raise InputError("dataset: no 'channel_names'")
        return tuple(str(names[key]) for key in sorted(names, key=int))

    @cached_property
    def file_ending(self) -> str:
        found = self.dataset.get("file_ending", ".nii.gz")
        if not isinstance(found, str) or not _ENDING.fullmatch(found):
            raise InputError(f"dataset: file_ending is {found!r}; it must be the end of a file's name, such as .nii.gz")
        return found

    @cached_property
    def schemes(self) -> tuple[tuple[str, bool], ...]:
        """For each channel: the normalisation, one of SCHEMES, and whether it is limited to the non-zero region."""
        names, masks = self._of("normalization_schemes"), self._of("use_mask_for_norm")
        if len(names) != len(self.channel_names) or len(masks) != len(names):
            raise InputError(
                f"plans: {len(names)} normalization_schemes and {len(masks)} use_mask_for_norm"
                f" for {len(self.channel_names)} channels"
            )
        if unknown := [n for n in names if n not in SCHEMES]:
            raise InputError(f"plans: unknown normalization scheme {unknown[0]!r}; known: {', '.join(SCHEMES)}")
        return tuple((str(n), bool(m)) for n, m in zip(names, masks, strict=True))

    @cached_property
    def intensities(self) -> tuple[Mapping[str, float], ...]:
        """For each channel: statistics for CT normalisation, of the foreground of the training images."""
        key = "foreground_intensity_properties_per_channel"
        every = self.plans.get(key, self.plans.get("foreground_intensity_properties_by_modality", {}))
        found = []
        for channel, (scheme, _) in enumerate(self.schemes):
            values = every.get(str(channel), {})
            for name in _INTENSITIES if scheme == "CTNormalization" else ():
                if name not in values:
                    raise InputError(f"plans: {key} has no {name!r} for channel {channel}, which {scheme} needs")
                if type(values[name]) not in (int, float):
                    raise InputError(f"plans: {key}: {name!r} of channel {channel} must be a number")
            found.append(values)
        return tuple(found)

    @cached_property
    def data_resampling(self) -> Resampling:
        return self._resampling("resampling_fn_data")

    @cached_property
    def logits_resampling(self) -> Resampling:
        return self._resampling("resampling_fn_probabilities")

    def _resampling(self, key: str) -> Resampling:
        name, kwargs = self._of(key), self._configuration.get(f"{key}_kwargs") or {}
        if name not in RESAMPLERS:
            raise InputError(f"plans: unknown {key} {name!r}; known: {', '.join(RESAMPLERS)}")
        return Resampling(
            int(kwargs.get("order", 3)),
            int(kwargs.get("order_z", 0)),
            kwargs.get("force_separate_z", False),
            name != RESAMPLERS[0],
        )

    @cached_property
    def reorient(self) -> bool:
        """Whether images are turned to RAS before anything else, and labels back."""
        name = self.plans.get("image_reader_writer", READERS[0])
        if name not in READERS:
            raise InputError(f"plans: image_reader_writer {name!r} does not read NIfTI; known: {', '.join(READERS)}")
        return name.endswith("Reorient")

    @cached_property
    def labels(self) -> Mapping[str, int | tuple[int, ...]]:
        """By name: a label or, in a network of overlapping regions, the labels in a region."""
        labels = self.dataset.get("labels")
        if not isinstance(labels, Mapping) or labels.get("background") != 0:
            raise InputError("dataset: 'labels' must name the labels, with background 0")
        return {k: tuple(map(int, v)) if isinstance(v, list | tuple) else int(v) for k, v in labels.items()}

    @cached_property
    def regions(self) -> tuple[int, ...] | None:
        """For a network whose channels are regions: the label of each, written in this order; else None."""
        if not any(isinstance(v, tuple) and len(v) > 1 for v in self.labels.values()):
            return None
        order = self.dataset.get("regions_class_order")
        count = sum(k != "ignore" and v not in (0, (0,)) for k, v in self.labels.items())
        if not isinstance(order, list | tuple) or len(order) != count:
            raise InputError(
                f"dataset: regions_class_order is {order!r}; it must give a label to each of {count} regions"
            )
        return tuple(int(label) for label in order)

    @cached_property
    def heads(self) -> int:
        """Number of channels of the logits."""
        if self.regions is not None:
            return len(self.regions)
        groups = [v if isinstance(v, tuple) else (v,) for k, v in self.labels.items() if k != "ignore"]
        return len({label for group in groups for label in group})


def find_plans(folder: str | os.PathLike[str]) -> NnunetPlans | None:
    """The plans of a converted nnU-Net model; None for any other folder.

    They are read from nnunet.json, or from the files that `unet convert` copies beside the folds: plans.json,
    dataset.json and the folds' source.json.

    Raises:
        InputError: a file is damaged.
    """
    folder = Path(folder)
    if (folder / FILE).is_file():
        return NnunetPlans.load(folder)
    folds = sorted(folder.glob("fold_*"))
    files = folder / PLANS, folder / DATASET
    if not folds or not all(map(is_checkpoint, folds)) or not all(file.is_file() for file in files):
        return None
    origin = Origin.load(folds[0])
    extra: dict[str, Any] = dict(origin.extra) if origin else {}
    plans, dataset = map(read_object, files)
    named = (extra.get("init_args") or {}).get("configuration")
    configuration = named or next(iter(plans.get("configurations", {})), "")
    axes = extra.get("inference_allowed_mirroring_axes") or ()
    trainer = str(extra.get("trainer_name", "nnUNetTrainer"))
    return NnunetPlans(plans, dataset, str(configuration), axes, tuple(fold.name for fold in folds), trainer)
