"""A T5 made on the spot, small enough for a test, in a Python with one major version of transformers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]

MAKE_T5 = """
import sys
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

words = ["<pad>", "</s>", "<unk>", *"translate English to German hello world in german : hallo welt".split()]
vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
fast = PreTrainedTokenizerFast(
    tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=64
)
torch.manual_seed(3)
config = T5Config(
    vocab_size=len(fast), d_model=32, d_ff=64, d_kv=16, num_layers=2, num_heads=2, initializer_factor=5.0,
    decoder_start_token_id=0,
    task_specific_params={
        "translation_en_to_de": {"max_length": 12, "num_beams": 4, "prefix": "translate English to German: "}
    },
)
T5ForConditionalGeneration(config).save_pretrained("t5-small")
fast.save_pretrained("t5-small")
"""

PIPELINE = """
from transformers import pipeline
import truss
pipe = pipeline(tokenizer="t5-small", model="t5-small")
scaf = truss.mk_truss(pipe, target_directory="my_model")

print(scaf.server_predict({"inputs": ["translate: hello world in german"]}))
"""


@dataclass(frozen=True)
class Environment:
    """A Python with one major version of transformers.

    Attributes:
        python: Its interpreter.
        folder: Where its processes run; it holds a T5 in `t5-small`.
    """

    python: Path
    folder: Path

    def run(self, code: str, **variables: str) -> str:
        """The last line that `code` prints."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRUSS_"))}
        home = {"HOME": str(self.folder), "HF_HOME": str(self.folder / "huggingface")}
        done = subprocess.run(
            [str(self.python), "-c", code],
            cwd=self.folder,
            env={**kept, **home, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1] if done.stdout else ""

    def carry_away(self) -> None:
        """Leave nothing but the Truss, at another path."""
        shutil.copytree(self.folder / "my_model", self.folder / "carried" / "away")
        shutil.rmtree(self.folder / "my_model")
        shutil.rmtree(self.folder / "t5-small")


def python_with_transformers_4() -> Path:
    """An interpreter whose transformers still has pipelines for texts from texts; set up if need be."""
    if version("transformers").startswith("4."):
        return Path(sys.executable)
    subprocess.run(["sh", str(ROOT / "scripts" / "setup-transformers4")], check=True)
    return ROOT / ".venvs" / "transformers4" / "bin" / "python"


@contextlib.contextmanager
def running_hub() -> Iterator[str]:
    """A stand-in for the hub that knows one thing: what `t5-small` is for."""

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/api/models/t5-small"
            body = json.dumps(
                {"id": "t5-small", "pipeline_tag": "translation", "library_name": "transformers"}
            )
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode() if known else b"{}")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
