"""uv's failures in a sentence."""

import pytest

from truss.environments.uv import condensed, run_uv
from truss.errors import EnvironmentBuildError


@pytest.mark.parametrize(
    ("said", "condensed_to"),
    [
        (
            "error: No solution found when resolving dependencies\n"
            "  cause: Because there is no version of numpy==99 and you require numpy==99, we can conclude "
            "that your requirements are unsatisfiable.\n",
            "Because there is no version of numpy==99 and you require numpy==99",
        ),
        (
            "  × No solution found when resolving dependencies:\n"
            "  ╰─▶ Because numpy was not found in the package registry and you require\n"
            "      numpy, we can conclude that your requirements are unsatisfiable.\n",
            "Because numpy was not found in the package registry and you require numpy",
        ),
        ("error: Failed to fetch: `https://host/simple/`\n", "Failed to fetch: `https://host/simple/`"),
    ],
)
def test_an_account_is_condensed(said, condensed_to):
    assert condensed(said) == condensed_to


def test_a_failure_says_what_was_being_done(tmp_path):
    with pytest.raises(EnvironmentBuildError, match=r"the lock cannot be read: .*requirements\.txt"):
        run_uv(["pip", "compile", "requirements.txt"], tmp_path, "the lock cannot be read")
