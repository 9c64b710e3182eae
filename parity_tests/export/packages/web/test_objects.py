"""The page's objects, run by Node.js, equal those of Python; so do its outlines and table."""

import csv
import io
import json
import shutil
import subprocess
from importlib import resources

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from unet_data import ObjectSettings, measure_objects
from unet_data.objects.outlines import Page, write_outlines
from unet_data.objects.parts import ratio_of
from unet_data.objects.whole import label_in_blocks
from unet_export import BundleSettings, load, write_bundle, write_web
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors

from ....data.objects.maps import VARIANTS, blobs, variant
from .test_write import MODULES, needs_browser, opened

NAMES = ("nothing", 'a "round" cell', "other")
SHAPES = {2: (61, 83), 3: (13, 17, 19)}

SCRIPT = """
import { readFileSync } from "node:fs";
const { findObjects } = await import("PAGE/objects.js");
const { geojson, table } = await import("PAGE/outlines.js");
const all = [];
for (const { values, size, flat, how, names } of JSON.parse(readFileSync(0))) {
  const { labels, rows } = findObjects(Uint8Array.from(values), size, flat, how);
  const outlines = flat ? await geojson([rows], labels, size.slice(1), names).text() : "";
  const files = [await table([rows], names, !flat).text(), outlines];
  all.push({ labels: [...labels], classes: rows.map(({ type }) => type), files });
}
console.log(JSON.stringify(all));
"""


def page_objects(cases):
    """The results of the page's modules for each of (values, settings, dims)."""
    given = []
    for values, settings, dims in cases:
        size, flat = values.shape[:dims], dims == 2
        how = settings.to_dict() | {"ratio": ratio_of(settings), "steps": [1] * flat + list(settings.steps(dims))}
        given.append(
            {"values": values.ravel().tolist(), "size": [1] * flat + list(size), "flat": flat, "how": how}
            | {"names": NAMES}
        )
    page = resources.files("unet_export.packages.web").joinpath("page")
    command = ["node", "--input-type=module", "-e", SCRIPT.replace("PAGE", str(page))]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def edges_of_the_rules():
    """Values at the limits of the rules: holes and sizes at their limit, no distance, more border than class."""
    square = np.pad(np.full((9, 9), 255, np.uint8), 3)
    square[6:9, 6:9] = 0
    yield square, ObjectSettings(fill_holes=9, minimum_size=81, maximum_size=81), 2
    yield square, ObjectSettings(fill_holes=8, maximum_size=71), 2
    marked = np.zeros((*square.shape, 3), np.uint8)
    marked[..., 0], marked[square > 0] = 255, (0, 100, 155)
    yield marked, ObjectSettings("probability", border=2, core=0.3), 2
    noise = np.random.default_rng(0).integers(0, 3, (40, 40), np.uint8)
    flat = np.stack([noise * 0, noise * 0 + 255, noise], -1)  # a distance near 0, where smoothing must round
    yield flat, ObjectSettings("predicted", distance=2, neck=1.0), 2
    yield flat, ObjectSettings("predicted", distance=2, neck=1.0, smoothing=4), 2
    valley = np.zeros((8, 9, 3), np.uint8)  # two maxima of one object, both without a distance
    valley[..., 0], valley[2:6, 2:7] = 255, (0, 255, 0)
    valley[2:5, 4] = (255, 0, 0)
    yield valley, ObjectSettings("predicted", distance=2), 2


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_every_setting_gives_the_objects_table_and_outlines_of_python(tmp_path):
    cases = [
        (blobs(SHAPES[dims], len(name), variant(name, dims)[1], sigma=4.0 - dims), variant(name, dims)[0], dims)
        for name in VARIANTS
        for dims in (2, 3)
    ] + list(edges_of_the_rules())
    for (values, settings, dims), found in zip(cases, page_objects(cases), strict=True):
        labels, objects = label_in_blocks(values, settings, dims, values.shape[:dims])
        np.testing.assert_array_equal(np.reshape(found["labels"], labels.shape), labels, err_msg=str(settings))
        assert found["classes"] == objects.classes.tolist()
        columns = measure_objects(labels, None, len(objects.classes))
        rows = list(csv.DictReader(io.StringIO(found["files"][0])))
        assert [row["class"] for row in rows] == [NAMES[c] for c in objects.classes]
        for name in rows[0].keys() - {"class"} if rows else ():
            assert [float(row[name]) for row in rows] == columns[name].tolist(), name
        if dims == 2:
            page = Page(labels, columns, [NAMES[c] for c in objects.classes], "image")
            write_outlines(tmp_path / "o.geojson", [page], NAMES[1:])
            assert json.loads(found["files"][1]) == json.loads((tmp_path / "o.geojson").read_text())


