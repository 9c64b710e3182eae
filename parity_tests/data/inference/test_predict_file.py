"""A file from reading to writing: what is reported, returned, kept, and refused before anything is computed."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import tifffile

from unet_data import OpenNetwork, PredictSettings, Progress, ReadSettings, predict_file
from unet_data.io.budget import check_memory
from unet_spec import DataSpec, InputError, preset

door = importlib.import_module("unet_data.inference.predict_file")
SAME = preset("same", widths=(2, 4))
SIZE = (40, 30)


class Bright:
    """A runtime: class 1 where it is bright."""

    def __init__(self, config=SAME, name="bright"):
        self.config, self.name, self.calls = config, name, 0

    def run(self, images, noise=None):
        self.calls += 1
        return np.concatenate([0.4 - images, images - 0.4], -1)


class Noted(Progress):
    def __init__(self):
        self.warnings, self.plans, self.tiles = [], [], []

    def warn(self, message):
        self.warnings.append(message)

    def planned(self, message, total, before):
        self.plans.append((message, total, before))

    def written(self, number, pixels):
        self.tiles.append((number, pixels))


@pytest.fixture
def image(tmp_path):
    """A file of three pages, and its pixels."""
    pixels = np.random.default_rng(0).integers(0, 255, (3, *SIZE)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "i.tif", pixels, photometric="minisblack")
    return tmp_path / "i.tif", pixels


def test_every_page_is_predicted_and_reported(image, tmp_path):
    source, pixels = image
    progress, network = Noted(), OpenNetwork(Bright(), DataSpec())
    done = predict_file(network, source, tmp_path / "o.npy", PredictSettings(tile=24), progress)
    labels = (pixels / 255 > 0.4).astype(np.uint8)
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), labels)
    assert (done.shape, done.finished, done.computed, done.tiles) == ((3, *SIZE), True, done.tiles, len(progress.tiles))
    assert done.tiles == 3 * len(done.plan.tiles) > 3
    assert done.pixels == labels.size == sum(pixels for _, pixels in progress.tiles)
    assert sorted(number for number, _ in progress.tiles) == list(range(done.tiles))
    assert done.shares == pytest.approx((1 - labels.mean(), labels.mean()))
    assert done.peak >= done.before > 2**20
    assert 0 < done.seconds < 60
    [(message, total, before)] = progress.plans
    assert message == f"{source}: 3 x 40x30: {done.plan.describe()}"
    assert (total, before) == (labels.size, 0)
    assert (done.objects, done.facts.axes) == (None, "QYX")


def test_shards_compute_their_part_and_the_last_call_writes(image, tmp_path):
    source, _ = image
    target, progress = tmp_path / "o.npy", Noted()
    network = OpenNetwork(Bright(), DataSpec(), tmp_path)
    first = predict_file(network, source, target, PredictSettings(tile=24, shard=(1, 2)), progress)
    assert (first.finished, first.shares, target.exists()) == (False, (), False)
    assert (tmp_path / "o.npy.part").is_dir()
    last = predict_file(network, source, target, PredictSettings(tile=24), progress)
    assert last.finished
    assert first.computed + last.computed == last.tiles == 18
    assert first.computed == first.tiles == 9
    assert first.pixels + last.pixels == 3 * 40 * 30
    assert progress.plans[1][1:] == (3 * 40 * 30, first.pixels)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["i.tif", "o.npy"]


@pytest.mark.parametrize(
    "other",
    [{"output": "logits"}, {"tile": 32}, {"halo": 2}, {"augment": "flips"}, {"blend": True},
     {"reading": ReadSettings(orientation="ignore")}],
)  # fmt: skip
def test_tiles_of_other_settings_are_not_continued(image, tmp_path, other):
    network = OpenNetwork(Bright(), DataSpec(), tmp_path)
    given = {"tile": 24}
    predict_file(network, image[0], tmp_path / "o.npy", PredictSettings(**given, shard=(1, 2)))
    with pytest.raises(InputError, match=f"tiles of another run, with another {next(iter(other))}"):
        predict_file(network, image[0], tmp_path / "o.npy", PredictSettings(**(given | other)))


@pytest.mark.parametrize("name", ["weights", "runtime", "pages"])
def test_tiles_of_another_network_or_image_are_not_continued(image, tmp_path, name):
    source, pixels = image
    settings = PredictSettings(tile=24, shard=(1, 2))
    predict_file(OpenNetwork(Bright(), DataSpec(), tmp_path), source, tmp_path / "o.npy", settings)
    if name == "pages":
        tifffile.imwrite(source, pixels[:2], photometric="minisblack")
    weights = None if name == "weights" else tmp_path
    other = OpenNetwork(Bright(name="other" if name == "runtime" else "bright"), DataSpec(), weights)
    what = {"weights": "network", "runtime": "runtime", "pages": "image"}[name]
    with pytest.raises(InputError, match=f"tiles of another run, with another {what};"):
        predict_file(other, source, tmp_path / "o.npy", PredictSettings(tile=24))


def test_a_refused_image_leaves_no_folder(tmp_path):
    np.save(tmp_path / "i.npy", np.zeros(SIZE, np.uint8))
    network = OpenNetwork(Bright(), DataSpec(), tmp_path)
    network.runtime.run = lambda images: np.full((*images.shape[:3], 2), np.nan)
    with pytest.raises(InputError, match="NaN or infinite logits"):
        predict_file(network, tmp_path / "i.npy", tmp_path / "o.npy")
    assert [p.name for p in tmp_path.iterdir()] == ["i.npy"]
    with pytest.raises(InputError, match="NaN or infinite logits"):
        predict_file(network, tmp_path / "i.npy", tmp_path / "o.npy", PredictSettings(shard=(1, 1)))
    assert (tmp_path / "o.npy.part").is_dir()  # other parts may be using it


def test_oddities_are_warned_of_with_the_name_of_the_file(tmp_path):
    np.save(tmp_path / "i.npy", np.random.default_rng(0).normal(127, 40, (1, 24, 24)).astype(np.float32))
    config = preset("same", widths=(2, 4), spatial_dims=3)
    progress, data = Noted(), DataSpec((0.5,), (0.2,))
    predict_file(OpenNetwork(Bright(config), data), tmp_path / "i.npy", tmp_path / "o.npy", progress=progress)
    plane, foreign = progress.warnings
    assert plane == f"{tmp_path / 'i.npy'}: a single plane, but the network takes volumes"
    assert foreign.startswith(f"{tmp_path / 'i.npy'}: values differ from those of the training images")
    with pytest.warns(UserWarning, match="text of the warning") as caught:
        Progress().warn("text of the warning")
    assert caught[0].filename != door.__file__


@pytest.mark.parametrize(
    ("given", "name", "message"),
    [
        ({"output": "logits"}, "o.ome.zarr/labels/a", "a label image holds only labels or objects; write logits to"),
        ({"output": "objects"}, "s3://b/o.tif", r"s3://b/o\.tif: objects can only be written to a local file"),
        ({"samples": 2}, "o.tif", "latent"),
        ({"strips": True}, "o.tif", "--strips runs in torch or jax, not in bright"),
        ({"tile": (1, 2, 3)}, "o.tif", "--tile is 1x2x3, but there are 2 axes"),
        ({}, "i.tif", "i.tif"),
    ],
)
def test_what_would_fail_is_refused_before_the_image_is_opened(image, tmp_path, monkeypatch, given, name, message):
    monkeypatch.setattr(door, "open_pictures", lambda *_, **__: pytest.fail("it was opened"))
    target = name if "://" in name else tmp_path / name
    with pytest.raises(InputError, match=message):
        predict_file(OpenNetwork(Bright(), DataSpec()), image[0], target, PredictSettings(**given))


@pytest.mark.parametrize("name", ["mnn", "mnn-fast", "openvino"])
def test_runtimes_without_noise_draw_no_samples(image, tmp_path, name):
    config = preset("probabilistic-unet")
    network = OpenNetwork(Bright(config, name), DataSpec())
    with pytest.raises(InputError, match=f"{name} cannot draw --samples, since it has no noise input; add --runtime"):
        predict_file(network, image[0], tmp_path / "o.tif", PredictSettings(samples=2))


def test_an_existing_target_is_replaced_only_if_asked(image, tmp_path):
    np.save(tmp_path / "o.npy", np.zeros(3))
    network = OpenNetwork(Bright(), DataSpec())
    with pytest.raises(InputError, match="exists"):
        predict_file(network, image[0], tmp_path / "o.npy")
    predict_file(network, image[0], tmp_path / "o.npy", PredictSettings(overwrite=True))
    assert np.load(tmp_path / "o.npy").shape == (3, *SIZE)


def test_each_page_is_normalised_by_its_own_values(tmp_path):
    """The second page is ten times as bright; the same pixels are bright in each."""
    page = np.random.default_rng(0).integers(0, 25, SIZE)
    tifffile.imwrite(tmp_path / "i.tif", np.stack([page, page * 10]).astype(np.uint8), photometric="minisblack")
    network = OpenNetwork(Bright(), DataSpec(normalization="image"))
    predict_file(network, tmp_path / "i.tif", tmp_path / "o.npy", PredictSettings(tile=24))
    first, second = np.load(tmp_path / "o.npy")
    np.testing.assert_array_equal(first, second)
    assert 0.2 < first.mean() < 0.5


def test_the_memory_limit_and_the_networks_reading_hold_while_the_file_is_opened(image, tmp_path, monkeypatch):
    seen, opened = [], door.open_pictures

    def noted(*given, **more):
        with pytest.raises(InputError, match=r"more than 8\.00 GiB, the given limit"):
            check_memory("a", 2**33 + 1, 2**33)
        seen.append((given[1:], more["settings"]))
        return opened(*given, **more)

    monkeypatch.setattr(door, "open_pictures", noted)
    network = OpenNetwork(Bright(), DataSpec(reading={"orientation": "ignore"}))
    predict_file(network, image[0], tmp_path / "o.npy", PredictSettings(memory=2**33))
    own = ReadSettings(channels="all")
    predict_file(network, image[0], tmp_path / "p.npy", PredictSettings(memory=2**33, reading=own))
    assert seen == [((2, 1), ReadSettings(orientation="ignore")), ((2, 1), own)]


def test_the_room_that_is_needed_is_that_of_all_pages_and_values(image, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(door, "check_room", lambda folder, size: asked.append((folder.name, size)))
    network = OpenNetwork(Bright(), DataSpec())
    predict_file(network, image[0], tmp_path / "o.npy")
    predict_file(network, image[0], tmp_path / "p.npy", PredictSettings(output="logits", dtype="float16"))
    assert asked == [("o.npy.part", 3 * 40 * 30), ("p.npy.part", 3 * 40 * 30 * 2 * 2)]
