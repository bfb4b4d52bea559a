"""Digests: their text, and the same hash however the content arrives."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truss.errors import BrokenImageError
from truss.oci.digest import Digest, measure


@given(st.lists(st.binary(max_size=100)))
def test_content_has_one_digest_however_it_is_cut(blocks):
    whole = b"".join(blocks)
    assert measure(blocks) == (Digest.of(whole), len(whole))
    assert Digest.of(whole).hex == hashlib.sha256(whole).hexdigest()


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_a_digest_is_read_back_from_its_text(content, algorithm):
    digest, _ = measure([content], algorithm)
    assert Digest.parse(str(digest)) == digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:" + "0" * 63,
        "sha256:" + "G" * 64,
        "sha256:" + "A" * 64,
        "md5:" + "0" * 32,
        "sha512:" + "0" * 64,
        "sha256:" + "0" * 64 + "\n",
        "../sha256:" + "0" * 64,
    ],
)
def test_what_is_no_digest_is_refused(text):
    with pytest.raises(BrokenImageError, match="is not a digest"):
        Digest.parse(text)
