"""Builds that fail say why, in a line, and leave nothing half done."""

import base64
import contextlib
import json
import subprocess

import pytest
from token_server import running_token_server

from truss.testing.registry import PASSWORD, USER, running_registry

pytestmark = [pytest.mark.registry, pytest.mark.network, pytest.mark.xdist_group("images")]

BUILDERS = ["none", "docker"]
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount", "--")


@pytest.fixture
def disk():
    """What runs a program with a file system of its own in a folder, made with some options of `mount`."""
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")

    def with_disk(folder, options):
        folder.mkdir()
        script = f'mount -t tmpfs -o {options} tmpfs "$0" && exec "$@"'
        return (*NAMESPACE, "sh", "-c", script, str(folder))

    return with_disk


@pytest.fixture(scope="module", params=["password", "token"])
def protected(request, tmp_path_factory):
    """A registry that wants a password, or a token that is given for one."""
    folder = tmp_path_factory.mktemp("protected")
    with contextlib.ExitStack() as stack:
        auth = None
        if request.param == "token":
            auth = stack.enter_context(running_token_server(folder / "tokens")).auth
        yield stack.enter_context(running_registry(folder / "registry", protected=True, auth=auth))


def failed(done, *expected):
    assert (done.returncode, done.stdout) == (1, ""), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith(("error:", "hint:"))]
    assert len(lines) == 2, done.stderr
    for text in expected:
        assert text in "\n".join(lines)


# Too little for the wheels, and for their layers.
@pytest.mark.parametrize("megabytes", [8, 20])
def test_a_cache_on_a_full_disk(bench, small, disk, tmp_path, megabytes):
    full = disk(tmp_path / "full", f"size={megabytes}m")
    done = bench.run(
        "build", small("filling"), "--output", tmp_path / "layout", cache=tmp_path / "full", program=full
    )
    failed(done, "o space left on device", "free some space")
    assert not (tmp_path / "layout").exists()


def test_a_full_disk_where_the_image_goes(bench, small, disk, tmp_path):
    full = disk(tmp_path / "full", "size=1m")
    for name in ("layout", "image.tar"):
        done = bench.run("build", small(f"to-{name[:3]}"), "--output", tmp_path / "full" / name, program=full)
        failed(done, "o space left on device", str(tmp_path / "full"), "free some space")


def test_a_cache_that_cannot_be_written(bench, small, disk, tmp_path):
    program = disk(tmp_path / "readonly", "ro")
    done = bench.run(
        "build", small("ro"), "--output", tmp_path / "layout", cache=tmp_path / "readonly", program=program
    )
    failed(done, "the cache cannot be written", "TRUSS_CACHE_DIR")
    assert not (tmp_path / "layout").exists()


@pytest.mark.parametrize("password", ["b4d-password", None])
def test_wrong_credentials_and_none(bench, protected, small, tmp_path, password):
    auths = {} if password is None else {protected.host: {"auth": auth(password)}}
    done = bench.run(
        *("build", small("refused"), "--push", f"{protected.host}/refused:1"),
        DOCKER_AUTH_CONFIG=json.dumps({"auths": auths}),
        DOCKER_CONFIG=str(tmp_path),
    )
    failed(done, protected.host, "docker login")
    assert "b4d-password" not in done.stderr


@pytest.mark.engine
@pytest.mark.parametrize("builder", BUILDERS)
def test_wrong_credentials_for_the_base(bench, engine, protected, small, tmp_path, builder):
    done = bench.run(
        *("build", small("unread"), "--output", tmp_path / "image.tar", "--builder", builder),
        *("--base", f"{protected.host}/base:1"),
        DOCKER_AUTH_CONFIG=json.dumps({"auths": {protected.host: {"auth": auth("b4d-password")}}}),
        DOCKER_CONFIG=str(tmp_path),
        DOCKER_HOST=engine.host,
    )
    failed(done, protected.host, "refuses the credentials", "docker login")
    assert not (tmp_path / "image.tar").exists()


