"""`https://` sources, from a server that knows ranges and breaks off (over http, which reads the same)."""

from __future__ import annotations

import hashlib
import logging
import resource
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from web_server import Web

import truss
from truss.errors import WeightsError
from truss.testing.server import running_server
from truss.weights.fetch import Fetcher
from truss.weights.sources import Source

CONTENT = bytes(range(256)) * 8192  # 2 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def source(web: Web, path: str = "/w.bin", **more: str) -> Source:
    return Source(f"{web.url}{path}", "w.bin", "file", "start", **more)


def only(folder: Path) -> bytes:
    (file,) = [path for path in folder.iterdir() if path.is_file()]
    return file.read_bytes()


def test_a_connection_that_is_cut_goes_on_where_it_broke_off(web: Web, fetcher: Fetcher):
    web.files["/w.bin"] = CONTENT
    web.breaks = [1 << 20, 1000]
    assert only(fetcher.fetch(source(web, sha256=SHA256)).folder) == CONTENT
    assert web.sent == len(CONTENT)  # no byte came twice
    assert [asked != "" for asked in web.asked] == [False, True, True]
    assert web.asked[1:] == [f"bytes={1 << 20}-", f"bytes={(1 << 20) + 1000}-"]


def test_another_process_goes_on_with_what_had_arrived(web: Web, fetcher: Fetcher):
    web.files["/w.bin"] = CONTENT
    web.breaks = [1 << 20, 0, 0, 0]
    with pytest.raises(WeightsError, match="cannot be reached") as caught:
        fetcher.fetch(source(web))
    assert "what came is kept" in str(caught.value)
    web.breaks = []
    assert only(fetcher.fetch(source(web)).folder) == CONTENT
    assert web.asked[-1] == f"bytes={1 << 20}-"
    assert web.sent == len(CONTENT)


def test_a_file_that_changed_meanwhile_begins_anew(web: Web, fetcher: Fetcher):
    web.files["/w.bin"] = CONTENT
    web.breaks = [1 << 20, 0, 0, 0]
    with pytest.raises(WeightsError):
        fetcher.fetch(source(web))
    web.breaks, web.files["/w.bin"] = [], CONTENT[::-1]
    assert only(fetcher.fetch(source(web)).folder) == CONTENT[::-1]


def test_a_server_without_ranges_gives_all_of_it_again(web: Web, fetcher: Fetcher):
    web.files["/w.bin"], web.ranges, web.breaks = CONTENT, False, [1 << 20]
    assert only(fetcher.fetch(source(web)).folder) == CONTENT
    assert web.sent == len(CONTENT) + (1 << 20)


def test_what_was_fetched_is_not_fetched_again(web: Web, fetcher: Fetcher):
    web.files["/w.bin"] = CONTENT
    first = fetcher.fetch(source(web))
    assert fetcher.fetch(source(web)) == first
    assert web.sent == len(CONTENT)
    web.files["/w.bin"] = b"new"
    assert only(fetcher.fetch(source(web)).folder) == b"new"


def test_a_digest_that_is_known_asks_nobody_again(web: Web, fetcher: Fetcher):
    web.files["/w.bin"] = CONTENT
    first = fetcher.fetch(source(web, sha256=SHA256))
    asked = len(web.seen)
    assert fetcher.fetch(source(web, sha256=SHA256)) == first
    assert len(web.seen) == asked


def test_a_store_that_is_away_leaves_what_was_fetched(
    web: Web, fetcher: Fetcher, caplog: pytest.LogCaptureFixture
):
    web.files["/w.bin"] = CONTENT
    first = fetcher.fetch(source(web))
    web.statuses = [503] * 3
    assert fetcher.fetch(source(web)) == first
    assert "what was fetched before is used" in caplog.text


def test_a_wrong_digest_is_refused_and_leaves_nothing(web: Web, fetcher: Fetcher):
    web.files["/w.bin"] = CONTENT
    with pytest.raises(WeightsError) as caught:
        fetcher.fetch(source(web, sha256="0" * 64))
    assert f"its sha256 is {SHA256}, not {'0' * 64}" in caught.value.message
    assert "correct `sha256`" in str(caught.value.hint)
    left = [path for path in fetcher.cache.rglob("*") if path.is_file() and path.name != "lock"]
    assert left == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_fails_for_now_is_tried_again(web: Web, fetcher: Fetcher, status: int):
    web.files["/w.bin"] = CONTENT
    web.statuses = [status, status]
    assert only(fetcher.fetch(source(web)).folder) == CONTENT


