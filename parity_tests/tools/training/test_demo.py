"""The web page that the demo writes. The whole demo is run by `tools/commands/test_every_family.py`."""

from pathlib import Path

import numpy as np

from unet_export.packages.web.write import libraries
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_tools.training.demo import write_page

CONFIG = preset("same", widths=(4, 8))
GOLDEN = np.zeros((33, 33, 1), np.uint8)


def network(**data):
    return Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0), DataSpec(**data))


def install(npm):
    """The files that npm installs, empty."""
    while True:
        try:
            return libraries(npm)
        except InputError as e:
            missing = Path(str(e).split("needs ")[1].split(";")[0])
            missing.parent.mkdir(parents=True, exist_ok=True)
            missing.touch()


def test_a_page_is_left_where_its_libraries_are(tmp_path):
    out, npm = tmp_path / "demo", tmp_path / "node_modules"
    line = write_page(network(), out, npm, GOLDEN)
    assert line.startswith("no page that segments: the page needs ")
    assert "run npm install onnxruntime-web" in line
    assert line.endswith(f"; then: unet export {out}/run/best -o {out}/site --to web")
    assert not out.exists()
    install(npm)
    line = write_page(network(), out, npm, GOLDEN)
    assert line == f"a page that segments: python3 -m http.server -d {out}/site, then open http://localhost:8000"
    np.testing.assert_array_equal(np.load(out / "site" / "golden_image.npy"), GOLDEN)
    line = write_page(network(overlapping=True), out, npm, GOLDEN)
    assert line.startswith(
        f"no page that segments ({out}/site is of an earlier run): the page supports one class per pixel"
    )
    assert "unet export" not in line
