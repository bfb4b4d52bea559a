"""Registries that fail, redirect, forget and ask for tokens, as scripted; none is waited for."""

from __future__ import annotations

import base64
import email.utils
import json
import time
from dataclasses import replace
from urllib.parse import parse_qs

import pytest
from scripted_registry import answer_lost, cut_short, dropped, scripted_registry, status

from truss.errors import (
    BrokenImageError,
    ImageNotFoundError,
    RegistryAuthError,
    RegistryError,
    RegistryUnavailableError,
)
from truss.oci import (
    Blob,
    Credentials,
    Digest,
    Entry,
    ImageConfig,
    Patience,
    Platform,
    Reference,
    Registry,
    Repository,
    Transport,
    build_artifact,
    build_image,
    plain_layer,
    pull_image,
    push_image,
)
from truss.oci.auth import Authority, Challenge, parse_challenges
from truss.oci.credentials import Found
from truss.oci.sessions import Sessions
from truss.oci.transport import Answer, Request, _redirected

AMD64 = Platform("amd64")
CHUNK = 10_000


@pytest.fixture
def image():
    layer = plain_layer([Entry.file("weights", bytes(range(256)) * 200)])  # six chunks
    return build_image(ImageConfig(AMD64), [layer])


@pytest.fixture
def faulty():
    with scripted_registry() as registry:
        yield registry


class Client:
    """A client of a scripted registry; notes the pauses that it would make."""

    def __init__(self, host: str, credentials: Credentials | None = None, tries: int = 4, notes=()):
        self.pauses: list[float] = []
        patience = Patience(tries=tries, first=1, longest=8, pause=self.pauses.append)
        found = Found(credentials, notes)
        self.registry = Registry(host, transport=Transport(patience), find=lambda _: found)
        self.name = Reference.parse(f"{host}/team/model:1")

    def push(self, image, **options):
        return push_image(image, self.name, registry=self.registry, chunk_size=CHUNK, parallel=1, **options)

    def pull(self):
        return pull_image(self.name, AMD64, registry=self.registry).image


def whole(blob: Blob) -> bytes:
    return b"".join(blob.content.blocks())


def arrived(faulty, image) -> bool:
    held = {**faulty.blobs, **{digest: data for digest, (_, data) in faulty.manifests.items()}}
    blobs = (*image.blobs, image.manifest)
    return all(held.get(str(blob.digest)) == whole(blob) for blob in blobs)


PUSH = [
    ("HEAD", "blobs"),
    ("POST", "uploads"),
    ("PATCH", "uploads"),
    ("PUT", "uploads"),
    ("PUT", "manifests"),
]


@pytest.mark.parametrize(("method", "path"), PUSH)
@pytest.mark.parametrize(
    "fault",
    [status(429), status(500), status(502), status(503), status(504), dropped(), answer_lost],
    ids=["429", "500", "502", "503", "504", "dropped", "answer lost"],
)
def test_what_is_temporary_is_tried_again(faulty, image, method, path, fault):
    faulty.fail(method, path, fault, times=2)
    client = Client(faulty.host)
    client.push(image)
    assert arrived(faulty, image)
    assert not faulty.faults
    assert client.pauses


@pytest.mark.parametrize(("method", "path"), PUSH)
def test_a_registry_that_always_fails_is_given_up(faulty, image, method, path):
    faulty.fail(method, path, status(503), times=50)
    client = Client(faulty.host, tries=3)
    with pytest.raises(RegistryUnavailableError, match="HTTP status 503") as caught:
        client.push(image)
    assert caught.value.http_status == 503
    assert caught.value.where == faulty.host
    assert "1" not in faulty.manifests


def test_pauses_grow_and_are_never_the_same_for_all(faulty, image):
    faulty.fail("HEAD", "blobs", status(500), times=5)
    client = Client(faulty.host, tries=6)
    client.push(image)
    assert client.pauses != [1, 2, 4, 8, 8]
    assert all(
        limit / 2 <= pause <= limit for pause, limit in zip(client.pauses, (1, 2, 4, 8, 8), strict=True)
    )


