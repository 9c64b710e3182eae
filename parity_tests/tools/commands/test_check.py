"""`unet check` fails for a wrong network."""

from __future__ import annotations

import json

import pytest

from unet_tools.checking.findings import Finding
from unet_tools.cli import main


def test_a_wrong_network_fails_the_check(checkpoint, tmp_path, monkeypatch, capsys):
    """A twin with a bug: exit code 1, and the table shows it."""
    from unet_torch.nn import pointwise

    monkeypatch.setitem(pointwise.ACTIVATIONS, "relu", lambda x: x.clamp(min=-1e-3))
    assert main(["check", str(checkpoint), "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert {f["runtime"] for f in printed["findings"] if f["ok"] is False} == {"torch"}


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [([True, True], 0), ([True, None], 0), ([True, False], 1), ([False, None], 1), ([None, None], 1), ([], 1)],
)
def test_it_passes_where_something_was_compared_and_nothing_failed(checkpoint, monkeypatch, capsys, verdicts, code):
    findings = [Finding("JAX", "float32", ok=ok) for ok in verdicts]
    monkeypatch.setattr("unet_tools.commands.check.check_checkpoint", lambda *_: findings)
    assert main(["check", str(checkpoint)]) == code
    table = capsys.readouterr().out
    assert table.splitlines()[-1] == ("NOT the same network" if code else "the same network")
    assert [table.count(word) for word in ("FAILED", "not run")] == [verdicts.count(False), verdicts.count(None)]


def test_each_number_stands_in_its_own_column(checkpoint, monkeypatch, capsys):
    finding = Finding("JAX", "float32", "NumPy", 1.23e-7, 2.0e-8, 0.98765, 4.5e-5, True, "a note", 0.875, 0.4321)
    monkeypatch.setattr("unet_tools.commands.check.check_checkpoint", lambda *_: [finding])
    assert main(["check", str(checkpoint)]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = next(line for line in lines if "worst relative" in line)
    row = next(line for line in lines if line.strip().startswith("JAX"))
    shown = dict(zip(head.replace("worst relative", "worst").replace("same labels", "same").replace("at least", "least")
                     .split(), row.split(), strict=False))  # fmt: skip
    assert shown == {
        "runtime": "JAX", "dtype": "float32", "against": "NumPy", "worst": "1.2e-07", "bound": "4.5e-05",
        "same": "98.7650%", "least": "87.50%", "Dice": "0.4321", "note": "ok",
    }  # fmt: skip


def test_a_bundle_is_signed_and_verified_by_commands(tmp_path, capsys):
    signing = pytest.importorskip("parity_tests.export.bundle.test_signing", reason="model-signing is not installed")
    from unet_spec import Checkpoint, preset, random_tensors

    config = preset("same", widths=(2, 4))
    Checkpoint(config, random_tensors(config.graph, 0)).save(tmp_path / "net")
    private, public = signing.keys(tmp_path)
    bundle = tmp_path / "bundle"
    export = ["export", f"{tmp_path}/net", "-o", f"{bundle}", "--engines", "False"]
    assert main([*export, "--sign", f"{private}", "--json"]) == 0
    exported = json.loads(capsys.readouterr().out)
    assert exported["signed"] is True
    assert main(["check", f"{bundle}", "--verify", f"{public}", "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert checked["digest"] == exported["digest"]
    assert main(["check", f"{bundle}"]) == 0
    assert exported["digest"] in capsys.readouterr().out
    (bundle / "notes.txt").write_text("mine")
    assert main(["check", f"{bundle}", "--verify", f"{public}"]) == 2
    assert capsys.readouterr().err.strip() == f"unet: {bundle}: changed after it was signed: added: notes.txt"
    assert main(["check", f"{tmp_path}/net", "--verify", f"{public}"]) == 2
    assert "--verify is for bundles" in capsys.readouterr().err
    assert main(["export", f"{tmp_path}/net", "-o", f"{tmp_path}/one.onnx", "--sign", f"{private}"]) == 2
    assert "--sign signs a bundle" in capsys.readouterr().err
