"""The Runtime API of AWS Lambda, as far as a function's program sees it.

Written after https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. That Lambda's own does the same,
and how it freezes a sandbox between events, is not shown.
"""

import json
import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class RuntimeApi(ThreadingHTTPServer):
    """Gives events and takes what becomes of them.

    Attributes:
        seconds: How long an event may take, as its deadline says.
        error_type: What the last error said that it was, in its header.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events, self.answers, self.asked = queue.Queue(), queue.Queue(), threading.Event()
        self.seconds, self.error_type = 600.0, None

    def answer(self, event):
        """What becomes of an event: `response` or `error`, and what is said."""
        self.events.put(event)
        path, body = self.answers.get(timeout=60)
        kind = path.rpartition("/")[2]
        assert path == f"/2018-06-01/runtime/invocation/id-1/{kind}"
        return kind, json.loads(body)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.set()
        event = self.server.events.get()
        body = json.dumps(event).encode()
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", "id-1")
        self.send_header("Lambda-Runtime-Trace-Id", "Root=1-2-3")
        deadline = time.time() + self.server.seconds
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int(deadline * 1000)))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.server.error_type = self.headers.get("Lambda-Runtime-Function-Error-Type")
        self.server.answers.put((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass
