"""Losses in PyTorch, channels-first. `unet_jax.losses` has the same, channels-last: same names, order and numbers.

Every loss takes logits (N, K, *spatial) and labels (N, *spatial), which may be larger: they are cropped about their
centre, as valid convolutions crop the image. Pixels labelled `ignore` count nowhere.
"""

from unet_torch.losses.dice import dice_loss
from unet_torch.losses.entropy import cross_entropy
from unet_torch.losses.focal import focal_loss
from unet_torch.losses.targets import class_logits, crop_labels
from unet_torch.losses.tversky import tversky_loss

__all__ = ["class_logits", "crop_labels", "cross_entropy", "dice_loss", "focal_loss", "tversky_loss"]
