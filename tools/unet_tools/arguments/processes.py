"""Training with several processes: their flags, detection of SLURM and Kubernetes, and joining.

SLURM sets variables for each task of a job step (`srun`), Kubernetes for each pod of an indexed job. `jax.distributed`
finds everything else, such as the address of process 0, from SLURM's list of nodes or from the Kubernetes API.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from unet_spec import InputError
from unet_spec.files import first_line

FLAGS = "--coordinator host:port --processes N --process I"
_OF_A_STEP = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
"""If all of them are set, jax.distributed detects the step."""


@dataclass(frozen=True)
class ProcessFlags:
    coordinator: str = ""
    """Address of process 0, as host:port. Default: found by SLURM or Kubernetes."""
    processes: int | None = None
    """Number of processes. Default: that of the SLURM job step or the indexed Kubernetes job, otherwise 1. 1: train
    alone."""
    process: int | None = None
    """Rank of this process, from 0. Default: found by SLURM or Kubernetes."""


@dataclass(frozen=True)
class Launched:
    """A process that was started together with others.

    Attributes:
        by: the system that started the processes.
        index: rank of this process.
        count: number of processes; None: to be queried from the Kubernetes API.
    """

    by: str
    index: int
    count: int | None


def launched(environment: Mapping[str, str]) -> Launched | None:
    """The group of processes that this process was started in; None if it was started alone.

    A SLURM step with one task counts as alone, even in a job with several tasks, such as the shell of an interactive
    job.

    Raises:
        InputError: a variable of SLURM or Kubernetes is not a number.

    Example:
        >>> launched({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "3"})
        Launched(by='an indexed Kubernetes job', index=3, count=None)
    """
    if all(name in environment for name in _OF_A_STEP):
        tasks = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
        if (count := _number(environment, tasks)) > 1:
            return Launched(f"SLURM job {environment['SLURM_JOB_ID']}", _number(environment, "SLURM_PROCID"), count)
        return None
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return Launched("an indexed Kubernetes job", _number(environment, "JOB_COMPLETION_INDEX"), None)
    return None


def join_processes(flags: ProcessFlags, say: Callable[[str], None] = lambda line: None) -> ProcessFlags:
    """Joins the other processes, if any. Must precede the first use of a device.

    Args:
        flags: the flags, which take precedence over detected values.
        say: called in process 0 with a line about the detected processes, before waiting for them.

    Returns:
        The flags with number and rank of this process.

    Raises:
        InputError: the flags are wrong, or the connection fails.
    """
    if flags.processes == 1 and not flags.coordinator and not flags.process:
        return ProcessFlags("", 1, 0)
    found = launched(os.environ)
    if found is None and flags == ProcessFlags():
        if line := _not_by_srun(os.environ):
            say(line)
        return ProcessFlags("", 1, 0)
    count = flags.processes if flags.processes is not None else (found.count if found else 1)
    index = flags.process if flags.process is not None else (found.index if found else 0)
    if count is not None and (not 0 <= index < count or count < 2):
        raise InputError(
            f"--processes {count} --process {index}: number the processes from 0 to N - 1 ({FLAGS})"
            + (f"; {found.by} started this one" if found else "")
        )
    if found and not index:
        many = "its" if count is None else count
        say(f"{found.by}: training with {many} processes, of which this is process 0; --processes 1 trains alone")
    _connect(flags.coordinator, count, index, found)
    import jax

    return ProcessFlags(flags.coordinator, count or jax.process_count(), index)


def _connect(coordinator: str, count: int | None, index: int, found: Launched | None) -> None:
    import jax

    if found and found.count is None and not (coordinator and count) and not importlib.util.find_spec("kubernetes"):
        raise InputError(
            f"this pod is number {index} of {found.by}, and the package kubernetes, by which JAX finds the others, is "
            "not installed: pip install 'unet-twins[kubernetes]', or give --processes N and --coordinator "
            "JOB-0.SUBDOMAIN:PORT, or --processes 1 to train alone"
        )
    handler = signal.getsignal(signal.SIGTERM)
    try:
        jax.distributed.initialize(coordinator or None, count, index)
    except Exception as e:  # errors of kubernetes and JAX have no common base class
        what = (f"{count} processes" if count else "the processes") + (f" of {found.by}" if found else "")
        advice = f"{FLAGS}; --processes 1 trains alone" if found else FLAGS
        raise InputError(f"cannot join {what}: {first_line(e)} ({advice})") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # JAX's own handler ignores SIGTERM, also before training begins
    if found and "SLURM_LOCALID" in os.environ and _owns_its_devices(os.environ):
        for platform in ("cuda", "rocm"):  # by default, JAX uses only the GPU with the task's number in its node
            jax.config.update(f"jax_{platform}_visible_devices", "all")


def _owns_its_devices(environment: Mapping[str, str]) -> bool:
    """Whether all GPUs that a SLURM task sees belong to it: it is the only task of its node, or SLURM binds GPUs."""
    alone = environment.get("SLURM_STEP_NUM_NODES") == environment.get("SLURM_STEP_NUM_TASKS", "")
    bound = "SLURM_GPUS_PER_TASK" in environment or "gpu" in environment.get("SLURM_TRES_PER_TASK", "")
    return alone or bound


def _not_by_srun(environment: Mapping[str, str]) -> str:
    """A line if a SLURM job has several tasks but this process is not one of them; otherwise ""."""
    tasks = environment.get("SLURM_NTASKS", "")
    if "SLURM_JOB_ID" not in environment or not tasks.isdecimal() or int(tasks) < 2:
        return ""
    return (
        f"SLURM job {environment['SLURM_JOB_ID']} has {tasks} tasks, of which this command runs as one; start it by "
        "srun to train with all of them"
    )


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment[name]
    if not value.isdecimal():
        raise InputError(f"{name}={value}: expected a number; --processes 1 trains alone")
    return int(value)
