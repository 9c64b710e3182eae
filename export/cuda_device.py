"""Which GPU there is, asked of the driver itself, so that the question needs no package."""

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
        name: such as "NVIDIA L4".
        compute_capability: as engines name it, such as "89".
    """

    name: str
    compute_capability: str


def find_device() -> Device:
    """The first CUDA device that this process may use. Raises InputError, beginning "no CUDA device", where none is."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        raise InputError(f"no CUDA device: the NVIDIA driver ({library}) is not installed") from None
    count, device, value = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    if code := driver.cuInit(0):
        raise InputError(f"no CUDA device: the NVIDIA driver does not start (cuInit gives {code})")
    if driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        raise InputError("no CUDA device: the NVIDIA driver finds none")
    name, capability = ctypes.create_string_buffer(256), ""
    failed = driver.cuDeviceGet(ctypes.byref(device), 0) or driver.cuDeviceGetName(name, len(name), device)
    for attribute in (_MAJOR, _MINOR):
        failed = failed or driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        capability += str(value.value)
    if failed:
        raise InputError(f"no CUDA device: the NVIDIA driver does not describe it (error {failed})")
    return Device(name.value.decode(errors="replace"), capability)
