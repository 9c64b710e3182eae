"""The GPUs of this machine, queried from the driver, so that no package is needed."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

from unet_spec import InputError

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR in cuda.h


@dataclass(frozen=True)
class Device:
    """A CUDA device.

    Attributes:
        name: Name, such as "NVIDIA L4".
        compute_capability: Compute capability as in engine names, such as "89".
    """

    name: str
    compute_capability: str


def find_device() -> Device:
    """The first CUDA device that this process may use. Without one, raises an InputError that starts with "no CUDA
    device"."""
    return find_devices()[0]


def find_devices() -> list[Device]:
    """The CUDA devices that this process may use. Raises InputError like `find_device`."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        raise InputError(f"no CUDA device: the NVIDIA driver ({library}) is not installed") from None
    count = ctypes.c_int()
    if code := driver.cuInit(0):
        raise InputError(f"no CUDA device: the NVIDIA driver does not start (cuInit gives {code})")
    if driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        raise InputError("no CUDA device: the NVIDIA driver finds no device")
    return [_describe(driver, index) for index in range(count.value)]


def _describe(driver: ctypes.CDLL, index: int) -> Device:
    device, value = ctypes.c_int(), ctypes.c_int()
    name, capability = ctypes.create_string_buffer(256), ""
    failed = driver.cuDeviceGet(ctypes.byref(device), index) or driver.cuDeviceGetName(name, len(name), device)
    for attribute in (_MAJOR, _MINOR):
        failed = failed or driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        capability += str(value.value)
    if failed:
        raise InputError(f"no CUDA device: the NVIDIA driver does not describe it (error {failed})")
    return Device(name.value.decode(errors="replace"), capability)