@pytest.mark.parametrize("method", ["HEAD", "PATCH"])
def test_a_registry_says_itself_when_to_come_back(faulty, image, method):
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    faulty.fail(method, "", status(429, Retry_After="33"))
    faulty.fail(method, "", status(429, Retry_After=date))
    faulty.fail(method, "", status(429, Retry_After="86400"))
    client = Client(faulty.host)
    client.push(image)
    first, second, third = client.pauses
    assert first == 33
    assert 50 < second <= 61
    assert third == 120


@pytest.mark.parametrize("code", [400, 409, 413])
def test_what_is_not_temporary_is_not_tried_again(faulty, image, code):
    body = json.dumps({"errors": [{"code": "NAME_INVALID", "message": "not that name"}]}).encode()
    faulty.fail("PUT", "manifests", status(code, body))
    with pytest.raises(RegistryError, match=f"{code}: not that name") as caught:
        Client(faulty.host).push(image)
    assert (caught.value.http_status, caught.value.code) == (code, "NAME_INVALID")
    assert faulty.count("PUT", "manifests") == 1


def test_an_interrupted_chunk_goes_on_where_the_registry_has_it(faulty, image):
    faulty.fail("PATCH", "uploads", dropped(4_000))
    pushed = Client(faulty.host).push(image)
    assert arrived(faulty, image)
    layer = image.layers[0].size
    received = sum(one.size for one in faulty.seen if one.method == "PATCH")
    assert received == layer  # nothing arrived twice
    assert layer <= pushed.blobs[0].sent <= layer + CHUNK
    assert faulty.count("POST", "uploads") == 2  # one for the layer, one for the config


def test_a_push_that_gets_further_each_time_is_never_given_up(faulty, image):
    faulty.fail("PATCH", "uploads", dropped(2_000), times=20)
    Client(faulty.host, tries=3).push(image)
    assert arrived(faulty, image)


def test_a_blob_that_arrived_is_not_sent_again_when_only_the_answer_was_lost(faulty, image):
    faulty.fail("PUT", "uploads", answer_lost)
    pushed = Client(faulty.host).push(image)
    assert arrived(faulty, image)
    assert pushed.bytes_uploaded == sum(blob.size for blob in (*image.blobs, image.manifest))


def test_a_registry_that_takes_nothing_is_given_up(faulty, image):
    location = f"http://{faulty.host}/v2/team/model/blobs/uploads/0?state=1"
    faulty.fail("PATCH", "uploads", status(202, Location=location, Range="0-0"), times=50)
    with pytest.raises(RegistryUnavailableError, match="took nothing"):
        Client(faulty.host, tries=3).push(image)


def test_a_registry_that_forgot_the_upload_gets_it_again(image):
    with scripted_registry(resumes=False) as faulty:
        faulty.fail("PATCH", "uploads", dropped(4_000))
        Client(faulty.host).push(image)
        assert arrived(faulty, image)
        assert faulty.count("POST", "uploads") == 3


def test_a_lost_chunk_is_sent_again(faulty, image):
    faulty.fail("PATCH", "uploads", status(416))
    Client(faulty.host).push(image)
    assert arrived(faulty, image)


def test_a_registry_without_chunks_gets_the_whole_in_one(image):
    with scripted_registry(chunks=False) as faulty:
        Client(faulty.host).push(image)
        assert arrived(faulty, image)
        assert faulty.count("PATCH") == 1


def test_a_registry_may_want_larger_chunks(faulty, image):
    location = f"http://{faulty.host}/v2/team/model/blobs/uploads/big?state=1"
    faulty.uploads["big"] = bytearray()
    faulty.fail("POST", "uploads", status(202, Location=location, OCI_Chunk_Min_Length="40000"))
    Client(faulty.host).push(image)
    assert arrived(faulty, image)
    assert [one.size for one in faulty.seen if one.method == "PATCH"] == [
        40_000,
        image.layers[0].size - 40_000,
    ]


