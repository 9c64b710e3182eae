"""Lazy imports: the public names of a package, listed once in `__init__.pyi`, are imported when first used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lazy_loader

from .errors import InputError

EXTRAS = {
    **dict.fromkeys(("jax", "jaxlib", "flax", "optax", "orbax"), "jax"),
    "torch": "torch",
    **dict.fromkeys(("onnx", "onnxruntime", "google", "jsonschema", "ml_dtypes"), "onnx"),
    "MNN": "mnn",
    "openvino": "openvino",
    "zarr": "zarr",
    "matplotlib": "report",
    "jinja2": "report",
    "tensorboardX": "tensorboard",
    "mlflow": "mlflow",
    "wandb": "wandb",
    "grain": "grain",
    **dict.fromkeys(("dask", "distributed"), "dask"),
    "nibabel": "nifti",
    "h5py": "keras",
    "huggingface_hub": "hub",
    "fsspec": "remote",
    **dict.fromkeys(("pyarrow", "roifile"), "objects"),
}
"""The extra of this project that installs each package."""


def attach(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package, from the stub `__init__.pyi` beside its `__init__.py`.

    A name whose module needs a package that is not installed raises InputError with the command that installs it.

    Args:
        package: its `__name__`.
        file: its `__file__`.
    """
    load, listing, names = lazy_loader.attach_stub(package, file)

    def get(name: str) -> Any:
        try:
            return load(name)
        except ModuleNotFoundError as e:
            missing = (e.name or "").split(".")[0]
            if missing not in EXTRAS:
                raise
            raise InputError(f"{name} needs {missing}; pip install 'unet-twins[{EXTRAS[missing]}]'") from None

    return get, listing, names
