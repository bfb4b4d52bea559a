"""`truss run-example`: answers, comparison, and the exit code."""

import pytest

from truss.testing.server import running_server

EXAMPLES = """
    - name: doubles
      input: {inputs: [1, 2]}
      expected: {predictions: [2, 4]}
    - name: open
      input: {inputs: [3]}
"""
WRONG = """
    - name: right
      input: {inputs: [1]}
      expected: {predictions: [2]}
    - name: wrong
      input: {inputs: [1, 5]}
      expected: {predictions: [2, 11]}
"""


def test_all_examples_one_answer_a_line(truss, make_truss):
    ran = truss("run-example", make_truss(examples=EXAMPLES))
    assert ran.code == 0
    assert ran.out == '{"predictions": [2, 4]}\n{"predictions": [6]}\n'
    assert "doubles: as expected" in ran.err
    assert "open: no expected answer" in ran.err


def test_one_example(truss, make_truss):
    ran = truss("run-example", make_truss(examples=EXAMPLES), "--name", "open", "--local")
    assert (ran.code, ran.out) == (0, '{"predictions": [6]}\n')


def test_a_wrong_answer_fails_with_the_difference(truss, make_truss):
    ran = truss("run-example", make_truss(examples=WRONG))
    assert ran.code == 1
    assert "right: as expected" in ran.err
    assert "predictions[1]" in ran.err
    assert "10" in ran.err
    assert "11" in ran.err


def test_check_prints_no_answers_and_wants_an_expected_one(truss, make_truss):
    ran = truss("run-example", make_truss(examples=EXAMPLES), "--check")
    assert (ran.code, ran.out) == (1, "")
    assert "1 of 2 passed" in ran.err


def test_json(truss, make_truss):
    ran = truss("run-example", make_truss(examples=WRONG), "--json")
    assert ran.code == 1
    report = ran.json()
    assert (report["passed"], report["failed"]) == (1, 1)
    assert [(one["name"], one["matches"]) for one in report["examples"]] == [
        ("right", True),
        ("wrong", False),
    ]
    assert report["examples"][1]["answer"] == {"predictions": [2, 10]}
    assert "predictions[1]" in report["examples"][1]["difference"]


def test_against_a_server(truss, make_truss):
    folder = make_truss(examples=WRONG)
    with running_server(folder) as server:
        assert truss("run-example", folder, "--url", server.url, "--name", "right").code == 0
        assert truss("run-example", folder, "--url", server.url, "--name", "wrong").code == 1


@pytest.mark.parametrize("examples", [None, "", "[]"])
def test_no_examples(truss, make_truss, examples):
    ran = truss("run-example", make_truss(examples=examples))
    assert (ran.code, ran.out) == (2, "")
    assert "examples" in ran.err


def test_no_such_example(truss, make_truss):
    ran = truss("run-example", make_truss(examples=EXAMPLES), "--name", "absent")
    assert (ran.code, ran.out) == (2, "")
    assert "'doubles', 'open'" in ran.err


def test_a_raising_example_is_the_models_error(truss, make_truss):
    ran = truss("run-example", make_truss(examples="- {name: bad, input: {other: 1}}"))
    assert (ran.code, ran.out) == (1, "")
    assert "KeyError" in ran.err


RAISING = """
    - name: bad
      input: {other: 1}
      expected: {predictions: [1]}
    - name: good
      input: {inputs: [1]}
      expected: {predictions: [2]}
"""


def test_a_check_goes_on_after_an_example_that_raises(truss, make_truss):
    folder = make_truss(examples=RAISING)
    ran = truss("run-example", folder, "--check")
    assert (ran.code, ran.out) == (1, "")
    assert "bad: not as expected" in ran.err
    assert "KeyError" in ran.err
    assert "good: as expected" in ran.err
    assert "1 of 2 passed" in ran.err


def test_a_check_of_a_server_tells_an_error_from_no_server(truss, make_truss):
    folder = make_truss(examples=RAISING)
    with running_server(folder) as server:
        ran = truss("run-example", folder, "--check", "--json", "--url", server.url)
    assert ran.code == 1
    bad, good = ran.json()["examples"]
    assert (bad["matches"], good["matches"]) == (False, True)
    assert "the server answered 500" in bad["difference"]
    gone = truss("run-example", folder, "--check", "--url", server.url)
    assert (gone.code, gone.out) == (1, "")
    assert "cannot reach the server" in gone.err
    assert "good" not in gone.err
