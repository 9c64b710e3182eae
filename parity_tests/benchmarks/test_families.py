"""The table of families, on two small data sets: what it holds, and that it takes up where it was stopped."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import families as families_table
from benchmarks.families import BASELINE, Args, lines
from unet_data import membranes
from unet_spec import InputError

RUN = {"data": "a", "iou": 0.5, "v_rand": 0.25, "parameters": 1200, "macs": 3_000_000}


@pytest.fixture
def sets(tmp_path):
    """The folder of two data sets of three images."""
    for name, seed in (("one", 0), ("two", 1)):
        dataset = membranes(3, 48, seed)
        for kind, arrays in (("images", dataset.images), ("labels", dataset.labels)):
            (tmp_path / name / kind).mkdir(parents=True)
            for index, array in enumerate(arrays):
                image = Image.fromarray(np.squeeze(array).astype(np.uint8))
                image.save(tmp_path / name / kind / f"{index}.png")
    return tmp_path


def test_lines_are_beside_the_unet():
    nothing = {"data": "a", "network": BASELINE, "iou": 0.4, "v_rand": 0.1}
    runs = [nothing] + [RUN | {"network": n, "seconds_per_step": s} for n, s in (("m-net", 0.5), ("same", 0.25))]
    found = lines([*runs, RUN | {"data": "b", "network": "same", "seconds_per_step": 9.0}], "a")
    assert found == [
        (BASELINE, "0.400", "0.100", "", "", "", ""),
        ("m-net", "0.500", "0.250", "1,200", "3.0 M", "0.50", "2.0"),
        ("same (U-Net)", "0.500", "0.250", "1,200", "3.0 M", "0.25", "1.0"),
    ]
    assert lines(runs[:2], "a")[1][-1] == ""


def test_an_unknown_network_and_another_environment_are_refused(sets, monkeypatch):
    out = sets / "table.json"
    with pytest.raises(InputError, match="m-nets"):
        families_table.main(Args(out, sets, ("one",), ("m-nets",)))
    assert not out.exists()
    document = families_table.open_record(out)
    out.write_text(json.dumps(document))
    assert families_table.open_record(out) == document
    monkeypatch.setenv("OMP_NUM_THREADS", "77")
    with pytest.raises(InputError, match="its runs were made with environment"):
        families_table.open_record(out)


@pytest.mark.slow
def test_the_table_is_made_and_taken_up(sets, monkeypatch):
    out = sets / "out" / "table.json"
    args = Args(out, sets, ("one", "two"), ("same", "probabilistic-unet"), steps=2, batch=1, tile=32)
    assert families_table.main(args) == 0
    document = json.loads(out.read_text())
    wanted = [(data, n) for data in ("one", "two") for n in (BASELINE, "same", "probabilistic-unet")]
    assert [(run["data"], run["network"]) for run in document["runs"]] == wanted
    page = out.with_suffix(".md").read_text()
    assert page.count("| same (U-Net) |") == page.count(f"| {BASELINE} |") == 2
    with Image.open(out.with_suffix(".png")) as picture:
        width, height = picture.size
    assert width > height > 100

    def no(*rest):
        raise AssertionError("trained again")

    monkeypatch.setattr(families_table, "train", no)
    monkeypatch.setattr(families_table, "run_baseline", no)
    assert families_table.main(args) == 0
    assert json.loads(out.read_text())["runs"] == document["runs"]