def as_usual(handler):
    """Do what is asked."""
    return False


def break_off(registry, image, sessions):
    """Push until the connection breaks in the middle of the second chunk, and let it be."""
    registry.fail("PATCH", "uploads", as_usual)
    registry.fail("PATCH", "uploads", dropped(4_000))
    with pytest.raises(RegistryUnavailableError):
        Client(registry.host, tries=1).push(image, sessions=sessions)
    registry.seen.clear()


@pytest.fixture
def sessions(tmp_path):
    return Sessions(tmp_path / "uploads")


def test_a_later_push_goes_on_where_the_registry_is(faulty, image, sessions):
    break_off(faulty, image, sessions)
    steps = []
    pushed = Client(faulty.host).push(image, sessions=sessions, progress=steps.append)
    assert arrived(faulty, image)
    assert pushed.blobs[0].sent == image.layers[0].size - CHUNK - 4_000
    assert faulty.count("POST", "uploads") == 1  # for the config
    assert next(step.arrived for step in steps if step.descriptor.digest == image.layers[0].digest) == 14_000
    assert list(sessions.folder.iterdir()) == []


def test_a_later_push_without_notes_begins_anew(faulty, image, sessions):
    break_off(faulty, image, sessions)
    assert Client(faulty.host).push(image).blobs[0].sent == image.layers[0].size


def forget(registry, sessions):
    registry.uploads["0"] = None


def change(registry, sessions):
    registry.uploads["0"][0] ^= 1


def deny(registry, sessions):
    registry.fail("PATCH", "uploads", status(400))


def spoil(registry, sessions):
    for file in sessions.folder.iterdir():
        file.write_text("no address")


@pytest.mark.parametrize("happens", [forget, change, deny, spoil])
def test_what_cannot_be_gone_on_with_is_begun_anew(faulty, image, sessions, happens):
    break_off(faulty, image, sessions)
    happens(faulty, sessions)
    pushed = Client(faulty.host).push(image, sessions=sessions)
    assert arrived(faulty, image)
    assert pushed.blobs[0].sent >= image.layers[0].size
    assert faulty.count("POST", "uploads") == 2
    assert list(sessions.folder.iterdir()) == []


def test_what_can_be_mounted_is_not_gone_on_with(faulty, image, sessions):
    break_off(faulty, image, sessions)
    faulty.blobs[str(image.layers[0].digest)] = whole(image.layers[0])
    faulty.fail("HEAD", "blobs", status(404))
    faulty.fail("POST", "uploads", status(201))
    origin = Repository(faulty.host, "base")
    known = replace(image, layers=(replace(image.layers[0], origin=origin),))
    assert Client(faulty.host).push(known, sessions=sessions).blobs[0].how == "mounted"
    assert list(sessions.folder.iterdir()) == []


def test_an_upload_that_cannot_be_mounted_is_gone_on_with(faulty, image, sessions):
    break_off(faulty, image, sessions)
    known = replace(image, layers=(replace(image.layers[0], origin=Repository(faulty.host, "base")),))
    pushed = Client(faulty.host).push(known, sessions=sessions)
    assert arrived(faulty, image)
    assert pushed.blobs[0].sent == image.layers[0].size - CHUNK - 4_000


def test_an_upload_on_another_server_is_not_noted(image, sessions):
    with scripted_registry(relative=True) as faulty:
        port = faulty.host.partition(":")[2]
        location = f"http://localhost:{port}/v2/team/model/blobs/uploads/away?state=1"
        faulty.uploads["away"] = bytearray()
        faulty.fail("POST", "uploads", status(202, Location=location))
        break_off(faulty, image, sessions)
        assert list(sessions.folder.iterdir()) == []


def test_locations_without_a_host_are_understood(image):
    with scripted_registry(relative=True) as faulty:
        Client(faulty.host).push(image)
        assert arrived(faulty, image)


