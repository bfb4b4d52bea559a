"""What a server tells about its model: OpenAPI held against what it does, the page, the clients on it."""

import gzip
import http.client
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser

import hypothesis
import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import strategies as some
from schemathesis import checks

from truss.runtime.codecs import encode_msgpack
from truss.testing.server import running_server

MODEL = """
from __future__ import annotations
import datetime
from dataclasses import dataclass
from typing import Annotated, Literal
import msgspec

class Owner(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=20, description="Who has it")]
    since: datetime.date | None = None

class House(msgspec.Struct):
    area: Annotated[float, msgspec.Meta(gt=0, le=10_000, description="In square metres")]
    rooms: Annotated[int, msgspec.Meta(ge=1, le=50)]
    kind: Literal["flat", "house"] = "flat"
    owners: list[Owner] = []

@dataclass
class Houses:
    inputs: Annotated[list[House], msgspec.Meta(min_length=1, max_length=20)]
    currency: Literal["EUR", "<b>"] = "EUR"

@dataclass
class Prices:
    prices: list[float]

class Model:
    '''Prices houses, <quickly>.'''

    def predict(self, houses: Houses) -> Prices:
        return Prices([house.area * house.rooms for house in houses.inputs])

    def chat_completions(self, request):
        if request.get("stream") is True:
            return iter([{"choices": []}])
        return {"choices": [str(request)]}
"""

SECURED = """
secrets: {KEYS: null}
runtime: {authentication: {api_keys_secret: KEYS}}
"""

EXAMPLES = """
- name: A villa
  input:
    inputs: [{area: 120.5, rooms: 4, kind: house, owners: [{name: "O'Neil \\"<i>\\" $HOME", since: null}]}]
    currency: <b>
"""


def truss(folder, config="", examples="", code=MODEL):
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    (folder / "examples.yaml").write_text(examples)
    (folder / "model" / "__init__.py").touch()
    (folder / "model" / "model.py").write_text(code)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(truss(tmp_path_factory.mktemp("documents") / "t")) as running:
        yield running


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    folder = truss(tmp_path_factory.mktemp("secured") / "t", SECURED, EXAMPLES)
    with running_server(folder, environment={**os.environ, "TRUSS_SECRET_KEYS": "a-key"}) as running:
        yield running


@pytest.fixture(scope="module")
def document(server):
    return server.request("GET", "/openapi.json").json()


CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


def bounded(examples):
    """So many examples, the same each time; those of the profile where a long look was asked for."""
    if hypothesis.settings.get_current_profile_name() == "fuzz":
        return hypothesis.settings()
    return hypothesis.settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


FITTING, OTHER = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
TYPED = ("/v1/models/model:predict", "/predict")


# --- what is generated from a document, for a model of each kind ---

UNTYPED = """
class Model:
    def predict(self, request):
        return {"predictions": [str(request)]}
"""

STREAMING = """
class Model:
    async def predict(self, request):
        for part in (str(request), {"told": 1}):
            yield part
"""

OPENAI = """
class Model:
    def predict(self, request):
        return {"predictions": [str(request)]}

    def chat_completions(self, request):
        return self._answer(request)

    def completions(self, request):
        return self._answer(request)

    async def embeddings(self, request):
        return {"data": [{"embedding": [0.5]}]}

    def _answer(self, request):
        if request.get("stream") is True:
            return iter([{"choices": []}] * 2)
        return {"choices": [str(request)]}
"""

CONTENT = (
    *(None, "application/json", "application/octet-stream", "text/csv", "application/vnd.apache.parquet"),
    *(
        "application/x-npy",
        "application/vnd.apache.arrow.stream",
        "image/png",
        "multipart/form-data; boundary=x",
    ),
)

CODES = {"typed": MODEL, "untyped": UNTYPED, "streaming": STREAMING, "openai": OPENAI}


@pytest.fixture(scope="module", params=CODES)
def described(request, tmp_path_factory):
    """A server of a model of some kind, and the operations of its document."""
    folder = truss(tmp_path_factory.mktemp(request.param) / "t", code=CODES[request.param])
    with running_server(folder) as running:
        document = running.request("GET", "/openapi.json").json()
        schema = schemathesis.openapi.from_dict(document)
        schema.config.update(base_url=running.url)
        operations = [found.ok() for found in schema.get_all_operations()]
        assert {one.path for one in operations} == document["paths"].keys()
        yield request.param, running, operations


