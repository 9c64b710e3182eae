"""Small runs for the tests of training."""

from functools import cache

from unet_data import membranes, split
from unet_jax.training.settings import TrainSettings
from unet_spec import preset

# A cosine would compile the number of steps into the step, so that each number would be compiled again.
SMALL = TrainSettings().replace(tile=28, schedule="constant")

PAPER = preset("paper", widths=(2, 4))
WITHOUT_DROPOUT = preset("paper", widths=(2, 4), dropout=0.0)


@cache
def data(count=4, seed=0):
    return split(membranes(count, 40, seed))
