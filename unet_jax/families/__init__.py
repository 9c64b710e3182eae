"""The architectures in Flax NNX, one file each, as in `unet_spec.families` and `unet_torch.families`.

Every class can be imported from here; its file is imported at first use.
"""

from __future__ import annotations

from ..network import Network
from ..registry import NETWORKS


def __getattr__(name: str) -> type[Network]:
    return NETWORKS.called(name)
