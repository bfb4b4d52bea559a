"""Whether a file in UBJSON is whole: the library reads on behind the end of one that is cut off.

What it finds in memory there may be taken for the rest of the model, or for the size of one.
https://ubjson.org/type-reference/ and https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html.
"""

from __future__ import annotations

_SIZES = dict(zip(b"ZNTFiUCIldLD", (0, 0, 0, 0, 1, 1, 1, 2, 4, 4, 8, 8), strict=True))
"""Marker -> bytes of a value that has always as many."""

_INTEGERS = frozenset(b"iUIlL")
_UNSIGNED = ord("U")
_TEXTS = frozenset(b"SH")
_ENDS = {ord("["): ord("]"), ord("{"): ord("}")}
_TYPE, _COUNT = b"$#"


def is_whole(content: bytes | bytearray) -> bool:
    """Whether it is one value, and nothing is missing or left."""
    try:
        return _Reader(content).end() == len(content)
    except (IndexError, ValueError):
        return False


class _Reader:
    """Goes over a value without making anything of it.

    Args:
        content: Begins with the value.
    """

    def __init__(self, content: bytes | bytearray) -> None:
        self._content = content
        self._position = 0
        self._open: list[tuple[int, int | None]] = []  # containers: what they begin with, and values to come

    def end(self) -> int:
        """Where the value ends; behind the content's end if it is cut off within something of a known size.

        Raises:
            IndexError: it is cut off.
            ValueError: it is no UBJSON.
        """
        self._value()
        while self._open:
            if not self._closes():
                self._value()
        return self._position

    def _closes(self) -> bool:
        """Whether the innermost container ends here; if not, go to its next value."""
        begin, left = self._open[-1]
        if left == 0 or (left is None and self._content[self._position] == _ENDS[begin]):
            self._open.pop()
            self._position += left is None
            return True
        self._open[-1] = (begin, None if left is None else left - 1)
        if begin == ord("{"):
            self._skip(self._integer())  # the key
        return False

    def _value(self) -> None:
        marker = self._next()
        if marker in _ENDS:
            self._container(marker)
        elif marker in _TEXTS:
            self._skip(self._integer())
        elif marker in _SIZES:
            self._skip(_SIZES[marker])
        else:
            raise ValueError(f"no value begins with {marker:#x}")

    def _container(self, begin: int) -> None:
        kind = None
        if self._content[self._position] == _TYPE:
            self._next()
            kind = self._next()
        count = None
        if self._content[self._position] == _COUNT:
            self._next()
            count = self._integer()
        if kind is None:
            self._open.append((begin, count))
        elif count is not None and kind in _SIZES and begin == ord("["):
            self._skip(count * _SIZES[kind])
        else:
            raise ValueError("a container of typed values that the library does not write")

    def _integer(self) -> int:
        """A size: an integer with its marker."""
        marker = self._next()
        if marker not in _INTEGERS:
            raise ValueError(f"no integer begins with {marker:#x}")
        begin = self._position
        self._skip(_SIZES[marker])
        if self._position > len(self._content):
            raise IndexError("cut off")
        found = int.from_bytes(self._content[begin : self._position], "big", signed=marker != _UNSIGNED)
        if found < 0:
            raise ValueError("a negative size")
        return found

    def _next(self) -> int:
        self._position += 1
        return self._content[self._position - 1]

    def _skip(self, size: int) -> None:
        self._position += size
