"""What every target plans from: names, sizes and the variables of secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truss.config import parse_config
from truss.deploy import Release
from truss.deploy.release import LONGEST_NAME, name_of
from truss.errors import DeployError, PlanError


def release(text="", name="flowers"):
    return Release(name, "registry.example.com/flowers:1", parse_config(text))


@given(st.text(), st.sampled_from("abcxyzABCXYZ"), st.text())
def test_a_name_after_any_text_with_a_letter_can_be_the_name_of_a_deployment(before, letter, after):
    name = name_of(before + letter + after)
    assert release(name=name).name == name


@pytest.mark.parametrize("text", ["", "123", "模型", "--"])
def test_nothing_is_named_after_a_text_without_letters(text):
    with pytest.raises(DeployError, match="can be named") as caught:
        name_of(text)
    assert "--name" in caught.value.hint


@pytest.mark.parametrize("name", ["", "Flowers", "1st", "-a", "a-", "a_b", "a" * (LONGEST_NAME + 1)])
def test_what_no_platform_takes_as_a_name_is_refused(name):
    with pytest.raises(DeployError, match="cannot be the name"):
        release(name=name)


@pytest.mark.parametrize(("text", "cores"), [("500m", 0.5), ("2", 2.0), ("1.5", 1.5)])
def test_cores_are_read_in_all_ways_of_writing_them(text, cores):
    assert release(f"resources: {{cpu: '{text}'}}").cpu == cores


def test_secrets_are_variables_that_shells_take():
    secrets = release("secrets: {api-key: x, hf.token: x, plain: x}").secret_variables
    assert secrets == {
        "TRUSS_SECRET_api_key": "api-key",
        "TRUSS_SECRET_hf_token": "hf.token",
        "TRUSS_SECRET_plain": "plain",
    }


def test_two_secrets_that_would_be_one_variable_are_refused():
    with pytest.raises(PlanError, match="same variable, TRUSS_SECRET_api_key") as caught:
        _ = release("secrets: {api-key: x, api_key: y}").secret_variables
    assert "rename" in caught.value.hint
