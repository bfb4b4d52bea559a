"""No secret, token, password or path of the builder is in an image, in what goes along, or beside it."""

import base64
import gzip
import io
import json
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = [pytest.mark.registry, pytest.mark.network, pytest.mark.xdist_group("images")]

INDEX, PROXY = "builder:1ndex-token", "builder:pr0xy-password"
SECRETS = {
    "TRUSS_SECRET_MY_KEY": "s3cret-of-the-model",
    "HF_TOKEN": "hf_s3cret",
    "AWS_SECRET_ACCESS_KEY": "4ws-s3cret",
}
REGISTRY_PASSWORD = "r3gistry-password"

CONFIG = """\
requirements: [near==0.1]
secrets: {my-key: null}
environment_variables: {MODE: fast}
"""


def wheel():
    """A package that only the private index has."""
    about = "near-0.1.dist-info"
    files = {
        "near.py": "x = 1\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: near\nVersion: 0.1\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


@pytest.fixture(scope="module")
def proxy():
    """A proxy with a password, behind which there is an index with a token."""

    def basic(who):
        return f"Basic {base64.b64encode(who.encode()).decode()}"

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.headers.get("Proxy-Authorization") != basic(PROXY):
                self.answer(407)
            elif self.headers.get("Authorization") != basic(INDEX):
                self.answer(401, {"WWW-Authenticate": 'Basic realm="index"'})
            elif self.path == "http://packages.test/simple/near/":
                links = (
                    b'<a href="http://packages.test/near-0.1-py3-none-any.whl">near-0.1-py3-none-any.whl</a>'
                )
                self.answer(200, {"Content-Type": "text/html"}, links)
            elif self.path == "http://packages.test/near-0.1-py3-none-any.whl":
                self.answer(200, {}, wheel())
            else:
                self.answer(404)

        def answer(self, status, headers=None, body=b""):
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def private(bench, proxy, monkeypatch, tmp_path):
    """The surroundings of a builder who has much to hide; gives what nobody may find."""
    host_path = tmp_path / "h0me-of-the-builder"
    host_path.mkdir()
    auth = base64.b64encode(f"builder:{REGISTRY_PASSWORD}".encode()).decode()
    surroundings = {
        **SECRETS,
        "HTTP_PROXY": f"http://{PROXY}@{proxy}",
        "http_proxy": f"http://{PROXY}@{proxy}",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PIP_EXTRA_INDEX_URL": f"http://{INDEX}@packages.test/simple",
        "DOCKER_AUTH_CONFIG": json.dumps({"auths": {bench.registry: {"auth": auth}}}),
        "TRUSS_HOME": str(host_path),
    }
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    words = [INDEX.partition(":")[2], PROXY.partition(":")[2], REGISTRY_PASSWORD, auth, *SECRETS.values()]
    return [*words, "packages.test", str(tmp_path), str(Path(sys.prefix)), str(Path(__file__).parents[2])]


def found(words, name, data):
    """Which of the words are in some bytes, or in what they hold compressed."""
    content = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    return [f"{word} in {name}" for word in words if word.encode() in content]


def has_near(data):
    return data.startswith(b"\x1f\x8b") and b"near.py" in gzip.decompress(data)


def test_nothing_is_in_an_image_or_goes_along_with_it(bench, private, small, tmp_path):
    folder, layout = small("private", config=CONFIG), tmp_path / "layout"
    told = bench.build(folder, "private:1", "--output", str(layout), cache=tmp_path / "cache")
    base = told["layers"][0]["digest"].partition(":")[2]
    files = [file for file in layout.rglob("*") if file.is_file() and file.name != base]
    contents = {file.name: file.read_bytes() for file in [*files, folder / "truss.lock"]}
    assert any(map(has_near, contents.values()))
    assert [line for name, data in contents.items() for line in found(private, name, data)] == []


def test_nothing_is_in_a_build_context(bench, private, small, tmp_path):
    context = tmp_path / "context"
    done = bench.run("build-context", small("contextual", config=CONFIG), context)
    assert done.returncode == 0, done.stderr
    files = {path.relative_to(context): path for path in context.rglob("*") if path.is_file()}
    assert Path("site/near.py") in files
    assert [line for name, path in files.items() for line in found(private, name, path.read_bytes())] == []


def test_a_message_names_no_password(bench, private, small):
    folder = small("failing", config=CONFIG.replace("near==0.1", "near==0.2"))
    done = bench.run("build", folder, "--push", f"{bench.registry}/failing:1")
    assert done.returncode == 1
    assert "near" in done.stderr
    assert found(private[:-4], "stderr", done.stderr.encode()) == []
