"""A sentence encoder on a GPU: served, beside the same model class called in a loop.

The encoder is of MiniLM's shape (6 layers, 384 wide) with random weights: what it answers costs the same.
The loop runs first and ends before the server starts, so that neither has the GPU's memory of the other.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, results
from benchmarks.contender import listed
from benchmarks.load import measure, write_bodies
from benchmarks.places import ROOT
from benchmarks.results import summarise
from benchmarks.workloads import WORKLOADS
from truss.testing.server import running_server

_CONNECTIONS = (1, 32, 64, 256)
_SIZES = (1, 8, 32, 64)
_MODEL = "MiniLM's shape, float32"


@dataclass(frozen=True)
class Rate:
    """Sentences per second.

    Attributes:
        title: Of what.
        rate: How many.
        p50: The median time of an answer in milliseconds; of a batch, in the loop.
        p99: All but one in a hundred.
    """

    title: str
    rate: float
    p50: float
    p99: float


def run(*, repetitions: int, seconds: int) -> None:
    """Measure and write the figures; without a GPU, say so and leave the last ones."""
    import torch

    if not torch.cuda.is_available():
        print("no GPU here: the figures of GPUs stay as they are", flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        truss_dir = Path(folder) / "truss"
        _child(_PACKAGE, str(truss_dir))
        loop = [Rate(**row) for row in json.loads(_child(_LOOP, str(truss_dir), *map(str, _SIZES)))]
        served, used = _served(truss_dir, Path(folder) / "bodies", repetitions, seconds)
    rates = [*loop, *served]
    for one in rates:
        print(
            f"{one.title:28} {one.rate:10.1f}/s  p50 {one.p50:7.2f} ms  p99 {one.p99:7.2f} ms",
            flush=True,
        )
    share = max(one.rate for one in served) / max(one.rate for one in loop)
    print(
        f"served, beside the best of the loop: {share:.2f}; memory of the GPU in use: {used / 2**20:.0f} MiB"
    )
    content = {
        "machine": machine.facts()
        | {"gpu": torch.cuda.get_device_name(0), "torch": torch.__version__, "cuda": torch.version.cuda},
        "model": _MODEL,
        "repetitions": repetitions,
        "gpu_memory_used_bytes": used,
        "results": [asdict(one) for one in rates],
    }
    results.write("gpu", content)


def read() -> tuple[list[Rate], Mapping[str, Any]]:
    """The figures of the last run, and what they were measured on."""
    content = results.read("gpu") or {"results": [], "machine": {}}
    return [Rate(**row) for row in content["results"]], content["machine"]


def _served(truss_dir: Path, bodies: Path, repetitions: int, seconds: int) -> tuple[list[Rate], float]:
    """Rates by the number of connections, and the GPU's memory in use, in bytes, as the metrics tell it."""
    exchange = listed("/v1/models/model:predict")
    write_bodies(bodies, exchange, WORKLOADS["embed"])
    found = []
    with running_server(truss_dir) as server:
        port = int(server.url.rpartition(":")[2])
        for count in _CONNECTIONS:
            measure(port, exchange, bodies, connections=count, seconds=1)
            runs = [
                measure(port, exchange, bodies, connections=count, seconds=seconds)
                for _ in range(repetitions)
            ]
            one = summarise("embed", "ours", count, runs)
            if one.errors:
                raise RuntimeError(f"{one.errors} errors with {count} connections")
            found.append(Rate(f"served, {count} connections", one.rate, one.p50, one.p99))
        lines = server.request("GET", "/metrics").body.decode().splitlines()
    used = [
        float(line.rpartition(" ")[2]) for line in lines if line.startswith("truss_gpu_memory_used_bytes{")
    ]
    return found, sum(used)


def _child(code: str, *arguments: str) -> str:
    """Run Python code in a process of its own, and give what it wrote."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT
    )
    return done.stdout.strip().splitlines()[-1]


_PACKAGE = """
import sys
from pathlib import Path

import tokenizers
import torch
import transformers
import truss
from benchmarks.workloads import sentences

words = sorted({word for text in sentences() for word in text.split()})
vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
splitter = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
splitter.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
splitter.post_processor = tokenizers.processors.TemplateProcessing(
    single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
)
special = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=splitter, **special)
torch.manual_seed(0)
config = transformers.BertConfig(
    vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
)
truss.create((transformers.BertModel(config).eval(), tokenizer), sys.argv[1])
# One vector a sentence, as such models are used.
config = Path(sys.argv[1]) / "config.yaml"
text = config.read_text().replace("pooling: none", "pooling: mean")
config.write_text(text.replace("normalize: false", "normalize: true"))
print("packaged")
"""

_LOOP = """
import json, statistics, sys, time
from pathlib import Path

import torch
from benchmarks.workloads import sentences
from truss.config import read_config
from truss.model.loader import load_model

folder = Path(sys.argv[1])
model = load_model(folder, read_config(folder))
texts = sentences()
rows = []
for size in map(int, sys.argv[2:]):
    batches = [texts[start:start + size] for start in range(0, len(texts), size)]
    for batch in batches:
        model.predict({"inputs": batch})
    begun, times = time.perf_counter(), []
    while time.perf_counter() - begun < 3:
        for batch in batches:
            before = time.perf_counter()
            model.predict({"inputs": batch})
            times.append((time.perf_counter() - before) * 1e3)
    rows.append({
        "title": f"in a loop, {size} at a time",
        "rate": round(len(times) * size / (time.perf_counter() - begun), 1),
        "p50": round(statistics.median(times), 3),
        "p99": round(statistics.quantiles(times, n=100)[98], 3),
    })
print(json.dumps(rows))
"""
