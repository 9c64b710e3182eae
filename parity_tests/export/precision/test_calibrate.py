"""Windows for calibration."""

import numpy as np
import pytest

from unet_spec import PRESETS, InputError

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export.precision.calibrate import windows

from ...fixtures.export_cases import DATA, calibration_images


def test_calibration_windows_fit_and_follow_the_images():
    config = PRESETS["paper"].replace(widths=(4, 8, 16), in_channels=3)
    images = [*calibration_images(2), np.zeros((1000, 900, 3), np.uint8)]
    for window in windows(images, config, DATA):
        config.geometry.check(window.shape[1:-1])
        assert max(window.shape[1:-1]) <= 380
    assert len(windows(calibration_images(20), config, DATA)) == 8
    with pytest.raises(InputError, match="no calibration image"):
        windows([], config, DATA)
