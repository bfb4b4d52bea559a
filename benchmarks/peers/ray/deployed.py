"""A Ray cluster of one node with a Truss on it: `deployed.py PORT DASHBOARD_PORT TRUSS_PROGRAM FOLDER`."""

import os
import signal
import subprocess
import sys
import threading

import ray
from ray import serve

if __name__ == "__main__":
    port, dashboard, program, folder = sys.argv[1:]
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    ray.init(
        num_cpus=os.cpu_count(), include_dashboard=True, dashboard_port=int(dashboard), log_to_driver=False
    )
    words = ["--address", f"http://127.0.0.1:{dashboard}", "--host", "127.0.0.1", "--port", port]
    words += ["--name", "measured", "--route-prefix", "/", "--yes"]
    subprocess.run([program, "deploy", folder, "--to", "ray", *words], check=True)
    stopped.wait()
    serve.shutdown()
    ray.shutdown()
