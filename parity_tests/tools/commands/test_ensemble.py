"""unet ensemble: from runs or checkpoints to a folder that every command accepts."""

import json

import numpy as np
import pytest
from PIL import Image

from unet_data import read_stack
from unet_export import MnnRuntime, OnnxRuntime, emit_onnx, onnx_bytes
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.cli import main

from .refusals import refused

CONFIG = preset("same", widths=(2, 3))


def save(folder, seed=0, config=CONFIG, mean=None, **data):
    spec = DataSpec((0.5 if mean is None else mean,), (0.2,), ("a", "b"), **data)
    Checkpoint(config, random_tensors(config.graph, seed), spec).save(folder)
    return folder


@pytest.fixture
def folds(tmp_path):
    for i in (1, 2, 10):
        save(tmp_path / f"runs/fold-{i}/best", i, mean=0.4 + i / 100)
    return tmp_path / "runs"


def test_folds_become_one_checkpoint(folds, tmp_path, capsys):
    assert main(["ensemble", str(folds), "-o", str(tmp_path / "e"), "--licence", "cc0-1.0"]) == 0
    printed = capsys.readouterr()
    assert "the mean of these 3 networks (U-Net, " in printed.out
    assert "each member normalises images by its own" in printed.err
    found = Checkpoint.load(tmp_path / "e")
    for number, fold in enumerate((1, 2, 10)):  # in numerical order, not alphabetical
        own = Checkpoint.load(folds / f"fold-{fold}/best")
        np.testing.assert_array_equal(found.tensors[f"members.{number}.head.weight"], own.tensors["head.weight"])
    assert "license: cc0-1.0" in (tmp_path / "e/README.md").read_text()
    assert main(["ensemble", *(str(folds / f"fold-{i}") for i in (1, 2, 10)), "-o", str(tmp_path / "f"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["members"] == [str(folds / f"fold-{i}/best") for i in (1, 2, 10)]
    assert Checkpoint.load(tmp_path / "f").digest() == found.digest()


def test_its_labels_are_those_of_the_mean_probability(folds, tmp_path, capsys):
    image = np.random.default_rng(0).integers(0, 256, (40, 46), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "i.png")
    assert main(["ensemble", str(folds), "-o", str(tmp_path / "e")]) == 0
    wanted = []
    for of in (tmp_path / "e", *(folds / f"fold-{i}/best" for i in (1, 2, 10))):
        out = tmp_path / f"{of.parent.name}.tif"
        assert main(["predict", str(of), str(tmp_path / "i.png"), "-o", str(out), "--output", "probabilities"]) == 0
        wanted.append(read_stack(out).astype(np.float64))
    capsys.readouterr()
    np.testing.assert_allclose(wanted[0], np.mean(wanted[1:], axis=0), atol=1e-5)


def test_its_onnx_file_is_the_same_network(folds, tmp_path):
    assert main(["ensemble", str(folds), "-o", str(tmp_path / "e")]) == 0
    found = Checkpoint.load(tmp_path / "e")
    image = np.random.default_rng(0).normal(size=(1, 8, 10, 1)).astype(np.float32)
    wanted = found.config.graph.forward(
        {n: t.astype(np.float64) for n, t in found.tensors.items()}, image.astype(float)
    )
    content = onnx_bytes(emit_onnx(found.config, found.tensors, found.data))
    np.testing.assert_allclose(OnnxRuntime(content).run(image), wanted, atol=1e-4)
    pytest.importorskip("MNN")
    np.testing.assert_allclose(MnnRuntime(content).run(image), wanted, atol=1e-4)


def test_one_line_for_what_cannot_be_joined(folds, tmp_path, capsys):
    one = save(tmp_path / "one")
    other = save(tmp_path / "other", config=CONFIG.replace(widths=(2, 4)))
    out = tmp_path / "e"
    assert "widths is [2, 4], that of" in refused(capsys, "ensemble", one, other, "-o", out)
    assert "listed twice" in refused(capsys, "ensemble", one, one, "-o", out)
    assert "nor a run with a best/" in refused(capsys, "ensemble", tmp_path / "nowhere", "-o", out)
    assert "holds the member" in refused(capsys, "ensemble", one, "-o", one)
    assert "holds the member" in refused(capsys, "ensemble", folds, "-o", folds / "fold-1")
    (folds / "fold-3").mkdir()
    assert "fold-3 has no best/" in refused(capsys, "ensemble", folds, "-o", out)
    assert not out.exists()
    main(["ensemble", str(one), "-o", str(out)])
    capsys.readouterr()
    assert "member is an ensemble" in refused(capsys, "ensemble", out, "-o", tmp_path / "f")
