"""`unet train` in two processes, as SLURM and Kubernetes start them; killed, and resumed by another number."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("jax", reason="jax is not installed; pip install 'unet-twins[jax]'")

from unet_data import membranes
from unet_jax.training.run.train_state_folder import latest_step

# Sums over the batch have another order, as in parity_tests/jax/training/devices/test_processes.py.
BOUND = 2e-5
STEPS = 12
TRAIN = f"""--recipe none --widths 2 4 --norm batch --dropout 0.2 --tile 28 --batch 4 --steps {STEPS}
    --log-every 1 --validate-every 4 --no-report"""

KUBERNETES = '''
"""Stands for the package: the API of a job of two pods. The only pod that can be asked for is this one."""
import socket
from types import SimpleNamespace as Some
from jax._src.clusters.k8s_cluster import K8sCluster

K8sCluster._namespace = classmethod(lambda cls: "default")  # a file of the pod
socket.gethostbyname = lambda name: "10.0.0.7"  # DNS


class CoreV1Api:
    def list_namespaced_pod(self, namespace, field_selector):
        assert (namespace, field_selector) == ("default", "status.podIP=10.0.0.7")
        owner = Some(controller=True, kind="Job")
        labels = {"job-name": "train"}
        pod = Some(metadata=Some(name="train-x", labels=labels, owner_references=[owner]), spec=Some(subdomain="pods"))
        return Some(items=[pod])


class BatchV1Api:
    def read_namespaced_job(self, name, namespace):
        assert (name, namespace) == ("train", "default")
        return Some(spec=Some(parallelism=2), metadata=Some(name="train", labels={}))


config = Some(load_incluster_config=lambda: None)
client = Some(CoreV1Api=CoreV1Api, BatchV1Api=BatchV1Api, exceptions=Some(ApiException=OSError))
'''


def free_port():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return str(s.getsockname()[1])


def slurm(index, port, folder):
    names = {"JOB_ID": 7, "STEP_NODELIST": "localhost", "STEP_NUM_NODES": 1, "STEP_NUM_TASKS": 2, "NTASKS": 2}
    names |= {"PROCID": index, "LOCALID": index}
    return {f"SLURM_{name}": str(value) for name, value in names.items()} | {"JAX_COORDINATOR_PORT": port}, []


def kubernetes(index, port, folder):
    stub = folder / "stub" / "kubernetes.py"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text(KUBERNETES)
    path = os.pathsep.join([str(stub.parent), os.environ.get("PYTHONPATH", "")])
    names = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": str(index), "HOSTNAME": f"train-{index}"}
    # train-0.pods can only be resolved by the cluster's DNS
    return names | {"PYTHONPATH": path}, ["--coordinator", f"localhost:{port}"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("data"), membranes(4, 40, seed=0)
    for kind, arrays in (("images", found.images), ("labels", found.labels)):
        (folder / kind).mkdir()
        for number, array in enumerate(arrays):
            np.save(folder / kind / f"{number}.npy", np.asarray(array).astype(np.uint8))
    return folder


def started(data, out, launcher=None, count=1, more=()):
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=1"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "GLIBC_TUNABLES": ""}
    port, processes = free_port(), []
    for index in range(count):
        own, flags = launcher(index, port, out.parent) if launcher else ({}, [])
        words = ["train", str(data), *TRAIN.split(), "--out", str(out), *flags, *more]
        command = [sys.executable, "-m", "unet_tools.cli", *words]
        processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment | own))
    return processes


def finished(processes):
    try:
        said = [process.communicate(timeout=1800)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return said


def log(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def losses(out):
    return [record["loss"] for record in log(out) if "loss" in record]


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "run"
    finished(started(data, out))
    assert len(losses(out)) == STEPS
    return losses(out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "name"), [(slurm, "SLURM job 7: training with 2"), (kubernetes, "an indexed Kubernetes job: training")]
)
def test_two_processes_train_to_the_losses_of_one(launcher, name, data, alone, tmp_path):
    said = finished(started(data, tmp_path / "run", launcher, 2))
    assert [name in " ".join(each.split()) for each in said] == [True, False]
    assert "on 2 x " in said[0]
    assert losses(tmp_path / "run") == pytest.approx(alone, rel=BOUND)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_killed_run_is_resumed_by_another_number_of_processes(before, after, data, alone, tmp_path):
    out = tmp_path / "run"
    launcher = {1: None, 2: slurm}
    processes = started(data, out, launcher[before], before)
    while not latest_step(out / "state") and all(process.poll() is None for process in processes):
        time.sleep(0.01)
    for process in processes:
        process.send_signal(signal.SIGKILL)
    [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * before
    saved, before_kill = latest_step(out / "state"), log(out)
    said = finished(started(data, out, launcher[after], after, ["--resume"]))
    assert f"continuing from step {saved}" in " ".join(said[0].split())
    assert saved in (4, 8)
    kept = [record for record in before_kill if record["step"] <= saved and "loss" in record]
    assert [record for record in log(out) if "loss" in record][: len(kept)] == kept, "no step is repeated"
    assert losses(out) == pytest.approx(alone, rel=BOUND)
