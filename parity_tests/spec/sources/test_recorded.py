"""Other projects' networks without their packages: names, shapes and outputs as `sources/build.py` recorded them."""

from __future__ import annotations

import numpy as np
import pytest

from unet_spec import Checkpoint, InputError, preset, random_tensors, sources
from unet_spec.sources import transfer

from ...fixtures.sources.recorded import EXACT, LARGE, RECORDED, arrays, error, imported


def cases():
    return [pytest.param(n, marks=[pytest.mark.slow] if n in LARGE else []) for n in RECORDED]


@pytest.mark.parametrize("name", cases())
def test_output_and_every_tensor_back(name):
    theirs = arrays(name)
    found = imported(name, theirs)
    assert error(found, name) < EXACT
    back = sources.export_tensors(found.config, found.tensors, found.origin)
    assert {key: (t.dtype, t.tobytes()) for key, t in back.items()} == {
        key: (np.asarray(t).dtype, np.asarray(t).tobytes()) for key, t in theirs.items()
    }


@pytest.mark.parametrize("name", [n for n in RECORDED if "smp" not in n])
def test_weights_that_never_came_from_there_can_be_read_there(name, tmp_path):
    """From a folder of ours without its source.json: all of their names, counters at 0."""
    found = imported(name)
    Checkpoint(found.config, found.tensors).save(tmp_path / "w")
    loaded = Checkpoint.load(tmp_path / "w")
    theirs = sources.export_tensors(loaded.config, loaded.tensors, found.origin.source)
    assert {key: t.shape for key, t in theirs.items()} == {key: np.shape(t) for key, t in arrays(name).items()}


def test_a_transposed_kernel_shows_in_the_output(monkeypatch):
    """Height and width of a kernel, there and back, are a bijection whichever comes first."""
    rearrange = transfer.rearrange

    def wrong(array, *axes):
        return rearrange(array.swapaxes(0, 1) if array.ndim == 4 else array, *axes)

    monkeypatch.setattr(transfer, "rearrange", wrong)
    assert error(imported("keras_h5"), "keras_h5") > 1e-3


@pytest.mark.parametrize("name", ["nnunet_plain_2d", "monai_unet_residual", "smp_resnet18", "keras_h5"])
def test_what_does_not_fit_is_named(name):
    theirs = arrays(name)
    key = next(k for k in reversed(theirs) if theirs[k].ndim > 1 and k not in RECORDED[name]["aliases"])
    with pytest.raises(InputError, match=r"x\.weight") as printed:
        imported(name, {**theirs, "x.weight": np.zeros(3, np.float32)})
    assert "1 not part of this network" in str(printed.value)
    bias = next(k for k in theirs if k.endswith("bias") and k not in RECORDED[name]["aliases"])
    with pytest.raises(InputError, match="missing") as printed:
        imported(name, {k: t for k, t in theirs.items() if k != bias})
    with pytest.raises(InputError) as printed:
        imported(name, {**theirs, key: theirs[key][..., :0]})
    assert "\n" not in str(printed.value)


def test_copies_that_differ_are_named():
    theirs = arrays("nnunet_plain_2d")
    key = "decoder.encoder.stages.1.0.convs.0.conv.weight"
    with pytest.raises(InputError, match=f"not copies of one tensor.*{key}"):
        imported("nnunet_plain_2d", {**theirs, key: theirs[key] + 1})


def test_copies_that_a_file_does_not_have_are_not_invented():
    """MONAI's DynUNet of before version 0.6 has no skip_layers."""
    theirs = {k: t for k, t in arrays("monai_dynunet_plain").items() if not k.startswith("skip_layers")}
    found = imported("monai_dynunet_plain", theirs)
    assert error(found, "monai_dynunet_plain") < EXACT
    assert set(sources.export_tensors(found.config, found.tensors, found.origin)) == set(theirs)


def test_half_of_a_checkpoint_names_the_nearest_source():
    theirs = arrays("monai_basicunet_2d")
    half = {k: t for k, t in theirs.items() if not k.startswith("upcat")}
    with pytest.raises(
        InputError, match=r"nearest is monai-basicunet .*, of which upcat_4\.convs\.conv_0\.conv\.weight is"
    ):
        sources.recognise(half, "half.pth")
    with pytest.raises(InputError, match="it contains no tensors"):
        sources.recognise({}, "empty.pth")


def test_a_network_that_a_source_cannot_have_is_not_written_as_that():
    found = imported("nnunet_plain_2d")
    with pytest.raises(InputError, match="it cannot be written as that"):
        sources.export_tensors(found.config, found.tensors, "smp")
    with pytest.raises(InputError, match=r"slope is 0\.3 and would be read as 0\.01"):
        sources.export_tensors(found.config.replace(slope=0.3), found.tensors, "nnunet")


def test_a_network_that_was_trained_here_is_written_for_its_source():
    config = preset("nnunet", widths=(4, 6, 8), sides=1)  # its kernels and strides are the usual ones, not spelt out
    tensors = random_tensors(config.graph, 0)
    theirs = sources.export_tensors(config, tensors, "nnunet")
    again = sources.import_tensors("nnunet", theirs, {}, "there")
    assert again.config.graph == config.graph
    assert all(np.array_equal(again.tensors[name], tensors[name]) for name in tensors)
