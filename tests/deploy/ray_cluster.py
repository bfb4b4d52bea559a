"""A Ray cluster of two nodes on this machine, for a test or a benchmark: run in .venvs/ray, never imported.

Writes one line of JSON when it is up: where its dashboard and Serve are, and its nodes. A line `kill NODE` on
its standard input ends that raylet and all its processes, as if the machine were lost, and says which
are left. The end of the standard input ends the cluster.

What it does not prove: the nodes share this machine's disk, so neither a network between them nor a node that
lacks files is met; and one proxy answers for both, since two cannot have the same port here. Its GPUs are
only numbers that Ray counts and gives out.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any


def say(facts: dict) -> None:
    """Write a line."""
    sys.stdout.write(f"{json.dumps(facts)}\n")
    sys.stdout.flush()


def main() -> None:
    """Start, say where, obey, stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dashboard", type=int, required=True, help="the port of the dashboard")
    parser.add_argument("--agent", type=int, required=True, help="the port of the head's agent")
    parser.add_argument("--cpus", type=float, default=2, help="of each node, as Ray counts them")
    parser.add_argument("--gpus", type=float, default=0, help="of the head: Ray does not look for them")
    options = parser.parse_args()
    # The paths of the sockets that lie in it must be short.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    os.environ |= {"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    same: dict[str, Any] = {"num_cpus": options.cpus, "object_store_memory": 100 << 20, "memory": 8 << 30}
    cluster.add_node(
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        dashboard_port=options.dashboard,
        dashboard_agent_listen_port=options.agent,
        num_gpus=options.gpus,
        **same,
    )
    nodes = [cluster.head_node, cluster.add_node(**same)]
    cluster.wait_for_nodes()
    dashboard = f"http://127.0.0.1:{options.dashboard}"
    say({"dashboard": dashboard, "nodes": [node.node_id for node in nodes]})
    for line in sys.stdin:
        word, *names = line.split()
        if word == "kill":
            lost = next(node for node in nodes if node.node_id == names[0])
            cluster.remove_node(lost, allow_graceful=False)
            nodes.remove(lost)
            say({"nodes": [node.node_id for node in nodes]})
    cluster.shutdown()
    report(Path(folder))
    shutil.rmtree(folder, ignore_errors=True)


def report(folder: Path) -> None:
    """Write what the dashboard complained of about jobs, if anything, to the standard error."""
    for log in folder.rglob("dashboard_JobHead.log"):
        lines = log.read_text(errors="replace").splitlines()
        first = next((number for number, line in enumerate(lines) if "agent, retrying" in line), None)
        if first is not None:
            sys.stderr.write("\n".join(["", str(log), *lines[first : first + 40], ""]))


if __name__ == "__main__":
    main()
