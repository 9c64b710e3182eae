"""Losses in PyTorch, channels-first. `unet_jax.losses` has the same, channels-last: same names, order and numbers.

Every loss takes logits (N, K, *spatial) and labels (N, *spatial), which may be larger: they are cropped about their
centre, as valid convolutions crop the image. Pixels labelled `ignore` are not counted. The losses of overlapping
classes take one mask per class instead of labels. `with_distance` adds the loss of a distance head.
"""

from .dice import dice_loss
from .distance import distance_loss, with_distance
from .entropy import cross_entropy
from .focal import focal_loss
from .overlapping import overlapping_cross_entropy, overlapping_dice_loss
from .targets import class_logits, crop_labels
from .tversky import tversky_loss

__all__ = [
    "class_logits",
    "crop_labels",
    "cross_entropy",
    "dice_loss",
    "distance_loss",
    "focal_loss",
    "overlapping_cross_entropy",
    "overlapping_dice_loss",
    "tversky_loss",
    "with_distance",
]