def test_a_registry_that_does_not_say_where_is_named(faulty, image):
    faulty.fail("POST", "uploads", status(202))
    with pytest.raises(RegistryError, match="does not say where"):
        Client(faulty.host).push(image)


def test_content_that_a_proxy_changed_is_noticed(faulty, image):
    body = json.dumps({"errors": [{"code": "DIGEST_INVALID"}]}).encode()
    faulty.fail("PUT", "uploads", status(400, body))
    with pytest.raises(BrokenImageError, match="not what its digest says"):
        Client(faulty.host).push(image)


@pytest.mark.parametrize("code", [400, 403, 404, 405])
def test_a_mount_that_is_refused_becomes_an_upload(faulty, image, code):
    faulty.fail("POST", "uploads", status(code))
    base = Blob(
        image.layers[0].descriptor, image.layers[0].content, Reference.parse(f"{faulty.host}/b").repository
    )
    image = build_image(image.config, [], base=None)
    image = type(image)(image.manifest, image.config, image.config_blob, (base,))
    pushed = Client(faulty.host).push(image)
    assert pushed.blobs[0].how == "uploaded"
    assert faulty.blobs[str(base.digest)] == whole(base)
    (mount,) = (one for one in faulty.seen if "mount" in one.query)
    assert mount.query == {"mount": [str(base.digest)], "from": ["b"]}


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_goes_on(image, ranges):
    with scripted_registry(ranges=ranges) as faulty:
        client = Client(faulty.host)
        client.push(image)
        blob = client.pull().layers[0]
        faulty.fail("GET", f"blobs/{blob.digest}", cut_short(20_000))
        faulty.fail("GET", f"blobs/{blob.digest}", status(500))
        assert b"".join(blob.checked_blocks()) == whole(image.layers[0])
        asked = [one.headers.get("Range") for one in faulty.seen if str(blob.digest) in one.path]
        assert asked[-3:] == [None, "bytes=20000-", "bytes=20000-"]


def test_a_download_that_gets_further_each_time_is_never_given_up(faulty, image):
    client = Client(faulty.host, tries=3)
    client.push(image)
    blob = client.pull().layers[0]
    whole_blob = whole(image.layers[0])

    def a_little(handler):
        start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
        handler.reply(206, whole_blob[start : start + 5000], Content_Length=str(blob.size - start))
        handler.drop()
        return True

    faulty.fail("GET", f"blobs/{blob.digest}", a_little, times=8)
    assert whole(blob) == whole_blob
    assert len(client.pauses) == 8


def test_a_download_that_always_breaks_is_given_up(faulty, image):
    client = Client(faulty.host, tries=3)
    client.push(image)
    blob = client.pull().layers[0]
    faulty.fail("GET", f"blobs/{blob.digest}", dropped(), times=50)
    with pytest.raises(RegistryUnavailableError):
        whole(blob)


def test_downloaded_content_is_checked(faulty, image):
    client = Client(faulty.host)
    client.push(image)
    blob = client.pull().layers[0]
    faulty.blobs[str(blob.digest)] = bytes(blob.size)
    with pytest.raises(BrokenImageError, match="not what its digest says"):
        list(blob.checked_blocks())


def test_a_manifest_is_checked(faulty, image):
    client = Client(faulty.host)
    client.push(image)
    kind, data = faulty.manifests["1"]
    faulty.manifests[str(image.digest)] = (kind, data + b" ")
    with pytest.raises(BrokenImageError, match="manifest is not what its digest says"):
        pull_image(client.name.at(image.digest), AMD64, registry=client.registry)


def test_manifests_of_long_ago_are_refused(faulty):
    old = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    faulty.manifests["1"] = (old, b'{"schemaVersion": 1}')
    with pytest.raises(BrokenImageError, match=r"v1\+prettyjws"):
        Client(faulty.host).pull()


def test_an_answer_without_end_is_not_read(faulty):
    faulty.manifests["1"] = ("application/vnd.oci.image.manifest.v1+json", bytes(40 << 20))
    with pytest.raises(RegistryError, match="too long"):
        Client(faulty.host).pull()