def test_settings_that_do_not_fit_are_refused(tmp_path):
    config = preset("same", widths=(4, 8))
    point = Checkpoint(config, random_tensors(config.graph, 0), DataSpec(objects={"method": "predicted"}))
    with pytest.raises(InputError, match="method predicted needs a network that predicts distances"):
        write_web(point, tmp_path / "site", tmp_path)


NETWORKS = {
    "classes": (preset("paper", widths=(4, 8), out_channels=3), 2, {"minimum_size": 3, "fill_holes": 4}),
    "distance head": (preset("same", widths=(4, 8), distance_head=True), 0, None),
    "volume": (preset("paper", spatial_dims=3, widths=(3, 4)), 3, {"neck": 0.9}),
}
"""A network, the seed of its weights, and the settings of objects stored with it."""


class TestBrowser:
    pytestmark = needs_browser

    @pytest.mark.parametrize("name", NETWORKS)
    def test_the_page_finds_the_objects_of_the_predictor(self, name, tmp_path):
        config, seed, settings = NETWORKS[name]
        volume, names = config.spatial_dims == 3, NAMES[: config.classes]
        point = Checkpoint(
            config, random_tensors(config.graph, seed), DataSpec((0.5,), (0.2,), names, objects=settings)
        )
        noise = ndimage.gaussian_filter(np.random.default_rng(1).random((20, 40, 44) if volume else (90, 110)), 3)
        image = np.round((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)
        pages = [image] if volume else [image, image[::-1]]
        tifffile.imwrite(tmp_path / "image.tif", image if volume else np.stack(pages), photometric="minisblack")
        write_web(point, tmp_path / "site", str(MODULES))
        with load(write_bundle(point, tmp_path / "bundle", BundleSettings(engines=False)), "onnx") as predictor:
            expected = predictor.objects(np.stack(pages)[..., None])
        counts = np.sum([np.bincount(classes, minlength=config.classes) for _, classes in expected], 0)
        with opened(tmp_path / "site") as page:
            page.segment(tmp_path / "image.tif")
            shown = page.page.eval_on_selector_all("#classes td:last-child", "cells => cells.map((c) => c.textContent)")
            rows = list(csv.DictReader(io.StringIO(page.saved("#csv", tmp_path / "o.csv").read_text())))
            assert ("stored with" if settings else "the defaults") in page.page.inner_text("#objects-made")
            assert page.page.is_visible("#outlines")
            assert page.page.is_hidden("#geojson") == volume
            if not volume:
                outlines = json.loads(page.saved("#geojson", tmp_path / "o.geojson").read_text())["features"]
                assert len(outlines) == counts.sum()
                assert outlines[-1]["geometry"]["plane"]["t"] == 1
            assert page.problems == []
        assert counts.sum() > 8
        assert shown == ["–", *map(str, counts[1:])]
        for number, (labels, classes) in enumerate(expected):
            columns = measure_objects(labels, None, len(classes))
            own = [row for row in rows if int(row.get("image", 0)) == number]
            assert [row["class"] for row in own] == [names[c] for c in classes]
            for key in ("object", "area", "y", "x", "y_min", "x_max", *("z" for _ in range(volume))):
                assert [float(row[key]) for row in own] == columns[key].tolist()
