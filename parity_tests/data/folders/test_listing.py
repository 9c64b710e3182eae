"""Every entry of a folder is named: what can be read by its name, the rest with its reason."""

import os

from unet_data.folders.listing import Entry, account, list_folder, stem, title, what_lies_there

from ..datasets.folders import refused


def test_every_entry_is_a_file_or_left_out(tmp_path):
    for name in (
        "a.PNG",
        "b.ome.tif",
        "c.nii.gz",
        "d_seg.npy",
        "e.npy",
        "notes.txt",
        ".DS_Store",
        "sub/f.bmp",
        "README",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "v.zarr").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    listing = list_folder(tmp_path)
    assert set(listing.files) == {"a", "b", "c", "e", "v", "sub/f"}
    assert {e.path.name: e.reason.split(":")[0] for e in listing.left_out} == {
        "d_seg.npy": "a file of Cellpose",
        "notes.txt": "unsupported file ending (.txt)",
        "README": "unsupported file ending (none)",
        ".DS_Store": "hidden",
        "gone.png": "a link to missing content",
        "loop": "a link to a folder that is already listed",
        "pipe.png": "not a regular file",
    }
    (tmp_path / "b.png").touch()
    assert "b.ome.tif and b.png have the same name" in refused(list_folder, tmp_path)


def test_names_without_their_endings(tmp_path):
    assert [title(tmp_path / n) for n in ("a.nii.gz", "a.ome.tif", "a.b.png")] == ["a", "a.ome", "a.b"]
    assert stem(tmp_path / "a.ome.tif") == "a"


def test_lines_count_all_and_name_some(tmp_path):
    entries = [Entry(tmp_path / "images" / f"{i}.txt", "left out", "unsupported file ending (.txt)") for i in range(5)]
    entries += [Entry(tmp_path / "a.png", "paired"), Entry(tmp_path / ".x", "left out", "hidden")]
    lines = account(entries)
    assert lines[0] == "files: 1 paired, 5 left out and 1 hidden"
    assert lines[1].endswith("images/0.txt, images/1.txt, images/2.txt, … (--verbose lists all 5)")
    assert account(entries, verbose=True)[1].endswith("images/4.txt")


def test_what_lies_in_a_folder_in_words(tmp_path):
    (tmp_path / "a").mkdir()
    for i in range(5):
        (tmp_path / f"{i}.dcm").touch()
    assert what_lies_there(tmp_path) == "folders a; 5 .dcm"


def test_few_files_are_named_and_many_are_counted(tmp_path):
    for name in ("b.dcm", "a.txt", "README", ".hidden"):
        (tmp_path / name).touch()
    assert what_lies_there(tmp_path) == "README; a.txt; b.dcm"
    for number in range(2):
        (tmp_path / f"{number}.DCM").touch()
    assert what_lies_there(tmp_path) == "3 .dcm, 1 README, 1 .txt"
    for number in range(7):
        (tmp_path / f"f{number}").mkdir()
    assert what_lies_there(tmp_path).startswith("folders f0, f1, f2, f3, f4, f5, …; 3 .dcm")


def test_three_names_are_shown_for_each_reason(tmp_path):
    entries = [Entry(tmp_path / f"{i}.txt", "left out", "odd") for i in range(3)]
    assert account(entries) == [
        "files: 3 left out",
        f"left out, odd: {', '.join(f'{tmp_path.name}/{i}.txt' for i in range(3))}",
    ]
    assert account(entries[:1], shown=0)[1].endswith("odd: , … (--verbose lists all 1)")
    used = [Entry(tmp_path / "a", "used"), Entry(tmp_path / "b", "paired"), Entry(tmp_path / "c", "paired")]
    assert account(used) == ["files: 2 paired, 1 used, 0 left out"]
