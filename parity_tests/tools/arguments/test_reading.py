"""Files are read as in training, unless a flag overrides it; both are reported in one line."""

import json
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image

from unet_data import FileFacts, OpenNetwork, ReadSettings, predict_file, read_image
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_tools.arguments.reading import ReadFlags, assumed_reading, chosen_reading
from unet_tools.arguments.runtimes import open_network
from unet_tools.cli import main

ALL = {
    "channels": "all",
    "orientation": "apply",
    "white_is_zero": "auto",
    "palette": "auto",
    "class_colors": "",
    "axes": "",
    "pixel_size": "",
}
CONFIG = preset("paper", widths=(2, 3), in_channels=4, dropout=0.0)
IMAGE = np.random.default_rng(0).integers(0, 255, (40, 44, 4), dtype=np.uint8)
RGBA = "picture.png"


def saved(folder, reading):
    tensors = random_tensors(CONFIG.graph, 0, np.float32)
    data = DataSpec((0.5,) * 4, (0.2,) * 4, ("nothing", "cell"), reading=reading)
    Checkpoint(CONFIG, tensors, data).save(folder)
    return folder


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / RGBA)
    return tmp_path / RGBA


def test_every_setting_has_a_flag():
    assert [each.name for each in fields(ReadFlags)] == [each.name for each in fields(ReadSettings)]


def test_what_the_network_stores_is_taken_and_said():
    assert chosen_reading(ReadFlags(), DataSpec(reading=ALL)) == (
        ReadSettings(channels="all"),
        ["--channels all: as in training"],
    )
    assert chosen_reading(ReadFlags(), DataSpec(reading={})) == (ReadSettings(), [])


def test_a_flag_goes_before_it_and_is_said():
    flags = ReadFlags(channels="auto", palette="index", orientation="apply")
    assert chosen_reading(flags, DataSpec(reading=ALL)) == (
        ReadSettings(palette="index"),
        ["--channels auto, --palette index: unlike training, which had --channels all, --palette auto"],
    )
    assert chosen_reading(flags, DataSpec()) == (ReadSettings(palette="index"), [])  # no stored setting to differ from


def test_where_nothing_is_stored_the_defaults_are_said_once_they_decide():
    alpha = FileFacts(alpha="kept")
    [line] = assumed_reading(ReadFlags(channels="all"), DataSpec(), [FileFacts(), alpha], "RUN/best")
    assert line == (
        "RUN/best does not say how training read its files; assumed: --orientation apply, --white-is-zero auto, "
        "--palette auto"
    )
    assert assumed_reading(ReadFlags(), DataSpec(), [FileFacts(left_out=("a label",))], "RUN/best") == []
    assert assumed_reading(ReadFlags(), DataSpec(reading=ALL), [alpha], "RUN/best") == []


@pytest.mark.parametrize("stored", [{"level": "0"}, {"channels": "some"}])
def test_what_this_version_does_not_know_is_refused(stored):
    with pytest.raises(InputError, match=next(iter(stored))):
        chosen_reading(ReadFlags(), DataSpec(reading=stored))


def test_predict_reads_as_training_did(tmp_path, picture, capsys):
    saved(tmp_path / "net", ALL)
    assert main(["predict", str(tmp_path / "net"), str(picture), "-o", str(tmp_path / "a.png")]) == 0
    heard = capsys.readouterr().err
    assert "--channels all: as in training" in heard
    assert "alpha kept: 1 of 1 images" in heard
    rest = ["-o", str(tmp_path / "b.png"), "--channels", "auto"]
    assert main(["predict", str(tmp_path / "net"), str(picture), *rest]) == 2
    assert "--channels auto: unlike training, which had --channels all" in capsys.readouterr().err
    assert not (tmp_path / "b.png").exists()


def test_python_reads_as_training_did(tmp_path, picture):
    network = open_network(saved(tmp_path / "net", ALL))
    assert isinstance(network, OpenNetwork)
    assert predict_file(network, picture, tmp_path / "a.png").facts.alpha == "kept"
    assert read_image(picture, network.reading).shape[-1] == 4


def test_an_older_checkpoint_is_read_and_its_defaults_are_said(tmp_path, picture, capsys):
    three = CONFIG.replace(in_channels=3)
    Checkpoint(three, random_tensors(three.graph, 0, np.float32), DataSpec()).save(tmp_path / "net")
    assert "reading" not in json.loads((tmp_path / "net" / "config.json").read_text())["data"]
    assert main(["predict", str(tmp_path / "net"), str(picture), "-o", str(tmp_path / "a.png")]) == 0
    heard = capsys.readouterr().err
    assert "alpha dropped: 1 of 1 images" in heard
    assert "net does not say how training read its files; assumed: --channels auto" in heard


def test_evaluate_reads_as_training_did_and_says_it_in_json(tmp_path, capsys):
    for name, array in (("images", IMAGE), ("labels", IMAGE[..., :1] // 128)):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.fromarray(np.squeeze(array)).save(tmp_path / "data" / name / "a.png")
    rest = [str(saved(tmp_path / "net", ALL)), str(tmp_path / "data"), "--runtime", "onnx"]
    assert main(["evaluate", *rest]) == 0
    assert "--channels all: as in training" in capsys.readouterr().err
    assert main(["evaluate", *rest, "--json", "--palette", "index"]) == 0
    assert json.loads(capsys.readouterr().out)["reading"] == ALL | {"palette": "index"}


def test_a_bundle_carries_it(tmp_path, picture):
    from unet_export import BundleSettings, load, write_bundle

    write_bundle(Checkpoint.load(saved(tmp_path / "net", ALL)), tmp_path / "b", BundleSettings(engines=False))
    said = "Files as read in training: channels all, orientation apply, white is zero auto, palette auto."
    assert said in (tmp_path / "b" / "README.md").read_text()
    with load(tmp_path / "b", "onnx") as predictor:
        assert predictor.reading == ReadSettings(channels="all")
        assert predictor(read_image(picture, predictor.reading)[None]).shape == (1, 40, 44, 2)
    assert main(["predict", str(tmp_path / "b"), str(picture), "-o", str(tmp_path / "a.png")]) == 0