def test_what_is_not_there_is_named(web: Web, fetcher: Fetcher):
    with pytest.raises(WeightsError, match="nothing at this address") as caught:
        fetcher.fetch(source(web))
    assert caught.value.where == f"{web.url}/w.bin"
    assert len(web.seen) == 1  # it is not tried again


def test_a_missing_secret_is_named(web: Web, fetcher: Fetcher):
    web.files["/w.bin"], web.token = CONTENT, "open sesame"
    with pytest.raises(WeightsError, match="refuses") as caught:
        fetcher.fetch(source(web, secret="store_key"))
    assert "TRUSS_SECRET_store_key" in str(caught.value.hint)
    with pytest.raises(WeightsError, match="refuses") as caught:
        replace(fetcher, secrets={"store_key": "wrong"}).fetch(source(web, secret="store_key"))
    assert "'store_key'" in str(caught.value.hint)
    assert "wrong" not in str(caught.value)
    right = replace(fetcher, secrets={"store_key": "open sesame"})
    assert only(right.fetch(source(web, secret="store_key")).folder) == CONTENT


def test_a_redirect_takes_no_secret_along(web: Web, fetcher: Fetcher):
    web.files["/w.bin"] = CONTENT
    web.redirects["/moved"] = f"http://localhost:{web.port}/w.bin"
    given = replace(fetcher, secrets={"store_key": "open sesame"})
    assert only(given.fetch(source(web, "/moved", secret="store_key")).folder) == CONTENT
    assert {(path, told) for path, told in web.seen} == {("/moved", "Bearer open sesame"), ("/w.bin", "")}


def test_a_signature_in_an_address_is_in_no_message(web: Web, fetcher: Fetcher):
    with pytest.raises(WeightsError) as caught:
        fetcher.fetch(source(web, "/w.bin?X-Amz-Signature=abcdef"))
    assert "abcdef" not in str(caught.value)


def test_a_disk_that_is_full_is_an_error_that_says_so(web: Web, fetcher: Fetcher):
    web.files["/w.bin"] = CONTENT
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(WeightsError, match="cannot be written") as caught:
            fetcher.fetch(source(web))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "TRUSS_WEIGHTS_DIR" in str(caught.value.hint)
    assert only(fetcher.fetch(source(web)).folder) == CONTENT


def test_copies_that_start_together_fetch_once(web: Web, fetcher: Fetcher):
    web.files["/w.bin"] = CONTENT
    together = [threading.Thread(target=fetcher.fetch, args=(source(web),)) for _ in range(4)]
    for one in together:
        one.start()
    for one in together:
        one.join()
    assert web.sent == len(CONTENT)


def test_the_log_says_how_it_goes(web: Web, fetcher: Fetcher, caplog: pytest.LogCaptureFixture):
    web.files["/w.bin"] = CONTENT
    with caplog.at_level(logging.INFO, "truss.weights"):
        fetcher.fetch(source(web))
    assert f"Fetching {web.url}/w.bin: 1 file, 2.0 MiB" in caplog.text
    assert f"Fetched {web.url}/w.bin: 2.0 MiB" in caplog.text


@pytest.fixture
def fetching(web: Web, reading: Callable[[str, str], Path], tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("TRUSS_WEIGHTS_DIR", str(tmp_path / "cache"))
    web.files["/text"] = b"from elsewhere"
    digest = hashlib.sha256(b"from elsewhere").hexdigest()
    return reading(
        f"external_data:\n- url: {web.url}/text\n  local_data_path: sub/text\n  sha256: {digest}\n",
        "sub/text",
    )


def test_a_server_fetches_before_it_loads(fetching: Path, web: Web):
    with running_server(fetching) as server:
        assert server.predict({"inputs": []}).json() == {"predictions": ["from elsewhere"]}
    assert truss.load(fetching).server_predict({"inputs": []}) == {"predictions": ["from elsewhere"]}
    assert web.sent == len(b"from elsewhere")  # both from the same cache


def test_what_lies_there_already_is_left_alone(fetching: Path, web: Web):
    (fetching / "data" / "sub").mkdir(parents=True)
    (fetching / "data" / "sub" / "text").write_text("by hand")
    assert truss.load(fetching).server_predict({"inputs": []}) == {"predictions": ["by hand"]}
    assert web.seen == []


def test_a_server_says_why_it_cannot_fetch(fetching: Path, web: Web):
    web.files["/text"] = b"something else"
    with pytest.raises(WeightsError, match="is not what it has to be"):
        truss.load(fetching).server_predict({"inputs": []})
