"""The cache of compiled programs of `unet train`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from unet_spec.files import cache_folder

from ..console import notes


def cached_programs(flag: str | None, quiet: bool = False) -> AbstractContextManager[None]:
    """Caches programs that are compiled within the block in a folder, and prints the folder.

    Args:
        flag: a folder, or "none". None: the folder that the user has set for JAX, otherwise `xla` in the cache folder.
        quiet: print nothing.
    """
    import jax

    from unet_jax import compilation_cache

    own = getattr(jax.config, "jax_compilation_cache_dir", None)
    if flag is None and own:
        folder, block = Path(own), nullcontext()
    else:
        folder = cache_folder() / "xla" if flag is None else None if flag.lower() == "none" else Path(flag).absolute()
        block = compilation_cache(folder)
    if not quiet:
        where = "are not cached" if folder is None else f"are cached in {folder} (--compilation-cache none: no cache)"
        notes.print(f"compiled programs {where}")
    return block
