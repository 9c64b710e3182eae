"""The page: content of its folder, and, in Chromium, the same results as ONNX Runtime.

`UNET_NODE_MODULES` names the folder into which npm installed onnxruntime-web and geotiff, `UNET_CHROMIUM` the browser.
"""

import functools
import http.server
import json
import os
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unet_data import most_probable, prepare
from unet_data.io.colours import colour
from unet_data.objects.settings import settings_for
from unet_export import FLOAT32_BOUND, OnnxRuntime, emit_onnx, onnx_bytes, write_web
from unet_export.packages.web import write
from unet_export.packages.web.write import _INSTALL, libraries
from unet_export.reference import reference_logits, whole_input
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors

MODULES, CHROMIUM = os.environ.get("UNET_NODE_MODULES"), os.environ.get("UNET_CHROMIUM") or shutil.which("chromium")
VALID = preset("paper", widths=(4, 8), in_channels=2, out_channels=3)
SAME = preset("same", widths=(4, 8), out_channels=1)
VOLUME = preset("paper", spatial_dims=3, widths=(3, 4))
WHOLE = preset("unet++", widths=(3, 4, 5), in_channels=1)
NETWORKS = {"valid": VALID, "same": SAME, "3-D by planes": VOLUME, "in one piece": WHOLE}


def checkpoint(config):
    channels = config.in_channels
    data = DataSpec((0.5, 0.25)[:channels], (0.2, 0.1)[:channels], ("nothing", "cell", "border")[: config.classes])
    return Checkpoint(config, random_tensors(config.graph, 2), data)


@pytest.fixture
def modules(tmp_path):
    """The page's files in node_modules, empty."""
    folder = tmp_path / "node_modules"
    while True:
        try:
            libraries(folder)
            return folder
        except InputError as e:
            missing = Path(str(e).split("needs ")[1].split(";")[0])
            missing.parent.mkdir(parents=True, exist_ok=True)
            missing.touch()


def test_the_folder_is_whole_and_can_be_replaced(modules, tmp_path):
    for title in ("First", "Second"):
        write_web(checkpoint(VALID), tmp_path / "site", modules, title=title)
    site = json.loads((tmp_path / "site/site.json").read_text())
    assert site["title"] == "Second"
    assert site["axes"][0]["margin"] == VALID.geometry.margin()
    assert site["mean"] == [0.5, 0.25]
    page = (tmp_path / "site/index.html").read_text()
    for name in ("style.css", "app.js", "worker.js", "tiles.js", "files.js", "model.onnx", "golden_image.npy"):
        assert (tmp_path / "site" / name).stat().st_size
    assert "default-src 'self'" in page
    assert "MIT License" in (tmp_path / "site/vendor/onnxruntime-web/LICENSE").read_text()
    assert (
        np.load(tmp_path / "site/golden_logits.npy").shape[:-1]
        == np.load(tmp_path / "site/golden_image.npy").shape[:-1]
    )


def test_what_npm_did_not_install_is_named(tmp_path):
    with pytest.raises(InputError, match=_INSTALL.split("@")[0]):
        write_web(checkpoint(VALID), tmp_path / "site", tmp_path / "nothing")
    assert not (tmp_path / "site").exists()


def test_another_folder_is_left_alone(modules, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="neither empty nor such a page"):
        write_web(checkpoint(VALID), tmp_path / "site", modules)
    with pytest.raises(InputError, match="classes of this network overlap"):
        write_web(
            Checkpoint(VALID, random_tensors(VALID.graph, 1), DataSpec(overlapping=True)), tmp_path / "s", modules
        )
    assert (tmp_path / "site/thesis.txt").read_text() == "mine"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Page:
    """A page in Chromium, as for a user."""

    def __init__(self, page, url):
        self.page, self.url, self.requests, self.problems, self.done = page, url, [], [], 0
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.add_init_script("globalThis.unetKeepLogits = true")
        page.goto(url)
        self.until("document.body.dataset.backend || !document.getElementById('error').hidden")

    def until(self, expression, seconds=120):
        end = time.monotonic() + seconds
        while not self.page.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"{expression}: {self.page.inner_text('body')}"
            self.page.wait_for_timeout(50)

    def segment(self, file):
        self.done += 1
        self.page.set_input_files("#file", file)
        self.until(f"Number(document.body.dataset.done) === {self.done} || !document.getElementById('error').hidden")

    def logits(self):
        return [np.array(part, np.float32) for part in self.page.evaluate("unetLogits.map((part) => Array.from(part))")]

    def saved(self, button, path):
        with self.page.expect_download() as download:
            self.page.click(button)
        download.value.save_as(path)
        return path


