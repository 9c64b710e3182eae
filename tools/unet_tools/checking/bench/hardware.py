"""The hardware and the package versions of a measurement."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from unet_export.runtimes.batch import usable_cores
from unet_export.tensorrt.cuda_device import find_devices
from unet_spec import InputError

PACKAGES = ("unet-twins", "jax", "flax", "optax", "torch", "onnx", "onnxruntime", "tensorrt-rtx-cu13", "tensorrt",
            "openvino")  # fmt: skip


def hardware() -> str:
    """The hardware, such as "x86_64 (AMD EPYC, family 25 model 17), 2 cores, no GPU". Counts cores that this process
    may use."""
    return f"{processor()}, {usable_cores()} cores, {', '.join(gpus()) or 'no GPU'}"


def gpus() -> list[str]:
    """Names of the GPUs that this process may use, such as "NVIDIA H200". Loads no framework."""
    try:
        return [device.name for device in find_devices()]
    except InputError:
        return []


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor, such as "x86_64 (AMD EPYC, family 25 model 17)"; only the machine type if Linux reports no more.

    Vendors sell several generations under one name; family and model distinguish them.
    """
    try:
        lines = cpuinfo.read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.machine()
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if not (name := fields.get("model name")):
        return platform.machine()
    known = {"cpu family", "model"} <= set(fields)
    generation = f", family {fields['cpu family']} model {fields['model']}" if known else ""
    return f"{platform.machine()} ({name}{generation})"


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of Python and of the installed ones of `packages`."""
    installed = {"python": platform.python_version()}
    for name in packages:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed
