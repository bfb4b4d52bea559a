"""Serves a model of MLflow as a Python function, without a tracking server.

A request is `{"inputs": rows}`. Of a model whose signature has columns, rows are records (dicts) or lists of
values in the columns' order; of one with tensors they are nested lists, or records of these when there are
several tensors. A model without a signature gets a table when the rows are records or lists, and else the
rows as they came. `"params"` are passed on to a model whose signature has some.

The answer is `{"predictions": [...]}`: what the model's `predict` gives; tables are given as records.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


class Model:
    """The model, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._folder = Path(kwargs["data_dir"]) / "model"
        self.model: Any = None

    def load(self) -> None:
        """Read the model from its folder; called once, before the first request."""
        # A server may have no way out to where MLflow reports its use. This is read when it is imported.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow.pyfunc

        self.model = mlflow.pyfunc.load_model(str(self._folder))

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the model sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `{"inputs": rows}` with the model's predictions."""
        return {"predictions": plain(self.compute(request))}

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def compute(self, request: dict[str, Any]) -> Any:
        """What the model's own `predict` gives, of the type that it gives."""
        schema = self.model.metadata.get_input_schema()
        data = model_input(request["inputs"], schema)
        if request.get("params") is None:
            return self.model.predict(data)
        return self.model.predict(data, params=request["params"])


def model_input(rows: Any, schema: Any) -> Any:
    """The rows as the model takes them: a table, an array, or arrays by name."""
    if schema is None:
        is_table = len(rows) > 0 and all(isinstance(row, (dict, list, tuple)) for row in rows)
        return _with_gaps(pd.DataFrame(rows)) if is_table else rows
    if schema.is_tensor_spec():
        return _tensors(rows, schema)
    if schema.has_input_names():
        return _table(rows, schema)
    return _typed(pd.DataFrame(rows), dict(enumerate(schema.inputs)))


def _with_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """The table with numbers among nulls as numbers, some of them missing: nulls made objects of them."""
    for name in table:
        values = table[name]
        known = values.dropna()
        if values.dtype == object and known.map(_is_number).all():
            table[name] = values.astype("float64")
    return table


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def plain(output: Any) -> Any:
    """Lists and records of Python's own values."""
    if isinstance(output, pd.DataFrame):
        return output.to_dict("records")
    if isinstance(output, dict) and output and all(isinstance(item, np.ndarray) for item in output.values()):
        return _records(output)
    if isinstance(output, (list, tuple)):
        return [plain(item) for item in output]
    if hasattr(output, "toarray"):  # a sparse matrix
        output = output.toarray()
    return output.tolist() if hasattr(output, "tolist") else output


def _table(rows: Any, schema: Any) -> pd.DataFrame:
    """The rows under the names of the signature's columns, with their types."""
    names = schema.input_names()
    if any(isinstance(row, dict) for row in rows):
        _check_records(rows, schema.required_input_names())
        table = pd.DataFrame(list(rows))
        table = table[[name for name in names if name in table]]
    else:
        for index, row in enumerate(rows):
            if len(names) > 1 and (not hasattr(row, "__len__") or len(row) != len(names)):
                raise ValueError(f"row {index} does not have the {len(names)} values {names}")
        table = pd.DataFrame(list(rows), columns=names)
    return _typed(table, schema.input_dict())


def _check_records(rows: Any, required: list[str]) -> None:
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise TypeError("rows are either all records or all lists")
        missing = [name for name in required if name not in row]
        if missing:
            raise ValueError(f"row {index} lacks {missing}")


def _typed(table: pd.DataFrame, columns: dict[Any, Any]) -> pd.DataFrame:
    """The table with the columns' types, as far as JSON has others; MLflow checks the rest."""
    for name in table:
        kind = getattr(getattr(columns.get(name), "type", None), "name", "")
        table[name] = _column(table[name], kind)
    return table


def _column(values: pd.Series, kind: str) -> pd.Series:
    """One column's values as the type of MLflow that its signature names, such as `long` or `float`."""
    if kind in ("float", "double"):
        return values.astype("float32" if kind == "float" else "float64")
    if kind in ("integer", "long"):
        whole = pd.to_numeric(values)
        if not np.all(np.mod(whole.dropna(), 1) == 0):
            raise ValueError(f"column {values.name!r} takes whole numbers")
        return whole if whole.hasnans else whole.astype("int32" if kind == "integer" else "int64")
    if kind == "boolean":
        return values.astype(bool)
    if kind == "datetime":
        return pd.to_datetime(values)
    if kind == "binary":
        return values.map(lambda value: base64.b64decode(value) if isinstance(value, str) else value)
    return values


def _tensors(rows: Any, schema: Any) -> Any:
    """One array, or one per name."""
    if not schema.has_input_names():
        return _array(rows, schema.inputs[0])
    if len(schema.inputs) == 1 and not any(isinstance(row, dict) for row in rows):
        return {schema.inputs[0].name: _array(rows, schema.inputs[0])}
    _check_records(rows, schema.required_input_names())
    return {
        spec.name: _array([row[spec.name] for row in rows], spec)
        for spec in schema.inputs
        if all(spec.name in row for row in rows)
    }


def _array(values: Any, spec: Any) -> np.ndarray:
    """The values as an array of the tensor's type; a shape may leave axes open (-1)."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError("the rows differ in length") from None
    if array.dtype.kind == "f" and spec.type.kind in "iu" and not np.all(np.mod(array, 1) == 0):
        raise ValueError(f"the model takes whole numbers ({spec.type})")
    if array.shape == (0,):  # no rows, whatever the length of a row
        array = np.zeros([0, *(max(size, 0) for size in spec.shape[1:])])
    return array.astype(object if spec.type.kind in "OU" else spec.type, copy=False)


def _records(columns: dict[str, Any]) -> Any:
    """Arrays by name as one record per row; by name still, where they differ in length."""
    lists = {name: values.tolist() for name, values in columns.items()}
    lengths = {len(values) if isinstance(values, list) else None for values in lists.values()}
    if len(lengths) > 1 or None in lengths:
        return lists
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