# Redirects


def test_a_redirect_to_another_host_gets_no_credentials(faulty, image):
    with scripted_registry() as elsewhere:
        client = Client(faulty.host, Credentials("me", "secret"))
        client.push(image)
        blob = client.pull().layers[0]
        elsewhere.blobs[str(blob.digest)] = whole(blob)
        target = f"http://{elsewhere.host}/blobs/{blob.digest}?signature=x"
        unauthorised = status(401, WWW_Authenticate='Basic realm="r"')
        faulty.fail("GET", f"blobs/{blob.digest}", unauthorised)
        faulty.fail("GET", f"blobs/{blob.digest}", status(307, Location=target))
        assert whole(blob) == whole(image.layers[0])
        assert "Authorization" in faulty.seen[-1].headers
        assert "Authorization" not in elsewhere.seen[-1].headers
        assert elsewhere.seen[-1].query == {"signature": ["x"]}


def test_a_redirect_to_the_same_host_keeps_credentials(faulty, image):
    client = Client(faulty.host, Credentials(registry_token="t"))
    client.push(image)
    blob = client.pull().layers[0]
    path = f"/v2/team/model/blobs/{blob.digest}"
    faulty.fail("GET", "blobs", status(401, WWW_Authenticate='Bearer realm="http://localhost/t"'))
    faulty.fail("GET", "blobs", status(302, Location=f"{path}?again"))
    whole(blob)
    assert faulty.seen[-1].headers["Authorization"] == "Bearer t"


def test_an_upload_elsewhere_gets_no_credentials(faulty, image):
    with scripted_registry() as elsewhere:
        elsewhere.uploads["1"] = bytearray()
        location = f"http://{elsewhere.host}/v2/x/blobs/uploads/1?state=1"
        faulty.fail("POST", "uploads", status(401, WWW_Authenticate='Basic realm="r"'))
        faulty.fail("POST", "uploads", status(202, Location=location))
        Client(faulty.host, Credentials("me", "secret")).push(image)
        assert "Authorization" in faulty.seen[-1].headers
        assert {one.method for one in elsewhere.seen} == {"PATCH", "PUT"}
        assert not any("Authorization" in one.headers for one in elsewhere.seen)


def test_an_upload_is_redirected_with_its_content(faulty, image):
    faulty.fail("PUT", "manifests", status(307, Location="/v2/team/model/manifests/1?again"))
    Client(faulty.host).push(image)
    assert arrived(faulty, image)


def test_redirects_come_to_an_end(faulty):
    faulty.fail("GET", "manifests", status(302, Location="/v2/team/model/manifests/1"), times=50)
    with pytest.raises(RegistryError, match="without end"):
        Client(faulty.host).pull()


@pytest.mark.parametrize("target", ["ftp://x/y", "file:///etc/passwd"])
def test_redirects_stay_on_the_web(faulty, target):
    faulty.fail("GET", "manifests", status(302, Location=target))
    with pytest.raises(RegistryError, match="not encrypted"):
        Client(faulty.host).pull()


# Tokens


def challenge(host: str, scope: str = "repository:team/model:pull") -> str:
    return f'Bearer realm="http://{host}/token",service="registry.test",scope="{scope}"'


def guard(faulty, tokens, times=1):
    """The registry refuses the next requests; the token server gives tokens that say their number."""
    faulty.fail("HEAD", "", status(401, WWW_Authenticate=challenge(tokens.host)), times=times)
    for number in range(5):
        answer = json.dumps({"token": f"token-{number}", "expires_in": 3600}).encode()
        tokens.fail("GET", "/token", status(200, answer))


def test_a_401_is_answered_with_a_token(faulty, image):
    with scripted_registry() as tokens:
        guard(faulty, tokens)
        Client(faulty.host, Credentials("me", "secret")).push(image)
        assert arrived(faulty, image)
        (asked,) = tokens.seen
        assert asked.query == {"service": ["registry.test"], "scope": ["repository:team/model:pull,push"]}
        basic = base64.b64encode(b"me:secret").decode()
        assert asked.headers["Authorization"] == f"Basic {basic}"
        assert "Authorization" not in faulty.seen[0].headers
        assert {one.headers["Authorization"] for one in faulty.seen[1:]} == {"Bearer token-0"}


