"""The hardware description in results."""

import platform

import pytest

from unet_export.tensorrt.cuda_device import Device
from unet_spec import InputError
from unet_tools.checking.bench import hardware


@pytest.mark.parametrize(
    ("devices", "text"), [((), "no GPU"), (("NVIDIA L4",), "NVIDIA L4"), (("A", "B"), "A, B")], ids=str
)
def test_every_gpu_of_the_driver_is_named(devices, text, monkeypatch):
    def find():
        if not devices:
            raise InputError("no CUDA device: the NVIDIA driver finds no device")
        return [Device(name, "89") for name in devices]

    monkeypatch.setattr(hardware, "find_devices", find)
    monkeypatch.setattr(hardware, "usable_cores", lambda: 3)
    assert hardware.hardware() == f"{hardware.processor()}, 3 cores, {text}"


def test_versions_are_of_what_is_installed():
    found = hardware.versions(("numpy", "no-such-package"))
    assert set(found) == {"python", "numpy"}
    assert found["python"] == platform.python_version()