def test_what_is_generated_from_the_document_gets_answers_that_the_document_tells(described):
    """Every route of it: with what it says, and where it says what is wrong, with that too."""
    kind, _, operations = described
    for operation in operations:
        typed = kind == "typed" and operation.path in TYPED
        exact = [checks.positive_data_acceptance, checks.negative_data_rejection] if typed else []
        assert ask_with_generated(operation, FITTING, [*CHECKS, *exact]) > 0
        if typed or operation.path.endswith("/infer"):  # of the others any body is one
            assert ask_with_generated(operation, OTHER, [*CHECKS, *exact]) > 0


def ask_with_generated(operation, mode, wanted):
    """Send what is generated for an operation, check the answers; gives their number."""
    answers = []

    @bounded(25 if operation.method == "post" else 2)
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def ask(case):
        with requests.Session() as session:
            answers.append(case.call(session=session))
        case.validate_response(answers[-1], checks=wanted)

    ask()
    return len(answers)


def test_bodies_that_are_not_what_they_are_said_to_be_are_no_error_of_the_server(described):
    """Whatever bytes, under every type of content that is known, and under none."""
    _, running, operations = described
    paths = [one.path for one in operations if one.method == "post"]
    assert {*TYPED, "/v1/models/model:predict_binary", "/v2/models/model/infer"} <= set(paths)

    @bounded(150)
    @hypothesis.given(some.sampled_from(paths), some.sampled_from(CONTENT), some.binary(max_size=64))
    def ask(path, kind, body):
        headers = {} if kind is None else {"Content-Type": kind}
        assert running.request("POST", path, body, headers).status < 500

    ask()


