"""Memory that is in use, as a container counts it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from unet_data import memory
from unet_data.memory import available, peak_resident, resident, restart_peak


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


def free_on(monkeypatch, tmp_path, text, pages=(4096, 1000)):
    """`available` on a machine without containers that states `text`, or has these pages."""
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(
        "os.sysconf", lambda name: dict(zip(("SC_PAGE_SIZE", "SC_PHYS_PAGES"), pages, strict=True))[name]
    )
    read = Path.read_text

    def stated(path, *given, **more):
        if str(path).startswith("/proc/"):
            if text is None:
                raise OSError("no such file")
            return text
        return read(path, *given, **more)

    monkeypatch.setattr(Path, "read_text", stated)
    return available()


def test_what_is_available_is_what_the_machine_states(tmp_path, monkeypatch):
    stated = "MemTotal:  9000 kB\nMemFree:  10 kB\nMemAvailable:    7000 kB\nMemAvailable:  1 kB\n"
    assert free_on(monkeypatch, tmp_path, stated) == 7000 * 1024
    assert free_on(monkeypatch, tmp_path, "MemTotal: 9000 kB\n") == 4096 * 1000 // 2  # half of all of it
    assert free_on(monkeypatch, tmp_path, None) == 4096 * 1000 // 2


def test_a_container_without_statistics_of_files_counts_all_that_it_uses(tmp_path, monkeypatch):
    for name, text in {"max": "3000", "current": "2500", "stat": "anon 1500"}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert free_on(monkeypatch, tmp_path, "MemAvailable: 7 kB") == 500
    (tmp_path / "memory.max").write_text("30000")
    assert free_on(monkeypatch, tmp_path, "MemAvailable: 7 kB") == 7 * 1024  # the machine has less


def test_the_memory_of_the_process_is_what_the_system_states(tmp_path, monkeypatch):
    free_on(monkeypatch, tmp_path, "VmHWM:\t    300 kB\nVmRSS:\t    200 kB\n")
    assert (resident(), peak_resident()) == (200 * 1024, 300 * 1024)
    free_on(monkeypatch, tmp_path, None)
    monkeypatch.setattr("resource.getrusage", lambda who: SimpleNamespace(ru_maxrss=77))
    for platform, unit in (("linux", 1024), ("darwin", 1)):
        monkeypatch.setattr("sys.platform", platform)
        assert resident() == peak_resident() == 77 * unit


def test_the_peak_begins_again(monkeypatch):
    written = []
    monkeypatch.setattr(Path, "write_text", lambda path, text: written.append((str(path), text)))
    restart_peak()
    assert written == [("/proc/self/clear_refs", "5")]
