import platform

from truss.version import __version__


def test_version(truss):
    ran = truss("version")
    assert (ran.code, ran.out, ran.err) == (0, f"{__version__}\n", "")


def test_json(truss):
    report = truss("version", "--json").json()
    assert report["truss"] == __version__
    assert report["python"] == platform.python_version()
