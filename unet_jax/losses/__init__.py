"""Losses in JAX, channels-last. `unet_torch.losses` has the same, channels-first: same names, order and numbers.

Every loss takes logits (N, *spatial, K) and labels (N, *spatial), which may be larger: they are cropped about their
centre, as valid convolutions crop the image. Pixels labelled `ignore` count nowhere.
"""

from unet_jax.losses.dice import dice_loss
from unet_jax.losses.entropy import cross_entropy
from unet_jax.losses.focal import focal_loss
from unet_jax.losses.targets import class_logits, crop_labels
from unet_jax.losses.tversky import tversky_loss

__all__ = ["class_logits", "crop_labels", "cross_entropy", "dice_loss", "focal_loss", "tversky_loss"]
