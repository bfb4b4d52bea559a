"""`truss predict`: in process and against a server, its three sources of a request, and bad input."""

import json
import subprocess
import sys

import numpy as np
import pytest

from truss.runtime.codecs import decode_msgpack, encode_msgpack
from truss.testing.server import running_server

REQUEST = '{"inputs": [1, 2]}'
ANSWER = {"predictions": [2, 4]}


def test_data_from_the_option(truss, make_truss):
    ran = truss("predict", make_truss(), "-d", REQUEST)
    assert (ran.code, ran.json(), ran.err) == (0, ANSWER, "")


def test_data_from_a_file(truss, make_truss, tmp_path):
    (tmp_path / "request.json").write_text(REQUEST)
    assert truss("predict", make_truss(), "-f", "request.json").json() == ANSWER


@pytest.mark.parametrize("words", [[], ["-f", "-"]])
def test_data_from_stdin(truss, make_truss, words):
    assert truss("predict", make_truss(), *words, stdin=REQUEST).json() == ANSWER


def test_the_folder_is_the_current_one_by_default(truss, make_truss):
    assert truss("predict", "-d", REQUEST, cwd=make_truss()).json() == ANSWER


def test_the_first_versions_options_are_taken(truss, make_truss, tmp_path):
    folder = make_truss()
    (tmp_path / "request.json").write_text(REQUEST)
    assert truss("predict", "--target_directory", folder, "--request", REQUEST).json() == ANSWER
    ran = truss("predict", "--target_directory", folder, "--request-file", "request.json", "--run-local")
    assert ran.json() == ANSWER


def test_what_the_model_prints_is_not_the_answer(truss, make_truss):
    folder = make_truss(
        """
        import os

        print("importing")

        class Model:
            def predict(self, request):
                print("predicting")
                os.write(1, b"from below Python\\n")
                return {"predictions": request["inputs"]}
        """
    )
    ran = truss("predict", folder, "-d", REQUEST)
    assert ran.json() == {"predictions": [1, 2]}
    assert {"importing", "predicting", "from below Python"} <= set(ran.err.splitlines())


def test_binary_in_process(make_truss):
    folder = make_truss(
        """
        class Model:
            def predict(self, request):
                return {"predictions": request["inputs"] * 2}
        """
    )
    body = encode_msgpack({"inputs": np.arange(3, dtype=np.float32)})
    command = [sys.executable, "-m", "truss.cli", "predict", str(folder), "--binary"]
    ran = subprocess.run(command, input=body, capture_output=True, timeout=60, check=True)
    predictions = decode_msgpack(ran.stdout)["predictions"]
    assert predictions.dtype == np.float32
    assert predictions.tolist() == [0, 2, 4]


def test_a_running_server_answers_the_same(truss, make_truss):
    with running_server(make_truss()) as server:
        assert truss("predict", "--url", server.url, "-d", REQUEST).json() == ANSWER
        whole = server.url + "/v1/models/model:predict"
        assert truss("predict", "--url", whole, "-d", REQUEST).json() == ANSWER


def test_a_servers_refusal_is_shown(truss, make_truss):
    with running_server(make_truss()) as server:
        ran = truss("predict", "--url", server.url, "-d", "{'inputs': [1]}")
    assert (ran.code, ran.out) == (1, "")
    assert "400" in ran.err
    assert '{"inputs": [1]}' in ran.err


def test_no_server(truss):
    ran = truss("predict", "--url", "http://127.0.0.1:9", "-d", REQUEST)
    assert (ran.code, ran.out) == (1, "")
    assert "cannot reach the server" in ran.err
    assert "hint: " in ran.err


def test_malformed_json(truss, make_truss):
    ran = truss("predict", make_truss(), "-d", '{"inputs": [1,')
    assert (ran.code, ran.out) == (2, "")
    assert "not JSON" in ran.err
    assert "line 1" in ran.err


def test_single_quotes_are_answered_with_the_corrected_command(truss, make_truss):
    ran = truss("predict", make_truss(), "-d", "{'inputs': ['a', None]}")
    assert (ran.code, ran.out) == (2, "")
    assert """-d '{"inputs": ["a", null]}'""" in ran.err


def test_malformed_json_costs_no_load(truss, make_truss):
    ran = truss("predict", make_truss("raise SystemError('imported')"), "-d", "{")
    assert "not JSON" in ran.err
    assert "imported" not in ran.err


def test_inputs_that_are_no_list(truss, make_truss):
    ran = truss("predict", make_truss(), "-d", '{"inputs": 1}', "--json")
    assert ran.code == 2
    assert ran.json()["error"]["type"] == "invalid_input"


def test_data_and_file_at_once(truss, make_truss, tmp_path):
    (tmp_path / "request.json").write_text(REQUEST)
    ran = truss("predict", make_truss(), "-d", REQUEST, "-f", "request.json")
    assert (ran.code, ran.out) == (2, "")
    assert "not both" in ran.err


def test_a_folder_without_config(truss, tmp_path):
    ran = truss("predict", tmp_path, "-d", REQUEST)
    assert (ran.code, ran.out) == (2, "")
    assert "config.yaml" in ran.err


def test_a_prediction_that_raises(truss, make_truss):
    folder = make_truss(
        """
        class Model:
            def predict(self, request):
                return request["absent"]
        """
    )
    ran = truss("predict", folder, "-d", REQUEST)
    assert (ran.code, ran.out) == (1, "")
    assert "KeyError" in ran.err
    assert "model.py:4" in ran.err
    assert "Traceback" not in ran.err


def test_an_answer_that_json_cannot_carry(truss, make_truss):
    folder = make_truss(
        """
        class Model:
            def predict(self, request):
                return {"predictions": [1, object()]}
        """
    )
    ran = truss("predict", folder, "-d", REQUEST)
    assert (ran.code, ran.out) == (1, "")
    assert "predictions[1]" in ran.err


def test_numpy_answers_are_plain_json(truss, make_truss):
    folder = make_truss(
        """
        import numpy as np

        class Model:
            def predict(self, request):
                return {"predictions": np.array([[1.5, float("nan")]])}
        """
    )
    assert json.loads(truss("predict", folder, "-d", "{}").out) == {"predictions": [[1.5, None]]}
