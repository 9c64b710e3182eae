"""Memory that is in use, as a container counts it."""

import pytest

from unet_data.memory import available


@pytest.mark.parametrize(("limit", "room"), [("3000", 3000 - 2500 + 700), ("max", None)])
def test_files_that_a_container_has_read_are_no_memory_in_use(tmp_path, monkeypatch, limit, room):
    for name, text in {
        "max": limit,
        "current": "2500",
        "stat": "anon 1500\nactive_file 300\ninactive_file 700\n",
    }.items():
        (tmp_path / f"memory.{name}").write_text(text + "\n")
    monkeypatch.setattr("unet_data.memory._CGROUP", tmp_path)
    assert available() == room if room else available() > 2**20
