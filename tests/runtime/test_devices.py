"""Which GPU each worker sees, and what the metrics say of its memory."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from truss.runtime.devices import visible_gpus, worker_environment
from truss.testing.server import running_server

SEES = """
import os
import time

AT_IMPORT = os.environ.get("CUDA_VISIBLE_DEVICES")


class Model:
    def predict(self, request):
        while not os.path.exists(request["until"]):
            time.sleep(0.005)
        return [AT_IMPORT, os.getpid()]
"""

HOLDS_MEMORY = '''
import os

import torch


class Model:
    """Has a tensor of 1 GiB on the device that it was given."""

    def load(self):
        self.tensor = torch.ones(2**28, device="cuda")

    def predict(self, request):
        names = os.environ["CUDA_VISIBLE_DEVICES"]
        return {"devices": torch.cuda.device_count(), "names": names, "last": self.tensor[-1].item()}
'''


@pytest.mark.parametrize(
    ("named", "expected"), [("0,1", ["0", "1"]), (" GPU-a , GPU-b", ["GPU-a", "GPU-b"]), ("", []), ("-1", [])]
)
def test_what_was_named_is_the_limit(named, expected):
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": named}) == expected


def test_one_worker_per_gpu_unless_told():
    seen = {"CUDA_VISIBLE_DEVICES": "4,7"}
    assert worker_environment(0, seen) == [{"CUDA_VISIBLE_DEVICES": name} for name in ("4", "7")]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in worker_environment(3, seen)] == ["4", "7", "4"]
    assert worker_environment(1, seen) == [{"CUDA_VISIBLE_DEVICES": "4,7"}]
    four = worker_environment(2, {"CUDA_VISIBLE_DEVICES": "0,1,2,3"})
    assert [one["CUDA_VISIBLE_DEVICES"] for one in four] == ["0,2", "1,3"]
    assert worker_environment(0, {"CUDA_VISIBLE_DEVICES": ""}) == [{}]
    assert worker_environment(2, {"CUDA_VISIBLE_DEVICES": ""}) == [{}, {}]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((), ["4", "7"]), (("--workers", "1"), ["4,7"]), (("--workers", "3"), ["4", "4", "7"])],
)
def test_a_worker_has_its_device_before_the_model_is_imported(make_truss, tmp_path, arguments, expected):
    """So does the one that replaces it. What a library makes of the devices is not tested."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "4,7"}
    until = tmp_path / "until"
    count = len(expected)
    with (
        running_server(make_truss(SEES), *arguments, environment=environment) as server,
        ThreadPoolExecutor(count) as pool,
    ):

        def seen_by_all():
            """Each worker's devices by its process: one request holds each of them up."""
            until.unlink(missing_ok=True)
            server.wait_until(lambda: metrics(server).count(',state="ready"} 1') == count, "is not ready")
            asked = [pool.submit(server.predict, {"until": str(until)}) for _ in range(count)]
            server.wait_until(lambda: f"truss_requests_running {count}\n" in metrics(server), "is not busy")
            until.touch()
            return {process: seen for seen, process in (one.result().json() for one in asked)}

        first = seen_by_all()
        assert sorted(first.values()) == expected
        for process in first:
            os.kill(process, signal.SIGKILL)
        server.wait_until(
            lambda: f"truss_worker_restarts_total {count}\n" in metrics(server), "replaces nothing"
        )
        second = seen_by_all()
        assert sorted(second.values()) == expected
        assert not set(first) & set(second)


def metrics(server):
    return server.request("GET", "/metrics").body.decode()


@pytest.mark.gpu
def test_workers_share_a_gpu_and_the_metrics_tell_of_its_memory(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU here")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.py").write_text(HOLDS_MEMORY)
    (tmp_path / "config.yaml").write_text("runtime: {workers: 2}\n")
    free_before, total = torch.cuda.mem_get_info()
    with running_server(tmp_path) as server:
        answer = server.predict({}).json()
        lines = server.request("GET", "/metrics").body.decode().splitlines()
    assert answer == {"devices": 1, "names": "0", "last": 1.0}
    gauges = {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if line.startswith("truss_gpu_memory"))
    }
    used = gauges['truss_gpu_memory_used_bytes{gpu="0"}']
    assert used >= (total - free_before) + 2 * 2**30
    assert total <= gauges['truss_gpu_memory_total_bytes{gpu="0"}'] < total * 1.05
