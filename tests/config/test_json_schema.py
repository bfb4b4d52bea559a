"""The shipped JSON schema: current, and agreeing with the reader."""

import json
from importlib import resources

import jsonschema
import pytest
from config_files import configs
from hypothesis import HealthCheck, given, settings

from truss.config import json_schema

SHIPPED = json.loads((resources.files("truss.config") / "config.schema.json").read_text())


def test_the_shipped_schema_is_current():
    assert json_schema() == SHIPPED, "run `make docs`"


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SHIPPED)


@settings(max_examples=100, suppress_health_check=list(HealthCheck), deadline=None)
@given(configs)
def test_what_reads_is_valid(content):
    jsonschema.validate(content, SHIPPED)


@pytest.mark.parametrize(
    "content", [{"resources": {"cpu": "lots"}}, {"requirements": "numpy"}, {"runtime": {"workers": 0}}]
)
def test_what_does_not_read_is_not_valid(content):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, SHIPPED)


def test_every_key_is_described():
    nodes = [SHIPPED, *SHIPPED["$defs"].values()]
    undescribed = [
        name for node in nodes for name, entry in node["properties"].items() if "description" not in entry
    ]
    assert undescribed == []
