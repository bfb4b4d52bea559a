"""CSV and Parquet bodies: rows as a model takes them, and errors that name the line."""

import io
import math

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from truss.config import Column, Signature, Tensor
from truss.errors import MalformedBodyError
from truss.runtime.tabular import decode_csv, decode_parquet

NAMELESS = Signature(tensors=[Tensor(shape=[None, 2])])
TEXTS = Signature(columns=[Column(name="zip", dtype="text"), Column(name="n")])


def test_columns_are_numbers_flags_or_texts():
    body = b"a,b,c,d,e\n1,2.5,true,x,007\n-3,,FALSE,,n/a\n"
    assert decode_csv(body, None) == {
        "inputs": [
            {"a": 1, "b": 2.5, "c": True, "d": "x", "e": "007"},
            {"a": -3, "b": None, "c": False, "d": None, "e": "n/a"},
        ]
    }


def test_the_signature_keeps_texts_of_digits():
    assert decode_csv(b"zip,n\n01234,1\n", TEXTS) == {"inputs": [{"zip": "01234", "n": 1}]}


def test_a_model_without_names_gets_lists_with_and_without_a_header():
    for body in (b"x,y\n1,2\n3,4\n", b"1,2\n3,4\n", b"\xef\xbb\xbf1,2\r\n3,4\r\n\r\n"):
        assert decode_csv(body, NAMELESS) == {"inputs": [[1, 2], [3, 4]]}
    assert decode_csv(b"1,2\n", None) == {"inputs": [[1, 2]]}


def test_quoted_cells_hold_commas_quotes_and_line_breaks():
    body = b'a,b\n"x, ""y""","one\ntwo"\n'
    assert decode_csv(body, None) == {"inputs": [{"a": 'x, "y"', "b": "one\ntwo"}]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is empty"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 cells, the first line has 2"),
        (b'a,b\n"1,2\n', "not CSV"),
        (b"a,b\n\xff,2\n", "not UTF-8"),
        (b"a,a\n1,2\n", "two columns are named 'a'"),
    ],
)
def test_broken_csv_is_refused(body, message):
    with pytest.raises(MalformedBodyError, match=message):
        decode_csv(body, None)


NUMBERS = st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(
        st.tuples(NUMBERS, st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1)),
        min_size=1,
    )
)
def test_what_pandas_writes_is_read_back(rows):
    rows = [(number, "_" + text) for number, text in rows]  # not taken for numbers
    frame = pd.DataFrame(rows, columns=["n", "t"])
    read = decode_csv(frame.to_csv(index=False, lineterminator="\r\n").encode(), None)["inputs"]
    assert [record["t"] for record in read] == [text for _, text in rows]
    assert all(math.isclose(record["n"], row[0]) for record, row in zip(read, rows, strict=True))


def test_parquet_becomes_records_or_lists():
    frame = pd.DataFrame({"a": [1.5, None], "b": ["x", "y"]})
    file = io.BytesIO()
    frame.to_parquet(file)
    assert decode_parquet(file.getvalue(), None) == {"inputs": [{"a": 1.5, "b": "x"}, {"a": None, "b": "y"}]}
    assert decode_parquet(memoryview(file.getvalue()), NAMELESS) == {"inputs": [[1.5, "x"], [None, "y"]]}


@pytest.mark.parametrize("body", [b"", b"PAR1", b"a,b\n1,2\n", b"PAR1" + b"\x00" * 60 + b"PAR1"])
def test_broken_parquet_is_refused(body):
    with pytest.raises(MalformedBodyError, match="not Parquet"):
        decode_parquet(body, None)


@pytest.mark.parametrize("damaged", [b"the-name", b"the-text"])
def test_parquet_whose_texts_are_no_utf_8_is_refused(damaged):
    """Found by scripts/fuzz."""
    file = io.BytesIO()
    parquet.write_table(pa.table({"the-name": ["the-text"]}), file, store_schema=False, compression="none")
    body = file.getvalue().replace(damaged, b"\xe2" * 8)
    with pytest.raises(MalformedBodyError, match="not Parquet"):
        decode_parquet(body, None)


def test_a_few_bytes_of_parquet_that_say_they_are_many_rows_are_refused():
    file = io.BytesIO()
    parquet.write_table(pa.table({"a": pa.nulls(1 << 21)}), file)
    assert file.tell() < 10_000
    with pytest.raises(MalformedBodyError, match="2097152 rows of 1 columns"):
        decode_parquet(file.getvalue(), None)


def test_a_group_of_parquet_that_says_it_has_more_rows_than_the_whole_is_refused():
    """It was read for as long as the group said. Found by scripts/fuzz."""
    file = io.BytesIO()
    parquet.write_table(pa.table({name: pa.nulls(200_003) for name in "ab"}), file)
    # 2 * 200,003, as Thrift writes a number, 7 bits a byte; the group's count is the last of them.
    before, count, behind = file.getvalue().rpartition(bytes([0x86, 0xB5, 0x18]))
    assert count
    decode_parquet(file.getvalue(), None)
    with pytest.raises(MalformedBodyError, match="1048575 rows of 2 columns"):
        decode_parquet(before + bytes([0xFE, 0xFF, 0x7F]) + behind, None)


def test_a_few_bytes_of_parquet_that_unpack_to_many_are_refused():
    file = io.BytesIO()
    texts = pa.array(["x" * (1 << 20)] * 65)
    parquet.write_table(pa.table({"a": texts}), file, compression="zstd", use_dictionary=False)
    with pytest.raises(MalformedBodyError, match="unpack to"):
        decode_parquet(file.getvalue(), None)
