"""An object store on this machine (moto's server): read, segmented, written; judged by ome-zarr and its models.

They need versions of other packages than the rest: UNET_OBJECT_STORE_PYTHON is a Python with this project's extra
`remote`, moto[server], ome-zarr and ome-zarr-models.
"""

import json
import os
import subprocess

import pytest

from .... import ROOT


@pytest.mark.slow
def test_results_in_an_object_store_are_whole_and_valid(tmp_path):
    if not (python := os.environ.get("UNET_OBJECT_STORE_PYTHON")):
        pytest.skip("UNET_OBJECT_STORE_PYTHON names no Python with s3fs, moto and ome-zarr")
    program = ROOT / "parity_tests/data/io/stores/object_store.py"
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "export", ROOT / "tools")))
    done = subprocess.run(
        [python, str(program), str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["right"]
    assert facts["tiff"], "the result of a TIFF in the store is that of a local one"
    assert facts["batches"], "training batches of the store are those of a folder"
    for version, models in (("2", "v04"), ("3", "v05")):
        found = facts[version]
        assert found["same"] == [True, True], "bytes in the store are those of a folder"
        assert found["left"] == [], "tiles are removed"
        assert models in found["valid"]
        assert found["shapes"] == [[[1100, 600], [550, 300]]] * 2, "an image, and its labels"