def test_a_token_may_be_had_without_credentials(faulty, image):
    with scripted_registry() as tokens:
        guard(faulty, tokens)
        Client(faulty.host).push(image)
        assert "Authorization" not in tokens.seen[0].headers


def test_an_identity_token_is_exchanged(faulty, image):
    bodies = []

    def exchange(handler):
        bodies.append(handler.body().decode())
        handler.reply(200, b'{"access_token": "exchanged"}')
        return True

    with scripted_registry() as tokens:
        faulty.fail("HEAD", "", status(401, WWW_Authenticate=challenge(tokens.host)))
        tokens.fail("POST", "/token", exchange)
        Client(faulty.host, Credentials(identity_token="identity")).push(image)
    (body,) = bodies
    assert parse_qs(body)["refresh_token"] == ["identity"]
    assert parse_qs(body)["grant_type"] == ["refresh_token"]
    assert faulty.seen[-1].headers["Authorization"] == "Bearer exchanged"


def test_a_token_that_ran_out_is_renewed_in_the_middle(faulty, image):
    with scripted_registry() as tokens:
        guard(faulty, tokens)
        faulty.fail("PATCH", "", status(401, WWW_Authenticate=challenge(tokens.host)))
        Client(faulty.host).push(image)
        assert arrived(faulty, image)
        assert len(tokens.seen) == 2
        assert faulty.seen[-1].headers["Authorization"] == "Bearer token-1"


def test_a_token_for_a_mount_covers_both_repositories(faulty, image):
    with scripted_registry() as tokens:
        guard(faulty, tokens)
        origin = Reference.parse(f"{faulty.host}/base").repository
        layer = Blob(image.layers[0].descriptor, image.layers[0].content, origin)
        Client(faulty.host).push(type(image)(image.manifest, image.config, image.config_blob, (layer,)))
        assert sorted(tokens.seen[0].query["scope"]) == [
            "repository:base:pull",
            "repository:team/model:pull,push",
        ]


def test_a_refused_token_is_said_with_the_place_of_the_credentials(faulty, image):
    with scripted_registry() as tokens:
        faulty.fail("HEAD", "", status(401, WWW_Authenticate=challenge(tokens.host)))
        tokens.fail("GET", "/token", status(401))
        client = Client(faulty.host, Credentials("me", "secret", source="/home/me/.docker/config.json"))
        with pytest.raises(RegistryAuthError, match=r"from /home/me/\.docker/config\.json") as caught:
            client.push(image)
        assert "secret" not in str(caught.value)


def test_what_kept_credentials_from_being_found_is_said(faulty, image):
    faulty.fail("HEAD", "", status(401, WWW_Authenticate='Basic realm="r"'), times=9)
    client = Client(faulty.host, notes=("docker-credential-desktop is not on the PATH",))
    with pytest.raises(RegistryAuthError) as caught:
        client.push(image)
    assert "docker-credential-desktop is not on the PATH" in caught.value.hint
    assert f"docker login {faulty.host}" in caught.value.hint


def test_a_token_that_never_helps_is_given_up(faulty, image):
    with scripted_registry() as tokens:
        guard(faulty, tokens, times=9)
        with pytest.raises(RegistryAuthError):
            Client(faulty.host).push(image)
        assert len(faulty.seen) <= 4


@pytest.mark.parametrize("header", ["Negotiate", "Digest realm=x", ""])
def test_other_ways_of_asking_are_named(faulty, image, header):
    faulty.fail("HEAD", "", status(401, WWW_Authenticate=header), times=9)
    with pytest.raises(RegistryAuthError, match="way that is not known"):
        Client(faulty.host, Credentials("me", "secret")).push(image)


