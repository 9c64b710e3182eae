"""URLs: zarr that is read and written behind one, in memory and by a server of http on this machine."""

import functools
import http.server
import threading
from pathlib import Path

import numpy as np
import pytest

zarr = pytest.importorskip("zarr", reason="zarr is not installed")
pytest.importorskip("fsspec", reason="fsspec is not installed")

from unet_data import open_pictures
from unet_data.inference.store import RUN, begin
from unet_data.io.stores import remote
from unet_data.io.writers import check_target
from unet_spec import InputError

from ..formats.bright import predicted
from ..formats.test_encode_zarr import ome_zarr
from ..helpers import noise, refused

BUCKET = Path("memory://bucket")


@pytest.fixture
def bucket():
    yield BUCKET
    remote.remove(BUCKET)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A folder and the URL that a server shows it under."""
    folder = tmp_path_factory.mktemp("served")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, Path(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_local_folder_of_that_name_is_no_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert remote.url_of("s3://bucket/a") == "s3://bucket/a"
    (tmp_path / "s3:").mkdir()
    assert remote.url_of("s3://bucket/a") is None
    assert remote.url_of("C:/images/a.zarr") is None


@pytest.mark.parametrize("version", [2, 3])
def test_an_ome_zarr_is_read_behind_http(version, served, tmp_path):
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    folder, url = served
    array = noise(1, 40, 50)
    ome_zarr(folder / f"a{version}.zarr", "zyx", [array, array[:, ::2, ::2]], version)
    [image] = open_pictures(url / f"a{version}.zarr", 2, 1)
    np.testing.assert_array_equal(image[:40, :50][..., 0], array[0])
    assert image.facts.spacing == (2.0, 0.5, 0.25)
    [level] = open_pictures(url / f"a{version}.zarr/1", 2, 1)
    assert (level.shape, level.facts.spacing) == ((20, 25, 1), (2.0, 1.0, 0.5))
    predicted(url / f"a{version}.zarr", tmp_path / "far.zarr")
    predicted(folder / f"a{version}.zarr", tmp_path / "near.zarr")
    assert files(tmp_path / "far.zarr") == files(tmp_path / "near.zarr")


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def stored(folder: Path) -> dict[str, bytes]:
    """The same of a folder in memory."""
    fs, root = remote.filesystem(folder)
    return {name.removeprefix(f"{root}/"): fs.cat_file(name) for name in fs.find(root)}


def test_a_result_behind_a_url_is_that_of_a_folder(bucket, tmp_path):
    array = noise(2, 1100, 130)
    ome_zarr(tmp_path / "a.zarr", "zyx", [array])
    predicted(tmp_path / "a.zarr", tmp_path / "near.zarr")
    predicted(tmp_path / "a.zarr", bucket / "far.zarr", tile=300)
    assert stored(bucket / "far.zarr") == files(tmp_path / "near.zarr")
    assert remote.names(bucket) == {"far.zarr"}  # the tiles are removed
    np.save(tmp_path / "a.npy", array[0])
    predicted(tmp_path / "a.npy", bucket / "plain.zarr")
    [image] = open_pictures(bucket / "plain.zarr", 2, 1)
    np.testing.assert_array_equal(image[:1100, :130][..., 0], array[0] > 127)


def test_only_a_result_is_replaced_and_only_when_asked(bucket, tmp_path):
    np.save(tmp_path / "a.npy", noise(20, 30))
    predicted(tmp_path / "a.npy", bucket / "o.zarr")
    asked = (np.dtype(np.uint8), (), 1, 2)
    assert refused(check_target, bucket / "o.zarr", False, *asked).startswith("memory://bucket/o.zarr exists")
    np.save(tmp_path / "a.npy", np.zeros((20, 30), np.uint8))
    predicted(tmp_path / "a.npy", bucket / "o.zarr", overwrite=True)
    assert not open_pictures(bucket / "o.zarr", 2, 1)[0][:20, :30].any()
    remote.write(bucket / "o.zarr/notes.txt", b"precious")
    assert "contains more" in refused(check_target, bucket / "o.zarr", True, *asked)


def test_the_metadata_come_last(bucket, tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", noise(20, 30))
    before = []
    write = remote.write

    def noted(path, data):
        if path.name == "zarr.json":
            before.append(stored(bucket / "o.zarr"))
        write(path, data)

    monkeypatch.setattr(remote, "write", noted)
    predicted(tmp_path / "a.npy", bucket / "o.zarr")
    assert [set(entries) for entries in before] == [{"c/0/0"}]


def test_a_run_in_a_store_is_joined_or_refused(bucket):
    assert begin(bucket / "o.part", {"image": 1}, {"tile": [8]}) == {"tile": [8]}
    assert begin(bucket / "o.part", {"image": 1}, {"tile": [16]}) == {"tile": [8]}  # the first one's holds
    assert "another image" in refused(begin, bucket / "o.part", {"image": 2}, {})
    remote.write(bucket / "o.part/notes.txt", b"precious")
    assert "notes.txt" in refused(begin, bucket / "o.part", {"image": 1}, {})
    assert RUN in remote.names(bucket / "o.part")


def test_a_chunk_that_claims_too_much_is_refused(bucket):
    store = remote.zarr_store(bucket / "a.zarr", read_only=False)
    made = zarr.create_array(store, shape=(32, 32), chunks=(32, 32), dtype=np.uint8)
    made[...] = 1
    [image] = open_pictures(bucket / "a.zarr", 2, 1)
    assert image[:32, :32].all()
    remote.write(bucket / "a.zarr/c/0/0", bytes(2**21))
    assert image[:32, :32].all(), "chunks that were read last are kept"
    [image] = open_pictures(bucket / "a.zarr", 2, 1)
    with pytest.raises(InputError, match=r"memory://bucket/a\.zarr/c/0/0: a chunk of 1024 bytes is a file of"):
        _ = image[:32, :32]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://bucket/none.zarr", "memory://bucket/none.zarr: no such file or folder"),
        ("nonsense://bucket/a.zarr", "nonsense://bucket/a.zarr: Protocol not known: nonsense"),
        ("http://127.0.0.1:9/a.zarr", "http://127.0.0.1:9/a.zarr: cannot be read"),
    ],
)
def test_what_cannot_be_opened_is_one_line(url, message):
    assert refused(open_pictures, Path(url), 2, 1).startswith(message)


def test_results_go_where_they_can_be_written(bucket):
    asked = (False, np.dtype(np.uint8), (), 1, 2)
    assert "cannot be written to https" in refused(check_target, Path("https://host/o.zarr"), *asked)
    assert "at a URL must be .zarr" in refused(check_target, bucket / "o.tif", *asked)


def test_a_file_is_created_once(bucket):
    place = BUCKET / "claim.json"
    assert remote.create(place, b"one") is True
    assert remote.create(place, b"two") is False
    assert remote.read(place) == b"one"
    remote.write(place, b"three")
    assert remote.read(place) == b"three"