@pytest.mark.engine
@pytest.mark.parametrize(  # Docker tries again for a minute where a server of tokens refuses it
    "protected", ["password", pytest.param("token", marks=pytest.mark.thorough)], indirect=True
)
def test_wrong_credentials_of_an_engine(bench, engine, protected, small, tmp_path):
    auths = {protected.host: {"auth": auth("b4d-password")}}
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    done = bench.run(
        *("build", small("unpushed"), "--push", f"{protected.host}/unpushed:1", "--builder", "docker"),
        DOCKER_CONFIG=str(tmp_path),
        DOCKER_HOST=engine.host,
    )
    failed(done, "`docker push` failed", "docker login")
    assert "b4d-password" not in done.stderr


@pytest.mark.parametrize("host", ["protected", "nobody"])
def test_where_an_image_cannot_go_is_said_before_it_is_built(bench, protected, small, tmp_path, host):
    place = {"protected": protected.host, "nobody": "127.0.0.1:1"}[host]
    done = bench.run(
        *("build", small("unwanted"), "--push", f"{place}/unwanted:1"),
        DOCKER_AUTH_CONFIG=json.dumps({"auths": {protected.host: {"auth": auth("b4d-password")}}}),
        DOCKER_CONFIG=str(tmp_path),
        cache=tmp_path / "cache",
    )
    failed(done, place)
    assert "Fetching wheels" not in done.stderr


def test_right_credentials(bench, protected, small):
    done = bench.run(
        *("build", small("taken"), "--push", f"{protected.host}/taken:1"),
        DOCKER_AUTH_CONFIG=json.dumps({"auths": {protected.host: {"auth": auth(PASSWORD)}}}),
    )
    assert done.returncode == 0, done.stderr


def auth(password):
    return base64.b64encode(f"{USER}:{password}".encode()).decode()


def test_what_is_wrong_with_the_base_is_said_before_wheels_are_fetched(bench, small, tmp_path):
    base = f"{bench.registry}/nothing:1"
    words = ("--output", tmp_path / "layout", "--base", base)
    done = bench.run("build", small("early"), *words, cache=tmp_path / "cache")
    failed(done, base.removesuffix(":1"), "version '1' was not found")
    assert "Fetching wheels" not in done.stderr


@pytest.mark.engine
@pytest.mark.parametrize("builder", BUILDERS)
def test_a_base_that_is_not_there(bench, engine, small, tmp_path, builder):
    base = f"{bench.registry}/nothing:1"
    words = ("--output", tmp_path / "image.tar", "--base", base, "--builder", builder)
    done = bench.run("build", small("nobase"), *words, DOCKER_HOST=engine.host)
    failed(done, base.removesuffix(":1"), "version '1' was not found")
    assert not (tmp_path / "image.tar").exists()


@pytest.mark.engine
def test_full_disks_where_an_engines_build_writes(bench, engine, small, disk, tmp_path):
    folder = small("engines")
    full = disk(tmp_path / "full", "size=1m")
    words = ("build", folder, "--builder", "docker", "--output")
    reached = {"DOCKER_HOST": engine.host}
    done = bench.run(*words, tmp_path / "image.tar", program=full, TMPDIR=str(tmp_path / "full"), **reached)
    failed(done, "o space left on device", str(tmp_path / "full"), "free some space")
    done = bench.run(*words, tmp_path / "full" / "image.tar", program=full, **reached)
    failed(done, "o space left on device", "free some space")
    done = bench.run("build-context", folder, tmp_path / "full" / "context", program=full)
    failed(done, "o space left on device", str(tmp_path / "full"), "free some space")


@pytest.mark.engine
def test_a_cache_that_cannot_be_written_stops_an_engines_build(bench, engine, small, disk, tmp_path):
    program = disk(tmp_path / "readonly", "ro")
    words = ("--builder", "docker", "--output", tmp_path / "image.tar")
    done = bench.run(
        "build", small("ro"), *words, cache=tmp_path / "readonly", program=program, DOCKER_HOST=engine.host
    )
    failed(done, "the cache cannot be written", "TRUSS_CACHE_DIR")
    assert not (tmp_path / "image.tar").exists()
