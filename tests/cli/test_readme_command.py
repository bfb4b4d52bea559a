"""`truss readme`: the page a Truss's repository shows."""

CONFIG = "model_name: Doubler\ndescription: Doubles what it gets.\n"
EXAMPLES = "- {name: one, input: {inputs: [1]}, expected: {predictions: [2]}}\n"


def test_it_prints_and_changes_nothing(truss, make_truss):
    folder = make_truss(config=CONFIG, examples=EXAMPLES)
    before = sorted(folder.rglob("*"))
    ran = truss("readme", folder)
    assert ran.code == 0
    assert "# Doubler" in ran.out
    assert "Doubles what it gets." in ran.out
    assert "truss serve" in ran.out
    assert '{"inputs": [1]}' in ran.out
    assert sorted(folder.rglob("*")) == before


def test_it_writes_when_asked_to(truss, make_truss):
    folder = make_truss(config=CONFIG, examples=EXAMPLES)
    printed = truss("readme", folder).out
    ran = truss("readme", folder, "--write")
    assert ran.code == 0
    assert ran.out.strip().endswith("README.md")
    assert (folder / "README.md").read_text() == printed
    assert [path.name for path in folder.glob(".*")] == []


def test_it_runs_nothing_of_the_truss(truss, make_truss):
    assert truss("readme", make_truss("raise AssertionError('imported')")).code == 0


def test_a_folder_without_config(truss, tmp_path):
    ran = truss("readme", tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert "config.yaml" in ran.err