def test_the_document_is_one_of_openapi_and_names_the_routes(document, secured):
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) >= {
        "/v1/models/model:predict",
        "/v1/models/model:predict_binary",
        "/v1/models/model/schema",
        "/readyz",
        "/v2/models/model/infer",
        "/v1/chat/completions",
    }
    assert "/v1/embeddings" not in document["paths"]  # the model has no such method
    body = document["paths"]["/v1/models/model:predict"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/PredictRequest"}
    schemas = document["components"]["schemas"]
    assert schemas["House"]["properties"]["rooms"] == {"type": "integer", "minimum": 1, "maximum": 50}
    assert "$defs" not in json.dumps(document)
    validator = jsonschema.Draft202012Validator({"$ref": "#/components/schemas/PredictRequest", **document})
    validator.validate(body["example"])
    assert secured.request("GET", "/openapi.json").status == 401
    keyed = secured.request("GET", "/openapi.json", headers={"x-api-key": "a-key"}).json()
    assert keyed["security"] == [{"key": []}, {"header": []}]


class Page(HTMLParser):
    """Texts by id, and all addresses that a page names."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.addresses, self._inside = {}, [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.addresses += [value for key, value in attributes if key in ("href", "src", "action")]
        if "id" in named:
            self._inside = named["id"]
            self.texts[self._inside] = ""

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside is not None:
            self.texts[self._inside] += data


def test_the_page_tells_of_the_model_and_fetches_nothing(server):
    response = server.request("GET", "/docs")
    text = response.body.decode()
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    page = Page(text)
    assert page.addresses == ["openapi.json", "v1/models/model/schema"]
    assert "//" not in re.sub(re.escape(server.url), "", text)
    assert "Prices houses, &lt;quickly&gt;." in text
    assert "<code>inputs[].owners[].name</code></td><td>string</td><td>required</td><td>Who has it" in text
    assert json.loads(page.texts["request-schema"])["$defs"]["House"]
    assert json.loads(page.texts["body"])["inputs"][0]["kind"] == "flat"


@pytest.mark.parametrize("which", ["server", "secured"])
@pytest.mark.parametrize("client", ["python", "curl"])
def test_the_clients_on_the_page_run_as_pasted(which, client, request):
    running = request.getfixturevalue(which)
    key = {"authorization": "Bearer a-key"} if which == "secured" else {}
    page = Page(running.request("GET", "/docs", headers=key).body.decode())
    command = [sys.executable, "-c"] if client == "python" else ["sh", "-c"]
    environment = {**os.environ, "TRUSS_API_KEY": "a-key", "no_proxy": "*"}
    if client == "curl" and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(
        [*command, page.texts[client]], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    expected = [482.0] if which == "secured" else [1.0]
    assert json.loads(done.stdout.replace("'", '"')) == {"prices": expected}


@pytest.fixture
def pressed(server):
    """The address of a server that passes on what the real one says, and presses the page's button."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self._pass_on(server.request("GET", self.path))

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            self._pass_on(server.request("POST", self.path, body, {"content-type": "application/json"}))

        def _pass_on(self, response):
            body = response.body.replace(b"</script>", b"part('try').requestSubmit();</script>")
            self.send_response(response.status)
            for name in {"content-type", "content-security-policy"} & set(response.headers):
                self.send_header(name, response.headers[name])
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as passing:
        threading.Thread(target=passing.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{passing.server_address[1]}"
        passing.shutdown()


def test_a_browser_shows_the_page_and_its_button_asks_the_model(pressed, tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium is installed (scripts/setup-browser)")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    done = subprocess.run(
        [*command, "--no-proxy-server", "--virtual-time-budget=5000", "--dump-dom", f"{pressed}/docs"],
        capture_output=True,
        text=True,
        timeout=90,
    )
    page = Page(done.stdout)
    assert page.texts["status"] == "200", done.stderr
    assert json.loads(page.texts["answer"]) == {"prices": [1.0]}


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
HOUSE = some.fixed_dictionaries({"area": JSON, "rooms": JSON}, optional={"owners": JSON, "kind": JSON})
REQUEST = some.fixed_dictionaries(
    {"inputs": some.lists(HOUSE, max_size=3) | JSON}, optional={"currency": JSON}
)


def mutated(encode):
    """Bodies of a format: whole ones, and such with some bytes cut out or changed."""

    def change(body, place, count, new):
        place %= len(body) + 1
        return body[:place] + new + body[place + count :]

    whole = (REQUEST | JSON).map(encode)
    return whole | some.builds(change, whole, some.integers(0), some.integers(0, 3), some.binary(max_size=3))


def plain(bodies):
    return some.tuples(bodies, some.just({}))


def with_tensors(name, shape, datatype, data, sizes):
    """A request of the Open Inference Protocol with bytes behind its JSON, and the header that says where."""
    size, shift = sizes
    tensor = {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + data, {"inference-header-content-length": str(max(0, len(head) + shift))}


TENSORS = some.builds(
    with_tensors,
    some.sampled_from(["inputs", ""]),
    some.lists(some.sampled_from([-1, 0, 1, 2, 3, 2**31, 2**64]) | JSON, max_size=3),
    some.sampled_from(["FP32", "INT8", "BOOL", "BF16", "BYTES", "", "FP31"]),
    some.binary(max_size=24),
    some.tuples(some.integers(-1, 24) | JSON, some.integers(-3, 3)),
)
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n{}\r\n--x--\r\n'
KINDS = some.sampled_from(["", "x", '"x"', "x; charset=utf-8", "--", '"']).map(
    lambda boundary: {"content-type": f"multipart/form-data; boundary={boundary}"}
)

FORMATS = {
    "JSON": (TYPED, plain(mutated(lambda value: json.dumps(value).encode()))),
    "msgpack": (
        ["/v1/models/model:predict_binary"],
        plain(mutated(lambda value: encode_msgpack(value if fits(value) else None))),
    ),
    "tensors": (["/v2/models/model/infer"], TENSORS),
    "parts": (
        [*TYPED, "/v1/models/model:predict_binary", "/v2/models/model/infer"],
        some.tuples(some.just(PART) | some.binary(max_size=64), KINDS),
    ),
    "any": (["/v1/models/model:predict"], plain(some.binary(max_size=64))),
}


def fits(value):
    """Whether msgpack has a form for all the integers in a value."""
    if isinstance(value, dict):
        return all(map(fits, value.values()))
    if isinstance(value, list):
        return all(map(fits, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**64


@pytest.mark.parametrize("name", FORMATS)
def test_whatever_a_body_holds_the_answer_is_no_fault_of_the_servers(server, name):
    paths, bodies = FORMATS[name]
    seen = set()

    @bounded(150)
    @hypothesis.given(path=some.sampled_from(paths), sent=bodies)
    def ask(path, sent):
        response = server.request("POST", path, *sent)
        assert response.status in (200, 400, 415), response.body
        seen.add(response.status)

    ask()
    assert (415 if name == "parts" else 400) in seen
    assert server.request("GET", "/readyz").status == 200


def test_half_a_pair_of_surrogates_is_refused(server):
    response = server.request("POST", "/predict", b'{"inputs": [{"area": 1, "rooms": 1, "kind": "\\ud800"}]}')
    assert (response.status, response.json()["error"]["type"]) == (400, "invalid_input")


STREAMING = """
from typing import Iterator, TypedDict

class Words(TypedDict):
    words: list[str]

class Model:
    def predict(self, request: Words) -> Iterator[str]:
        yield from request["words"]
"""


def test_a_model_that_streams_is_described_as_one_and_its_clients_show_the_chunks(tmp_path):
    folder = truss(tmp_path / "t", examples='[{name: two, input: {words: ["a,", "b"]}}]')
    (folder / "model" / "model.py").write_text(STREAMING)
    with running_server(folder) as running:
        assert running.request("GET", "/v1/models/model/schema").json()["streams"] is True
        document = running.request("GET", "/openapi.json").json()
        answers = document["paths"]["/predict"]["post"]["responses"]["200"]["content"]
        for wanted, said in answers.items():
            answer = running.predict({"words": ["a,", "b"]}, accept=wanted)
            assert answer.headers["content-type"] == wanted
            if wanted == "application/json":
                jsonschema.validate(answer.json(), {**said["schema"], "components": document["components"]})
        page = Page(running.request("GET", "/docs").body.decode())
        for command, client in (([sys.executable, "-c"], "python"), (["sh", "-c"], "curl")):
            if shutil.which(command[0]) and (client != "curl" or shutil.which("curl")):
                shown = subprocess.run(
                    [*command, page.texts[client]],
                    env={**os.environ, "no_proxy": "*"},
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                assert shown.stdout == "a,b", shown.stderr


@pytest.mark.parametrize("path", ["/v1/models/model:predict", "/v2/models/model/infer", "/predict"])
def test_bodies_in_several_parts_are_refused_with_what_to_send(server, path):
    body = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc\r\n--x--\r\n'
    response = server.request("POST", path, body, {"content-type": "multipart/form-data; boundary=x"})
    assert response.status == 415
    assert "base64" in response.body.decode()
    if path != "/v2/models/model/infer":
        assert response.json()["error"]["type"] == "unsupported_body"


def test_a_size_of_json_that_is_no_number_is_said_to_be_none(server):
    headers = {"inference-header-content-length": "x"}
    response = server.request("POST", "/v2/models/model/infer", b"{}", headers)
    assert (response.status, "is no number" in response.json()["error"]) == (400, True)


@pytest.mark.parametrize("path", ["/v1/models/model:predict", "/v2/models/model/infer"])
def test_compressed_bodies_are_refused_as_such(server, path):
    body = gzip.compress(json.dumps({"inputs": [{"area": 2, "rooms": 3}]}).encode())
    response = server.request("POST", path, body, {"content-encoding": "gzip"})
    assert response.status == 415
    assert "Content-Encoding: gzip" in response.body.decode()


def test_a_character_set_for_an_encoding_is_let_pass(server):
    body = json.dumps({"inputs": [{"area": 2, "rooms": 3}]}).encode()
    for encoding in ("utf-8", "identity"):
        headers = {"content-encoding": encoding}
        assert server.request("POST", "/v1/models/model:predict", body, headers).json() == {"prices": [6.0]}


@pytest.mark.parametrize("size", [0, 100, 3_000_000])
def test_a_connection_goes_on_after_a_body_in_several_parts(server, size):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    parts = {"content-type": "multipart/form-data; boundary=x"}
    good = json.dumps({"inputs": [{"area": 2, "rooms": 3}]})
    for _ in range(2):
        connection.request("POST", "/v1/models/model:predict", b"--x" * (size // 3), parts)
        refused = connection.getresponse()
        assert (refused.status, json.load(refused)["error"]["type"]) == (415, "unsupported_body")
        connection.request("POST", "/v1/models/model:predict", good)
        assert json.load(connection.getresponse()) == {"prices": [6.0]}
    connection.close()


def test_before_the_model_is_loaded_there_is_nothing_to_tell(tmp_path):
    folder = truss(tmp_path / "t")
    (folder / "model" / "model.py").write_text(MODEL.replace("class Model:", "raise OSError\nclass Model:"))
    with running_server(folder, ready=False) as running:
        for path in ("/docs", "/openapi.json", "/v1/models/model/schema"):
            assert running.request("GET", path).status == 503
