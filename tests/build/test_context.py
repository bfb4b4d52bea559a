"""A build context as it is planned: its name follows from all that its image is made of."""

import os

import pytest

from truss.build import LayerCache
from truss.build.context import plan_context
from truss.config import read_config
from truss.oci import Platform

pytestmark = [pytest.mark.registry, pytest.mark.network, pytest.mark.xdist_group("images")]

DATA = b"a" * (2 << 20)


@pytest.fixture
def plan(bench, monkeypatch):
    monkeypatch.setenv("TRUSS_BASE_REGISTRY", bench.registry)
    cache = LayerCache(bench.cache / "images")

    def plan(folder, **how):
        planned = plan_context(folder, read_config(folder), cache, Platform("amd64"), **how)
        return planned.digest(cache)

    return plan


def test_it_is_called_the_same_until_something_of_it_changes(plan, small):
    folder = small("planned", config="build_commands: ['true']\n")
    first = plan(folder)
    assert plan(folder) == first
    model, config = folder / "model" / "model.py", folder / "config.yaml"
    before = model.read_text()
    model.write_text(f"{before}# edited\n")
    assert plan(folder) != first
    model.write_text(before)
    assert plan(folder) == first
    config.write_text(config.read_text() + "requirements: [httptools]\n")
    assert plan(folder) != first


def test_data_is_read_again_when_it_is_asked_for(plan, small):
    folder = small("verified", config="build_commands: ['true']\n")
    (folder / "data").mkdir()
    file = folder / "data" / "weights.bin"
    file.write_bytes(DATA)
    first = plan(folder)
    about = file.stat()
    with file.open("r+b") as out:
        out.write(b"b")
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert plan(folder) == first
    assert plan(folder, verify=True) != first