@contextmanager
def opened(folder):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    try:
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            yield Page(browser.new_page(), url)
            browser.close()
    finally:
        server.shutdown()
        server.server_close()


def expected_logits(point, image):
    config = point.config
    prepared = prepare(image[None], config, point.data)
    runtime = OnnxRuntime(onnx_bytes(emit_onnx(config, point.tensors, point.data)))
    return runtime.run(whole_input(config.geometry, prepared[0]))[(0, *map(slice, image.shape[:-1]))]


needs_browser = [
    pytest.mark.slow,
    pytest.mark.skipif(not MODULES, reason=f"UNET_NODE_MODULES is not set: the folder of {_INSTALL}"),
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed, and UNET_CHROMIUM is not set"),
]


@pytest.fixture(params=NETWORKS)
def site(request, tmp_path):
    """A page with small tiles, and its network."""
    point = checkpoint(NETWORKS[request.param])
    written = write_web(point, tmp_path / "site", str(MODULES))
    if written["spatial_dims"] == 2:
        for a, axis in enumerate(written["axes"]):
            if axis["tile"]:
                axis["tile"] = point.config.geometry.grid(a).above(60 + 8 * a)
        (tmp_path / "site/site.json").write_text(json.dumps(written))
    return tmp_path, point


class TestBrowser:
    pytestmark = needs_browser

    def test_it_computes_what_onnx_runtime_computes(self, site):
        tmp_path, point = site
        config = point.config
        size = (150, 131) if config.spatial_dims == 2 else (21, 90, 70)
        image = np.random.default_rng(5).integers(0, 60000, (*size, config.in_channels)).astype(np.uint16)
        np.save(tmp_path / "image.npy", image)
        logits = expected_logits(point, image)
        with opened(tmp_path / "site") as page:
            assert float(page.page.evaluate("document.body.dataset.distance")) <= FLOAT32_BOUND
            page.segment(tmp_path / "image.npy")
            (found,) = page.logits()
            mask = tifffile.imread(page.saved("#tiff", tmp_path / "mask.tif"))
            assert all(url.startswith((page.url, "blob:", "data:")) for url in page.requests)
            assert page.problems == []
        assert np.abs(found.reshape(logits.shape) - logits).max() <= FLOAT32_BOUND * np.abs(logits).max()
        assert mask.shape == size
        assert (mask == most_probable(logits)).mean() > 0.9999

    def test_a_wrong_network_is_refused(self, tmp_path):
        point = checkpoint(VALID)
        write_web(point, tmp_path / "site", str(MODULES))
        golden = tmp_path / "site/golden_logits.npy"
        np.save(golden, np.load(golden) * np.float32(1.001))
        with opened(tmp_path / "site") as page:
            assert "does not run in this browser. wasm: 1.0e-3 from the reference" in page.page.inner_text("#error")
            assert page.page.is_disabled("#file")

    def test_files_that_people_have(self, tmp_path):
        from PIL import Image

        point = checkpoint(SAME)
        write_web(point, tmp_path / "site", str(MODULES))
        grey = np.random.default_rng(5).integers(0, 256, (40, 50)).astype(np.uint8)
        Image.fromarray(grey).save(tmp_path / "grey.png")
        Image.fromarray(np.repeat(grey[..., None], 3, -1) // np.array([1, 2, 4], np.uint8)).save(
            tmp_path / "colour.png"
        )
        stack = np.stack([grey, grey[::-1]]).astype(np.uint16) * 257
        tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack", compression="zlib")
        (tmp_path / "broken.tif").write_bytes(b"II*\0nothing")
        np.save(tmp_path / "signed.npy", grey.astype(np.int32))
        logits = expected_logits(point, grey[..., None])
        scale = FLOAT32_BOUND * np.abs(logits).max()
        with opened(tmp_path / "site") as page:
            page.segment(tmp_path / "grey.png")
            assert np.abs(page.logits()[0].reshape(logits.shape) - logits).max() <= scale
            page.segment(tmp_path / "stack.tif")
            first, second = (part.reshape(logits.shape) for part in page.logits())
            assert np.abs(first - logits).max() <= scale
            assert np.abs(second - expected_logits(point, grey[::-1][..., None])).max() <= scale
            assert tifffile.imread(page.saved("#tiff", tmp_path / "mask.tif")).shape == stack.shape
            with Image.open(page.saved("#png", tmp_path / "mask.png")) as picture:
                assert picture.size == (50, 40)
            page.segment(tmp_path / "colour.png")
            assert "turned to grey" in page.page.inner_text("#notes")
            for name, message in (("broken.tif", "cannot be read"), ("signed.npy", "expected uint8, uint16")):
                page.segment(tmp_path / name)
                page.done -= 1
                assert message in page.page.inner_text("#error")
            assert page.problems == []


