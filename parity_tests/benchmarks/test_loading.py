"""What a data set costs as it grows; and that a training holds no more memory the longer it runs."""

import json

import pytest

from benchmarks.loading import Args, main, training, write_images
from benchmarks.process import Apart


@pytest.mark.slow
def test_the_table_of_loading(tmp_path):
    out = tmp_path / "loading.json"
    args = Args(images=(2,), size=40, loaders=("memory",), steps=4, tile=28, widths=(2, 4), out=out)
    assert main(args) == 0
    (line,) = json.loads(out.read_text())["lines"]
    assert (line["loader"], line["images"], line["steps"]) == ("memory", 2, 4)
    assert line["seconds_per_step"] > 0
    assert line["mib_end"] > 50


@pytest.mark.slow
@pytest.mark.parametrize("loader", ["memory", "grain"])
def test_memory_stays_flat_over_1000_steps(tmp_path, loader):
    if loader == "grain":
        pytest.importorskip("grain")
    write_images(tmp_path / "data", 8, 256)
    args = Args(steps=1000, widths=(4, 8), tile=92)
    with Apart(training, tmp_path / "data", loader, args) as run:
        found = run()
    assert found["early_step"] == 100
    assert found["mib_end"] < found["mib_early"] + 16  # batches that were kept would be 250 more
