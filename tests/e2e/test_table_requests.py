"""Tables as people have them, over HTTP and in process; requests that do not fit are told why."""

import io
import json

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import truss
from truss.errors import InvalidInputError
from truss.testing.server import running_server

TABLE = pd.DataFrame(
    {"age": [20.0, 30, 40, 50], "colour": ["red", "blue", "red", "blue"], "weight": [1.0, 2, 3, 4]}
)


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    columns = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(TABLE, [0, 0, 1, 1])
    folder = tmp_path_factory.mktemp("named") / "model"
    truss.create(model, folder, examples=TABLE)
    with running_server(folder) as server:
        yield folder, server


@pytest.fixture(scope="module")
def nameless(tmp_path_factory):
    model = LogisticRegression().fit(np.array([[1.0, 2], [3, 4], [5, 6]]), [0, 1, 1])
    folder = tmp_path_factory.mktemp("nameless") / "model"
    truss.create(model, folder)
    with running_server(folder) as server:
        yield server


def post(server, body, content_type="application/json"):
    url = f"{server.url}/v1/models/model:predict"
    return httpx.post(url, content=body, headers={"content-type": content_type})


def parquet(frame):
    file = io.BytesIO()
    frame.to_parquet(file)
    return file.getvalue()


def test_the_signature_is_in_the_config(named):
    folder, _ = named
    stored = [(column.name, column.dtype) for column in truss.load(folder).spec.config.signature.columns]
    assert stored == [("age", "float64"), ("colour", "text"), ("weight", "float64")]


def test_every_form_of_a_table_is_answered_alike(named):
    folder, server = named
    shuffled = TABLE[["weight", "colour", "age"]]
    forms = [
        (json.dumps({"inputs": shuffled.to_dict("records")}), "application/json"),
        (json.dumps({"inputs": TABLE.to_numpy().tolist()}), "application/json"),
        (json.dumps({"dataframe_records": shuffled.to_dict("records")}), "application/json"),
        (json.dumps({"dataframe_split": shuffled.to_dict("split")}), "application/json; charset=utf-8"),
        (shuffled.to_csv(index=False), "text/csv"),
        (shuffled.to_csv(index=False), "Text/CSV; charset=utf-8"),
        (parquet(shuffled), "application/vnd.apache.parquet"),
    ]
    answers = [post(server, body, content_type) for body, content_type in forms]
    assert [answer.status_code for answer in answers] == [200] * len(forms)
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}
    assert {json.dumps(answer.json()["predictions"]) for answer in answers} == {"[0, 0, 1, 1]"}
    in_process = truss.load(folder).predict({"dataframe_split": shuffled.to_dict("split")})
    assert list(in_process["predictions"]) == [0, 0, 1, 1]


def test_a_model_without_column_names_takes_tables_by_position(nameless):
    for body, content_type in (
        ("a,b\n1,2\n5,6\n", "text/csv"),
        ("1,2\n5,6\n", "text/csv"),
        (parquet(pd.DataFrame({"a": [1.0, 5], "b": [2.0, 6]})), "application/x-parquet"),
        ('{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [5, 6]]}}', "application/json"),
    ):
        answer = post(nameless, body, content_type)
        assert (answer.status_code, answer.json()["predictions"]) == (200, [0, 1])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"age": 20, "weight": 1}, "lacks the column 'colour'"),
        ({"age": 20, "Colour": "red", "weight": 1}, "it has 'Colour'"),
        ([20, "red"], "2 values; the model takes 3: age, colour, weight"),
        ({"age": "old", "colour": "red", "weight": 1}, "the text 'old' where the model takes float64"),
        ({"age": None, "colour": "red", "weight": 1}, "null, which this model does not take"),
    ],
)
def test_a_row_that_does_not_fit_is_a_400_that_names_the_column(row, said, named):
    folder, server = named
    answer = post(server, json.dumps({"inputs": [row]}))
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_input")
    assert said in error["message"]
    assert "inputs[0]" in error["message"]
    with pytest.raises(InvalidInputError, match="does not fit the model"):
        truss.load(folder).predict({"inputs": [row]})


def test_a_wrong_number_of_values_names_the_axis(nameless):
    answer = post(nameless, '{"inputs": [[1, 2, 3]]}')
    assert answer.status_code == 400
    assert "3 values along axis 1; the model takes 2" in answer.json()["error"]["message"]


def test_broken_tables_are_400s(nameless):
    for body, content_type in (("a,b\n1\n", "text/csv"), ("PAR1", "application/x-parquet")):
        answer = post(nameless, body, content_type)
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "malformed_body")
