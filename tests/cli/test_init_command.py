"""`truss init`: a folder that works as it stands."""


def test_the_new_truss_is_valid_and_answers(truss, tmp_path):
    ran = truss("init", "fresh")
    assert ran.code == 0
    assert ran.out.strip().endswith("fresh")
    assert "model.py" in ran.err
    assert truss("validate", "fresh").code == 0
    assert "predictions" in truss("predict", "fresh", "-d", '{"inputs": [[1, 2]]}').json()


def test_the_name_is_kept(truss, tmp_path):
    assert truss("init", "fresh", "--name", "Iris, 2nd try").code == 0
    assert "Iris, 2nd try" in (tmp_path / "fresh" / "config.yaml").read_text()


def test_the_first_versions_flag_is_taken(truss):
    assert truss("init", "-s", "fresh").code == 0


def test_json(truss, tmp_path):
    report = truss("init", "fresh", "--json").json()
    assert (tmp_path / report["directory"] / "config.yaml").is_file()


def test_a_folder_in_use_is_refused_and_left_alone(truss, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine")
    ran = truss("init", "used")
    assert (ran.code, ran.out) == (2, "")
    assert "used" in ran.err
    assert "\nhint: " in ran.err
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["notes.txt"]


def test_a_file_in_the_way(truss, tmp_path):
    (tmp_path / "used").write_text("mine")
    ran = truss("init", "used")
    assert (ran.code, ran.out) == (2, "")
    assert (tmp_path / "used").read_text() == "mine"


def test_the_folder_is_required(truss):
    ran = truss("init")
    assert (ran.code, ran.out) == (2, "")
    assert "DIR" in ran.err
