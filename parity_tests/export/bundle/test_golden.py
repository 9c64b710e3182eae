"""golden.npz of a bundle: read, or refused in one line if its arrays do not fit the network."""

import io

import numpy as np
import pytest

from unet_export import open_bundle
from unet_export.bundle.golden import Golden
from unet_spec import InputError


def arrays(bundle) -> dict[str, np.ndarray]:
    golden = Golden.load(open_bundle(bundle))
    return {"image": golden.image, "input": golden.input, "logits": golden.logits}


def npz(**values) -> bytes:
    content = io.BytesIO()
    np.savez(content, **values)
    return content.getvalue()


def npy(value) -> bytes:
    content = io.BytesIO()
    np.save(content, value, allow_pickle=True)
    return content.getvalue()


def test_what_is_written_is_read(written, tmp_path):
    bundle = open_bundle(written)
    golden = Golden.load(bundle)
    golden.save(tmp_path)
    assert golden.input.shape[-1] == bundle.config.in_channels == golden.image.shape[-1]
    with np.load(tmp_path / "golden.npz") as file:
        assert all(np.array_equal(file[name], value) for name, value in arrays(written).items())


@pytest.mark.parametrize(
    ("change", "reason"),
    {
        "no zip": (lambda a: b"not a zip" * 20, "not a readable .npz"),
        "one array": (lambda a: npy(a["image"]), "not a readable .npz"),
        "a pickle": (lambda a: npy(np.array([{}])), "not a readable .npz"),
        "objects": (lambda a: npz(**a | {"image": np.array([None])}), "not contain plain numbers"),
        "an array less": (lambda a: npz(image=a["image"], input=a["input"]), "no item named"),
        "other channels": (lambda a: npz(**a | {"image": a["image"][..., :1]}), "image has the shape"),
        "no image": (lambda a: npz(**a | {"image": a["image"][:0]}), "image has the shape"),
        "two inputs": (lambda a: npz(**a | {"input": np.repeat(a["input"], 2, 0)}), "input has the shape"),
        "off the grid": (lambda a: npz(**a | {"input": a["input"][:, 1:]}), "fit"),
        "other logits": (lambda a: npz(**a | {"logits": a["logits"][:, 1:]}), "expected"),
        "NaN": (lambda a: npz(**a | {"logits": a["logits"] * np.nan}), "not finite"),
    }.values(),
)
def test_what_is_damaged_is_refused(change, reason, copy):
    bundle = open_bundle(copy)
    content = change(arrays(copy))
    (copy / "golden.npz").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        Golden.load(bundle)