def test_a_realm_that_is_not_on_the_web_gets_nothing(faulty, image):
    faulty.fail("HEAD", "", status(401, WWW_Authenticate='Bearer realm="ftp://x/y"'), times=9)
    with pytest.raises(RegistryAuthError, match="not encrypted"):
        Client(faulty.host, Credentials("me", "secret")).push(image)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 1}'])
def test_a_token_server_that_gives_none_is_named(faulty, image, body):
    with scripted_registry() as tokens:
        faulty.fail("HEAD", "", status(401, WWW_Authenticate=challenge(tokens.host)))
        tokens.fail("GET", "/token", status(200, body))
        with pytest.raises(RegistryAuthError, match="no token was given"):
            Client(faulty.host).push(image)


def test_a_denied_push_is_about_credentials(faulty, image):
    denied = json.dumps({"errors": [{"code": "DENIED", "message": "no"}]}).encode()
    faulty.fail("POST", "uploads", status(403, denied))
    with pytest.raises(RegistryAuthError) as caught:
        Client(faulty.host, Credentials("me", "secret", source="the file")).push(image)
    assert (caught.value.http_status, caught.value.code) == (403, "DENIED")


def test_challenges_are_read_in_all_their_forms():
    assert parse_challenges('Bearer realm="https://a/b?x=1,2",service="s",scope="r:a:pull,push"') == [
        Challenge("bearer", {"realm": "https://a/b?x=1,2", "service": "s", "scope": "r:a:pull,push"})
    ]
    assert parse_challenges('Basic realm=x, Bearer realm="y" , service = z') == [
        Challenge("basic", {"realm": "x"}),
        Challenge("bearer", {"realm": "y", "service": "z"}),
    ]
    assert parse_challenges(r'Basic realm="a \"quoted\" name"')[0].parameters == {"realm": 'a "quoted" name'}
    assert [one.scheme for one in parse_challenges("Negotiate, Basic realm=x")] == ["negotiate", "basic"]
    assert parse_challenges("") == []


@pytest.fixture
def authority():
    """An authority beside a token server whose tokens live five minutes, and the clock it looks at."""
    now = [1000.0]
    with scripted_registry() as tokens:
        for number in range(5):
            answer = json.dumps({"token": f"token-{number}", "expires_in": 300}).encode()
            tokens.fail("GET", "/token", status(200, answer))
        refusal = Answer(401, {"WWW-Authenticate": challenge(tokens.host)}, "http://localhost/v2/")
        made = Authority("localhost", Transport(), lambda: Found(None), clock=lambda: now[0])
        yield made, refusal, now, tokens


def test_a_token_is_used_until_it_ends(authority):
    made, refusal, now, _ = authority
    assert made.header(["a"]) == ""
    assert made.renew(refusal, ["a"], "") == "Bearer token-0"
    now[0] += 280
    assert made.header(["a"]) == "Bearer token-0"
    now[0] += 15
    assert made.header(["a"]) == "Bearer token-1"


def test_threads_that_are_refused_together_ask_for_one_token(authority):
    made, refusal, _, tokens = authority
    assert [made.renew(refusal, ["a"], "") for _ in range(3)] == ["Bearer token-0"] * 3
    assert len(tokens.seen) == 1
    assert made.renew(refusal, ["a"], "Bearer token-0") == "Bearer token-1"


def test_a_token_is_for_what_it_was_asked_for(authority):
    made, refusal, _, tokens = authority
    made.renew(refusal, ["a"], "")
    assert made.header(["b", "a"]) == "Bearer token-1"
    assert made.header(["a", "b"]) == "Bearer token-1"
    assert [one.query["scope"] for one in tokens.seen] == [["a"], ["a", "b"]]


@pytest.mark.parametrize("realm", ["http://tokens.test/t", "ftp://tokens.test/t", "tokens.test", ""])
def test_no_password_goes_from_an_encrypted_registry_to_a_plain_token_server(authority, realm):
    made, refusal, _, tokens = authority
    header = {"WWW-Authenticate": f'Bearer realm="{realm}"'}
    with pytest.raises(RegistryAuthError, match="not encrypted"):
        made.renew(replace(refusal, headers=header, url="https://registry.test/v2/"), ["a"], "")
    assert not tokens.seen


