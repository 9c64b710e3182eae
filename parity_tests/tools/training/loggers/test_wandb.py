"""Weights & Biases offline: the reported records are read back from its file."""

import time

import pytest

from .records import log

pytestmark = pytest.mark.usefixtures("drawn")


def pieces(content):
    """The records of a .wandb file, which is a log of LevelDB behind seven bytes: blocks of 32 KiB; each piece of a
    record has a checksum (4 bytes), its length (2) and whether it is a whole record (1), its first, middle or last."""
    at, record = 7, b""
    while at < len(content):
        if 2**15 - at % 2**15 < 7:
            at += 2**15 - at % 2**15
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.slow
def test_wandb_writes_files_of_settings_and_curves_and_a_resumed_run_has_the_same_identifier(tmp_path, capsys):
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    assert not log("wandb", tmp_path).failed
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    time.sleep(1.1)  # the name of a run's folder has the second
    log("wandb", tmp_path, [{"step": 30, "loss": 0.125}], resume=True)
    assert capsys.readouterr().err == ""
    names = sorted(path.name for path in (tmp_path / "wandb").glob("offline-run-*"))
    assert len(names) == 2
    assert len({name.rpartition("-")[2] for name in names}) == 1
    (file,) = folder.glob("run-*.wandb")
    history, config = [], {}
    for content in pieces(file.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(content)
        if record.HasField("history"):
            pairs = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            history.append((record.history.step.num, pairs))
        if record.HasField("run"):
            config |= {item.key: item.value_json for item in record.run.config.update}
    assert config["steps"] == "20"
    assert [step for step, _ in history] == [10, 20]
    assert (history[0][1]["loss"], history[1][1]["loss"], history[1][1]["iou"]) == ("0.5", "0.25", "0.75")
    assert history[1][1]["validation/width"] == "8"
    assert list((folder / "files" / "media" / "images").glob("validation_20_*.png"))
