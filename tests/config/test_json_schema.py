"""The shipped JSON schema: current, and agreeing with the reader."""

import json

import jsonschema
import pytest
from config_files import configs
from hypothesis import HealthCheck, given, settings

from truss.config import SCHEMA_FILE, json_schema, parse_config

SHIPPED = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))


def test_the_shipped_schema_is_current():
    assert json_schema() == SHIPPED, "run `make docs`"


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SHIPPED)


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(configs)
def test_what_reads_is_valid(content):
    jsonschema.validate(content, SHIPPED)


@pytest.mark.parametrize(
    "text",
    [
        'resources: {"cpu": "lots"}',
        'requirements: "numpy"',
        'runtime: {"workers": 0}',
        'secrets: {"a/b": null}',
        'python_version: "py27"',
        'weights: [{"source": "ftp://x", "mount_location": "/a"}]',
    ],
)
def test_what_does_not_read_is_not_valid(text):
    key, _, value = text.partition(": ")
    with pytest.raises(Exception, match=key):
        parse_config(text)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({key: json.loads(value)}, SHIPPED)


def test_every_key_is_described():
    nodes = [node for node in SHIPPED["$defs"].values() if "properties" in node]
    undescribed = [
        name for node in nodes for name, entry in node["properties"].items() if not entry.get("description")
    ]
    assert undescribed == []
