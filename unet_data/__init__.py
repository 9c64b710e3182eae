"""Images in, masks out: readers, writers, data sets, windows, samples, normalization and metrics. NumPy only.

scipy, tifffile and Pillow are imported by the functions that need them, so that this import stays fast.
"""

from .dataset import Dataset, open_dataset, split
from .energy import energy_distance
from .images import read_image, read_stack, write_stack
from .labels import IGNORED, LabelRule, label_rule, read_labels, to_class_indices
from .metrics import ClassScores, confusion, dice, iou, pixel_accuracy
from .normalize import Normalization
from .open_stored import open_stored
from .sampler import Sampler
from .synthetic import membrane_instances, membranes
from .tiles import mirror_index, mirror_window

__all__ = [
    "IGNORED",
    "ClassScores",
    "Dataset",
    "LabelRule",
    "Normalization",
    "Sampler",
    "confusion",
    "dice",
    "energy_distance",
    "iou",
    "label_rule",
    "membrane_instances",
    "membranes",
    "mirror_index",
    "mirror_window",
    "open_dataset",
    "open_stored",
    "pixel_accuracy",
    "read_image",
    "read_labels",
    "read_stack",
    "split",
    "to_class_indices",
    "write_stack",
]