def test_an_encrypted_registry_does_not_redirect_to_a_plain_address():
    request = Request("GET", "https://registry.test/v2/x", secrets={"Authorization": "x"})
    with pytest.raises(RegistryError, match="not encrypted: http://elsewhere"):
        _redirected(request, "http://elsewhere.test/x", 307)
    assert _redirected(request, "https://elsewhere.test/x", 307).secrets == {}
    assert _redirected(request, "https://registry.test:444/x", 307).secrets == {}
    assert _redirected(request, "https://registry.test/y", 307).secrets == request.secrets


# Proxies


@pytest.fixture
def proxied(faulty, monkeypatch):
    """A client of a registry that only the proxy reaches: the scripted one, which takes whole addresses."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("http_proxy", f"http://me:hid%2Fden@{faulty.host}")
    client = Client("registry.invalid:5000", Credentials("user", "secret"))
    client.registry = Registry(
        "registry.invalid:5000",
        transport=client.registry.transport,
        find=lambda _: Found(Credentials("user", "secret")),
        insecure=True,
    )
    return client


def test_the_proxy_of_the_environment_is_used(faulty, proxied, image):
    faulty.relative = True  # it does not know by which name it is reached
    proxied.push(image)
    assert arrived(faulty, image)
    basic = base64.b64encode(b"me:hid/den").decode()
    assert {one.headers["proxy-authorization"] for one in faulty.seen} == {f"Basic {basic}"}
    assert {one.headers["Host"] for one in faulty.seen} == {"registry.invalid:5000"}


def test_no_proxy_is_used_for_what_is_excepted(proxied, image, monkeypatch):
    monkeypatch.setenv("no_proxy", "registry.invalid")
    with pytest.raises(RegistryUnavailableError, match="no host of that name"):
        proxied.push(image)


def test_a_proxy_that_is_not_there_is_named_without_its_password(proxied, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://me:hidden@localhost:1")
    with pytest.raises(RegistryUnavailableError, match="proxy cannot be reached") as caught:
        proxied.pull()
    assert "hidden" not in str(caught.value)
    assert len(proxied.pauses) == 2


def test_proxies_of_other_kinds_are_refused(proxied, image, monkeypatch):
    monkeypatch.setenv("http_proxy", "socks5://localhost:1")
    with pytest.raises(RegistryError, match="'socks5' are not supported"):
        proxied.push(image)


# Lists


def test_all_pages_of_tags_are_read(faulty):
    pages = [
        status(200, b'{"tags": ["a", "b"]}', Link='</v2/team/model/tags/list?last=b&n=2>; rel="next"'),
        status(200, b'{"tags": ["c"]}'),
    ]
    for page in pages:
        faulty.fail("GET", "tags/list", page)
    assert list(Client(faulty.host).registry.repository("team/model").tags()) == ["a", "b", "c"]
    assert faulty.seen[-1].query == {"last": ["b"], "n": ["2"]}


def test_a_registry_that_lists_referrers_needs_no_tag(image):
    with scripted_registry(referrers=True) as faulty:
        client = Client(faulty.host)
        artifact = build_artifact(image, "application/spdx+json", [Blob.of(b"bill", "text/plain")])
        client.push(image, attached=[artifact])
        repository = client.registry.repository("team/model")
        assert [one.digest for one in repository.referrers(image.digest)] == [artifact.digest]
        assert f"sha256-{image.digest.hex}" not in faulty.manifests
        assert repository.referrers(Digest.of(b"other")) == ()


def test_what_a_registry_hides_is_said_to_be_missing(faulty):
    with pytest.raises(ImageNotFoundError, match="was not found") as caught:
        Client(faulty.host).pull()
    assert caught.value.http_status == 404
