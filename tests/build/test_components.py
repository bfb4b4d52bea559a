"""What a lock and the metadata of wheels say of an image's parts."""

import pytest

from truss.build.components import Component, Licence, components_of, from_text, licences_in, to_text

HASH, OTHER = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: other", Licence("MIT OR Apache-2.0", True)),
        ("License: BSD", Licence("BSD", False)),
        ("License: UNKNOWN", None),
        (
            "License: The\n        whole text\nClassifier: Topic :: X\n"
            "Classifier: License :: OSI Approved :: MIT License",
            Licence("MIT License", False),
        ),
        ("", None),
    ],
)
def test_licences_are_what_the_metadata_says(tmp_path, metadata, licence):
    folder = tmp_path / "My_Wheel-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: My_Wheel\n{metadata}\n\nLicense: of the body\n"
    )
    found = licences_in(tmp_path)
    assert found == ({} if licence is None else {"my-wheel": licence})
    assert from_text(to_text(found)) == found


def test_components_are_exactly_the_files_of_the_lock():
    lock = (
        f"torch==2.9.1+cpu --hash=sha256:{HASH}\n"
        f"My_Wheel==1.0 \\\n    --hash=sha256:{HASH} \\\n    --hash=sha256:{OTHER}\n"
        f"./wheels/near-0.1-py3-none-any.whl --hash=sha256:{OTHER}\n"
        f"far @ https://example.org/far-2.0%2Bx-py3-none-any.whl --hash=sha256:{OTHER}\n"
    )
    found = components_of(lock, {"my-wheel": Licence("MIT", True)})
    assert found == (
        Component("far", "2.0+x", OTHER),
        Component("my-wheel", "1.0", "", Licence("MIT", True)),  # which of both files is not known
        Component("near", "0.1", OTHER),
        Component("torch", "2.9.1+cpu", HASH),
    )
    assert found[3].purl == "pkg:pypi/torch@2.9.1%2Bcpu"
