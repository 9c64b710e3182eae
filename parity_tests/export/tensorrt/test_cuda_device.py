"""The GPUs reported by the driver, and one line for each kind of failure."""

import ctypes

import pytest

from unet_export.tensorrt.cuda_device import Device, find_device, find_devices
from unet_spec import InputError


class Driver:
    """The used part of the CUDA driver. `fails`: the function that returns an error."""

    def __init__(self, count=2, fails=""):
        self.count, self.fails = count, fails

    def _code(self, name):
        return 100 if name == self.fails else 0

    def cuInit(self, flags):
        return self._code("cuInit")

    def cuDeviceGetCount(self, count):
        count._obj.value = self.count
        return self._code("cuDeviceGetCount")

    def cuDeviceGet(self, device, index):
        device._obj.value = index
        return self._code("cuDeviceGet")

    def cuDeviceGetName(self, name, length, device):
        name.value = f"GPU {device.value}".encode()
        return self._code("cuDeviceGetName")

    def cuDeviceGetAttribute(self, value, attribute, device):
        value._obj.value = {75: 8, 76: 9}[attribute] + device.value
        return self._code("cuDeviceGetAttribute")


def installed(monkeypatch, driver):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)


def test_every_device_has_its_name_and_capability(monkeypatch):
    installed(monkeypatch, Driver())
    assert find_devices() == [Device("GPU 0", "89"), Device("GPU 1", "910")]
    assert find_device() == Device("GPU 0", "89")


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        (Driver(fails="cuInit"), r"does not start \(cuInit gives 100\)"),
        (Driver(0), "finds no device"),
        (Driver(fails="cuDeviceGetCount"), "finds no device"),
        (Driver(fails="cuDeviceGetName"), r"does not describe it \(error 100\)"),
        (Driver(fails="cuDeviceGetAttribute"), r"does not describe it \(error 100\)"),
    ],
)
def test_a_driver_that_fails_is_one_line(driver, words, monkeypatch):
    installed(monkeypatch, driver)
    with pytest.raises(InputError, match=f"^no CUDA device: .*{words}"):
        find_device()


def test_without_a_driver_its_library_is_named(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(InputError, match=r"^no CUDA device: the NVIDIA driver \(.*cuda.*\) is not installed"):
        find_devices()
