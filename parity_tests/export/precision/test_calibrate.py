"""Windows for calibration."""

import numpy as np
import pytest

from unet_spec import PRESETS, DataSpec, InputError, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export.precision import calibrate
from unet_export.precision.calibrate import activation_ranges, chosen, window_start, windows
from unet_export.precision.formats import convolutions, lower_for

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


def test_images_are_chosen_evenly_from_first_to_last():
    assert [chosen(n) for n in (1, 3, 8)] == [[0], [0, 1, 2], list(range(8))]
    assert chosen(15) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert chosen(100, 2) == [0, 99]


def test_a_window_is_the_middle_of_the_image_with_its_mirrored_edges():
    assert window_start((100, 7), (40, 10)) == (30, -2)
    config = PRESETS["same"].replace(widths=(2, 4))
    image = np.random.default_rng(0).integers(0, 255, (400, 30, 1)).astype(np.uint8)
    [window] = windows([image], config, DataSpec())
    assert window.shape == (1, 380, 30, 1)
    np.testing.assert_array_equal(window[0], image[10:390] / np.float32(255))
    assert calibrate._WINDOW == {2: 380, 3: 100}


def network_and_input():
    config = PRESETS["same"].replace(widths=(2, 4))
    network = lower_for("int8", config.graph, random_tensors(config.graph, 1))
    return network, np.random.default_rng(0).normal(0, 1, (1, 16, 20, 1)).astype(np.float32)


def test_ranges_of_fp8_are_the_largest_magnitudes_of_all_inputs():
    network, image = network_and_input()
    first = convolutions(network.graph)[0]
    found = activation_ranges(network, [image, image * -3], "fp8")
    assert found[first] == pytest.approx(np.abs(image).max() * 3)
    assert set(found) == set(convolutions(network.graph))
    assert activation_ranges(network, [image * 0], "fp8")[first] == 1.0
    assert activation_ranges(network, [image * 0], "int8")[first] == 1.0
    with pytest.raises(InputError, match="fp16 needs no calibration; only int8, fp8 do"):
        activation_ranges(network, [image], "fp16")
    with pytest.raises(InputError, match=f"the input of {first} is not finite on a calibration image"):
        activation_ranges(network, [image * np.nan], "int8")


def test_a_range_of_int8_leaves_out_what_costs_the_others_more():
    rng = np.random.default_rng(0)
    even, outlier = np.abs(rng.normal(0, 1, 20_000)), np.append(np.abs(rng.normal(0, 1, 20_000)), 4.5)
    assert calibrate._best_range(np.linspace(0, 1, 1000), 1.0) == 1.0
    for values in (even, outlier):
        found = calibrate._best_range(values, values.max())
        errors = {}
        for share in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3):
            step = values.max() * share / 127
            errors[share] = np.mean((np.clip(np.rint(values / step), 0, 127) * step - values) ** 2)
        assert found == pytest.approx(values.max() * min(errors, key=errors.get))
