"""The other forms in which people hold tables, as the rows that models take.

Besides `inputs`, a request may bring `dataframe_records` (a list of records) or `dataframe_split`
(`columns` and `data`), as pandas writes them with `orient="records"` and `orient="split"`:
https://pandas.pydata.org/docs/reference/api/pandas.DataFrame.to_json.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from truss.config import Signature
from truss.errors import InvalidInputError

RECORDS, SPLIT = "dataframe_records", "dataframe_split"


def with_rows(request: Any, signature: Signature | None) -> Any:
    """The request with `inputs` in place of another table form; unchanged when it has none.

    Args:
        request: A decoded request.
        signature: What the model takes, if that is known.

    Raises:
        InvalidInputError: the table is not of the form that its name promises.
    """
    if not isinstance(request, dict) or not (RECORDS in request or SPLIT in request):
        return request
    rest = {key: value for key, value in request.items() if key not in (RECORDS, SPLIT)}
    if len(request) - len(rest) == 2 or "inputs" in rest or "instances" in rest:
        raise InvalidInputError(
            "the request brings its rows twice", where=_named(request), hint="send one of them"
        )
    read, name = (_from_records, RECORDS) if RECORDS in request else (_from_split, SPLIT)
    rows = read(request[name], signature)
    return {"inputs": rows, **rest}


def rows_of(names: Sequence[str], data: Sequence[Sequence[Any]], signature: Signature | None) -> list[Any]:
    """Rows with column names, in the form that the model takes: records, or lists where it knows no names."""
    if _is_nameless(signature):
        return [list(row) for row in data]
    return [dict(zip(names, row, strict=True)) for row in data]


def _is_nameless(signature: Signature | None) -> bool:
    """Whether a row is an array, whose values have places and no names."""
    return signature is not None and any(not tensor.name for tensor in signature.tensors)


def _from_records(records: Any, signature: Signature | None) -> list[Any]:
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InvalidInputError(
            f"`{RECORDS}` must be a list of records",
            where=RECORDS,
            hint=f'send {{"{RECORDS}": [{{"column": value}}]}}, as `frame.to_dict("records")` gives it',
        )
    return [list(record.values()) for record in records] if _in_places(records, signature) else records


def _in_places(records: list[dict[str, Any]], signature: Signature | None) -> bool:
    """Whether the records' values are given by place: their order is one, in all of them."""
    return _is_nameless(signature) and all(list(record) == list(records[0]) for record in records)


def _from_split(table: Any, signature: Signature | None) -> list[Any]:
    columns, data = (table.get("columns"), table.get("data")) if isinstance(table, dict) else (None, None)
    if not isinstance(columns, list) or not isinstance(data, list):
        raise InvalidInputError(
            f"`{SPLIT}` must be a mapping with the lists `columns` and `data`",
            where=SPLIT,
            hint=f'send {{"{SPLIT}": {{"columns": ["a"], "data": [[1]]}}}}, as `to_dict("split")` gives',
        )
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(columns):
            raise InvalidInputError(
                f"row {number} is not a list of {len(columns)} values, one per column",
                where=f"{SPLIT}.data[{number}]",
                hint="give each row as many values as there are columns; null where one is unknown",
            )
    return rows_of([str(name) for name in columns], data, signature)


def _named(request: dict[str, Any]) -> str:
    names = [name for name in ("inputs", "instances", RECORDS, SPLIT) if name in request]
    return " and ".join(f"`{name}`" for name in names)
