"""With mirroring in the model, the blocks of an image, cut by halo and sizes, give the result of the whole image."""

import itertools

import numpy as np
import onnx
import pytest

from unet_data.windows import mirror_window
from unet_export import OnnxRuntime, emit_onnx, onnx_bytes
from unet_export.onnx.mirrored import block_axes, mirror_inside
from unet_spec import PRESETS, InputError, preset, random_tensors
from unet_spec.tiling.tiles import plan_tiles

ort = pytest.importorskip("onnxruntime")

VALID = preset("paper", widths=(4, 8), in_channels=2)
VOLUME = preset("paper", widths=(3, 4), spatial_dims=3)
SAME = preset("same", widths=(4, 8), out_channels=1)
PADDED = preset("article", widths=(3, 4, 5))
FAMILY = preset("sa-unet", widths=(4, 6))
NETWORKS = {"valid": VALID, "3-D": VOLUME, "same": SAME, "padded": PADDED, "family": FAMILY}


def session_of(config, tensors):
    model = mirror_inside(emit_onnx(config, tensors), config.geometry)
    onnx.checker.check_model(model, full_check=True)
    return ort.InferenceSession(onnx_bytes(model))


def in_blocks(session, image, axes, steps, halo=None):
    """(C, *size) to (K, *size): mirrors the image by the halo, computes blocks of minimum + k step, and drops their
    halos."""
    size = image.shape[1:]
    halos = [axis.halo if halo is None else halo for axis in axes]
    blocks = [axis.minimum + steps * axis.step for axis in axes]
    strides = [block - 2 * h for block, h in zip(blocks, halos, strict=True)]
    out = None
    starts = [range(0, n, stride) for n, stride in zip(size, strides, strict=True)]
    for corner in itertools.product(*starts):
        last = np.moveaxis(image, 0, -1)
        window = mirror_window(last, [c - h for c, h in zip(corner, halos, strict=True)], blocks)
        (found,) = session.run(None, {"image": np.ascontiguousarray(np.moveaxis(window, -1, 0)[None])})
        kept = found[0][(slice(None), *(slice(h, h + s) for h, s in zip(halos, strides, strict=True)))]
        if out is None:
            padded = [len(r) * s for r, s in zip(starts, strides, strict=True)]
            out = np.zeros((len(kept), *padded), np.float32)
        out[(slice(None), *(slice(c, c + s) for c, s in zip(corner, strides, strict=True)))] = kept
    return out[(slice(None), *map(slice, size))]


def image_for(config, axes):
    size = [axis.minimum + 2 * axis.step * (i + 1) for i, axis in enumerate(axes)]
    return np.random.default_rng(3).normal(size=(config.in_channels, *size)).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_give_the_result_of_the_whole_image(name):
    config = NETWORKS[name]
    session, axes = session_of(config, random_tensors(config.graph, 1)), block_axes(config.geometry)
    image = image_for(config, axes)
    several = (0, 1) if len(axes) == 2 else (4, 6)  # volumes with few blocks
    small, large = (in_blocks(session, image, axes, steps) for steps in several)
    large_enough = max(image.shape[1:]) // min(axis.step for axis in axes)
    whole = in_blocks(session, image, axes, large_enough)
    scale = np.abs(whole).max()
    assert np.abs(small - whole).max() <= 1e-6 * scale
    assert np.abs(large - whole).max() <= 1e-6 * scale


@pytest.mark.parametrize("name", ["valid", "3-D"])
def test_a_valid_network_gives_what_our_own_prediction_gives(name):
    """A network without padding sees the mirrored image at the border in both."""
    config = NETWORKS[name]
    tensors = random_tensors(config.graph, 1)
    image = image_for(config, block_axes(config.geometry))
    (found,) = session_of(config, tensors).run(None, {"image": image[None]})
    plan = plan_tiles(config.geometry, image.shape[1:])
    canvas = mirror_window(np.moveaxis(image, 0, -1), [-axis.margin for axis in plan.axes], plan.canvas)
    ours = OnnxRuntime(onnx_bytes(emit_onnx(config, tensors))).run(canvas[None])[0]
    cut = np.moveaxis(ours[tuple(map(slice, image.shape[1:]))], -1, 0)
    assert found.shape[2:] == image.shape[1:]
    assert np.abs(found[0] - cut).max() <= 1e-6 * np.abs(cut).max()


def test_a_smaller_halo_is_not_enough():
    """The bound above can fail."""
    axes = block_axes(VALID.geometry)
    session = session_of(VALID, random_tensors(VALID.graph, 1))
    image = image_for(VALID, axes)
    whole = in_blocks(session, image, axes, 99)
    assert np.abs(in_blocks(session, image, axes, 0, axes[0].halo - 2 * axes[0].step) - whole).max() > 1e-3


def test_the_paper_network():
    axis = block_axes(PRESETS["paper"].geometry)[1]
    assert (axis.halo, axis.minimum, axis.step) == (112, 240, 16)


@pytest.mark.parametrize("name", ["unet++", "nnunet", "transunet", "same-bilinear"])
def test_networks_that_see_the_whole_image_are_refused(name):
    with pytest.raises(InputError, match="sees the whole image"):
        block_axes(preset(name).geometry)
