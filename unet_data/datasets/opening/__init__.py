"""Opens a folder or file as a `Dataset`: in memory, or as arrays that stay in their files and are read by windows."""

from .open import open_dataset, open_stored

__all__ = ["open_dataset", "open_stored"]