def test_the_page_gets_the_facts_of_the_network():
    point = checkpoint(VALID)
    site = write._site(point, (40, 60), True, None, "MIT", b"12345")
    geometry = VALID.geometry
    assert site["axes"] == [
        {"minimum": 18, "step": 2, "margin": 8, "halo": list(geometry.halo(a)), "tile": tile, "fixed": True}
        for a, tile in enumerate((40, 60))
    ]
    numbers = ("spatial_dims", "in_channels", "out_channels", "output_channels", "classes", "model_bytes")
    assert [site[name] for name in numbers] == [2, 2, 3, 3, 3, 5]
    assert (site["format"], site["title"], site["model"]) == ("unet-page", "Segment border", "model.onnx")
    assert site["colors"] == [list(colour(k)) for k in range(3)]
    assert (site["mean"], site["std"]) == ([0.5, 0.25], [0.2, 0.1])
    assert site["golden"] == {"image": "golden_image.npy", "logits": "golden_logits.npy", "bound": 1e-5}
    facts = dict(site["facts"])
    assert facts["network"] == f"unet, 2-D, {VALID.graph.parameter_count:,} parameters"
    assert facts["tiles"] == "40 × 60; they equal the whole image"
    assert (facts["licence of the weights"], facts["checkpoint"]) == ("MIT", point.digest()[:16])
    plain = write._site(Checkpoint(WHOLE, random_tensors(WHOLE.graph, 0)), None, False, "T", None, b"")
    assert (plain["title"], plain["class_names"]) == ("T", ["class 0", "class 1"])
    assert [(a["halo"], a["tile"], a["fixed"]) for a in plain["axes"]] == [([0, 0], None, False)] * 2
    assert dict(plain["facts"])["tiles"] == "none: the image is run in one piece"
    assert dict(plain["facts"])["licence of the weights"].startswith("not stated")


@pytest.mark.parametrize(("dims", "fixed", "webgpu"), [(2, False, True), (3, False, False), (3, True, True)])
def test_webgpu_runs_planes_only(dims, fixed, webgpu):
    config = preset("paper", widths=(2, 4), spatial_dims=dims)
    point = Checkpoint(config, random_tensors(config.graph, 0))
    assert write._site(point, (20,) * dims, fixed, None, None, b"")["webgpu"] == webgpu


@pytest.mark.parametrize(
    ("changes", "values"),
    [({"out_channels": 1}, 1), ({"out_channels": 2}, 1), ({"out_channels": 3}, 3), ({"distance_head": True}, 3)],
)
def test_objects_are_made_of_as_many_values_as_they_need(changes, values):
    config = preset("same", widths=(2, 4), **changes)
    found = write._objects(Checkpoint(config, {}))
    assert found["values"] == values
    assert "in each plane by itself: " in found["made"]
    assert "(the defaults)" in found["made"]
    settings = settings_for(DataSpec(), config)
    assert found["steps"] == [1, *settings.steps(2)]
    solid = write._objects(Checkpoint(config.replace(spatial_dims=3), {}))
    assert "in each plane" not in solid["made"]
    assert solid["steps"] == list(settings.steps(3))
    stored = write._objects(Checkpoint(config, {}, DataSpec(objects=settings.to_dict())))
    assert "(as stored with the network)" in stored["made"]


def test_the_example_and_the_model_of_the_page(modules, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (21, 18, 1)).astype(np.uint8)
    point = checkpoint(SAME)
    site = write_web(point, tmp_path / "site", modules, golden_image=image)
    np.testing.assert_array_equal(np.load(tmp_path / "site/golden_image.npy"), image)
    logits = np.load(tmp_path / "site/golden_logits.npy")
    prepared = prepare(image[None], SAME, point.data)
    expected = reference_logits(point, whole_input(SAME.geometry, prepared[0]))[0, :21, :18]
    np.testing.assert_array_equal(logits, expected.astype(np.float32))
    content = (tmp_path / "site/model.onnx").read_bytes()
    assert content == onnx_bytes(emit_onnx(SAME, point.tensors, point.data))
    assert (site["model_bytes"], site["axes"][0]["tile"], site["axes"][0]["fixed"]) == (len(content), 572, False)
