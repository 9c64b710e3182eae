"""Processes that SLURM or Kubernetes started: found by their variables; flags have precedence."""

import os
import signal
import socket
import subprocess
import sys

import pytest

pytest.importorskip("jax", reason="jax is not installed; pip install 'unet-twins[jax]'")

import jax

from unet_tools.arguments.processes import ProcessFlags, join_processes, launched

from ...data.io.helpers import refused

STEP = {
    "SLURM_JOB_ID": "12",
    "SLURM_STEP_NODELIST": "node[003-004]",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}


@pytest.fixture
def joined(monkeypatch):
    """The arguments of jax.distributed.initialize, in an environment without a cluster."""
    for name in [*STEP, *POD, "SLURM_GPUS_PER_TASK", "SLURM_TRES_PER_TASK"]:
        monkeypatch.delenv(name, raising=False)
    arrived, devices = [], {}
    monkeypatch.setattr(jax.distributed, "initialize", lambda *args: arrived.append(args))
    monkeypatch.setattr(jax.config, "update", devices.__setitem__)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "kubernetes")
    return arrived, devices


def under(monkeypatch, environment, **changes):
    for name, value in (environment | changes).items():
        monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name, raising=False)


def test_a_step_of_slurm_is_found_and_jax_finds_its_first_node(joined, monkeypatch):
    under(monkeypatch, STEP)
    said = []
    assert join_processes(ProcessFlags(), said.append) == ProcessFlags("", 4, 1)
    assert joined == ([(None, 4, 1)], {})  # on a GPU machine, each task takes the GPU of its number
    assert said == []
    under(monkeypatch, STEP, SLURM_PROCID="0")
    join_processes(ProcessFlags(), said.append)
    assert said == ["SLURM job 12: training with 4 processes, of which this is process 0; --processes 1 trains alone"]


@pytest.mark.parametrize("own", [{"SLURM_STEP_NUM_NODES": "4"}, {"SLURM_GPUS_PER_TASK": "2"}])
def test_a_task_uses_all_gpus_that_are_its_own(joined, monkeypatch, own):
    under(monkeypatch, STEP, **own)
    join_processes(ProcessFlags())
    assert joined[1] == {"jax_cuda_visible_devices": "all", "jax_rocm_visible_devices": "all"}


@pytest.mark.parametrize(
    "changes",
    [
        {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},  # the shell of an interactive job of 4 tasks
        {"SLURM_STEP_NUM_TASKS": None, "SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
        dict.fromkeys(STEP),
    ],
)
def test_one_task_waits_for_nobody(joined, monkeypatch, changes):
    under(monkeypatch, STEP, **changes)
    assert join_processes(ProcessFlags()) == ProcessFlags("", 1, 0)
    assert joined[0] == []


@pytest.mark.parametrize(
    "changes",
    [{"SLURM_STEP_NODELIST": None, "SLURM_STEP_NUM_TASKS": None}, {"SLURM_STEP_NUM_TASKS": "1"}],
    ids=["job script", "interactive shell"],
)
def test_srun_is_advised_where_other_tasks_stay_idle(joined, monkeypatch, changes):
    under(monkeypatch, STEP, SLURM_PROCID="0", **changes)
    said = []
    assert join_processes(ProcessFlags(), said.append) == ProcessFlags("", 1, 0)
    assert said == [
        "SLURM job 12 has 4 tasks, of which this command runs as one; start it by srun to train with all of them"
    ]
    assert joined[0] == []


def test_a_pod_of_an_indexed_job_is_found_and_jax_asks_for_the_number(joined, monkeypatch):
    under(monkeypatch, POD)
    said = []
    join_processes(ProcessFlags(), said.append)
    assert joined[0] == [(None, None, 0)]
    assert said[0].startswith("an indexed Kubernetes job: training with its processes, of which this is process 0")
    assert launched({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}) is None  # any other pod


def test_flags_have_precedence(joined, monkeypatch):
    under(monkeypatch, STEP)
    assert join_processes(ProcessFlags(processes=1)) == ProcessFlags("", 1, 0)
    assert joined[0] == []
    join_processes(ProcessFlags("h:1", 8, 7))
    join_processes(ProcessFlags("h:1"))
    assert joined[0] == [("h:1", 8, 7), ("h:1", 4, 1)]


def test_what_is_wrong_is_one_line(joined, monkeypatch):
    under(monkeypatch, STEP)
    assert "--processes 4 --process 4: number the processes from 0 to N - 1" in refused(
        join_processes, ProcessFlags(process=4)
    )
    under(monkeypatch, STEP, SLURM_STEP_NUM_TASKS="two")
    assert refused(join_processes, ProcessFlags()).startswith("SLURM_STEP_NUM_TASKS=two: expected a number")

    def fail(*args):
        raise RuntimeError("Kubernetes API Error: 403 - Forbidden\nIt appears that ...")

    under(monkeypatch, dict.fromkeys(STEP) | POD)
    monkeypatch.setattr(jax.distributed, "initialize", fail)
    said = refused(join_processes, ProcessFlags())
    assert said.startswith(
        "cannot join the processes of an indexed Kubernetes job: Kubernetes API Error: 403 - Forbidden"
    )
    assert said.endswith("--processes 1 trains alone)")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "the package kubernetes, by which JAX finds the others, is not installed" in refused(
        join_processes, ProcessFlags()
    )


JOINED = """
import os, signal, sys, time
from unet_tools.arguments.processes import ProcessFlags, join_processes
join_processes(ProcessFlags(sys.argv[1], 2, int(sys.argv[2])))
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(20)
"""


@pytest.mark.slow
def test_sigterm_ends_a_process_that_does_not_train_yet():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        address = f"localhost:{s.getsockname()[1]}"
    words = [sys.executable, "-c", JOINED, address]
    started = [subprocess.Popen([*words, str(i)], env=os.environ | {"JAX_PLATFORMS": "cpu"}) for i in range(2)]
    assert [process.wait(timeout=120) for process in started] == [-signal.SIGTERM] * 2
