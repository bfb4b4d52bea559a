"""Reading config.yaml: everything the schema allows, and every mistake at once."""

import textwrap

import msgspec
import pytest
from config_files import configs, layouts
from hypothesis import HealthCheck, given, settings

from truss.config import config_to_dict, parse_config, parse_size, read_config, render_config, unknown_keys
from truss.config.schema import TrussConfig
from truss.errors import ConfigError, NotATrussError


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(configs.flatmap(lambda content: layouts(content).map(lambda text: (content, text))))
def test_every_config_that_the_key_tables_allow_loads(pair):
    content, text = pair
    read = config_to_dict(parse_config(text))
    for key, value in content.items():
        assert holds(read[key], value), key


def holds(read, written):
    """Whether what was written came back, defaults added."""
    if isinstance(written, dict) and isinstance(read, dict):
        return all(key in read and holds(read[key], value) for key, value in written.items())
    if isinstance(written, list) and isinstance(read, list):
        return len(read) == len(written) and all(map(holds, read, written))
    return read == written or (written is None and read in ([], {}))


@settings(max_examples=100, suppress_health_check=list(HealthCheck), deadline=None)
@given(configs)
def test_rendered_configs_read_back(content):
    read = config_to_dict(parse_config(render_config(content)))
    assert all(holds(read[key], value) for key, value in content.items())


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "{}", "---\n", "null\n"])
def test_an_empty_file_is_valid(text):
    assert parse_config(text) == TrussConfig()


def test_defaults_are_the_originals():
    config = TrussConfig()
    assert (config.model_module_dir, config.model_class_filename, config.model_class_name) == (
        "model",
        "model.py",
        "Model",
    )
    assert (config.data_dir, config.bundled_packages_dir, config.examples_filename) == (
        "data",
        "packages",
        "examples.yaml",
    )
    assert (config.model_framework, config.model_type, config.spec_version) == ("custom", "Model", "2.0")
    assert (config.resources.cpu, config.resources.memory, config.resources.accelerator) == ("1", "2Gi", None)
    assert (config.runtime.predict_concurrency, config.runtime.streaming_read_timeout) == (1, 60)


def test_a_file_of_2022_loads():
    config = parse_config(
        textwrap.dedent("""
            bundled_packages_dir: packages
            data_dir: data
            environment_variables: {}
            examples_filename: examples.yaml
            input_type: Any
            model_framework: huggingface_transformer
            model_metadata: {transformer_config: {model: t5-small}, has_named_args: false}
            model_name: null
            model_type: text2text-generation
            python_version: py39
            requirements: []
            resources: {cpu: 500m, memory: 512Mi, use_gpu: yes}
            secrets: {}
            system_packages: []
            use_control_plane: true
        """)
    )
    assert config.resources.use_gpu
    assert config.live_reload
    assert config.model_metadata["transformer_config"]["model"] == "t5-small"


def test_five_mistakes_are_five_problems_with_their_lines():
    text = textwrap.dedent("""\
        model_name: fine
        requirements: numpy
        resources:
          cpu: lots
          memory: 2 GB
        secrets:
          "bad name": null
        runtime:
          batching:
            mode: row
    """)
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "some/config.yaml")
    found = {(problem.line, problem.key): problem for problem in caught.value.problems}
    assert list(found) == [
        (2, "requirements"),
        (4, "resources.cpu"),
        (5, "resources.memory"),
        (7, "secrets.bad name"),
        (10, "runtime.batching.mode"),
    ]
    assert found[2, "requirements"].hint == "write `requirements: [numpy]`"
    assert found[5, "resources.memory"].hint == "write `memory: 2G`"
    assert found[10, "runtime.batching.mode"].hint == "write `mode: rows`"
    assert all(problem.expected for problem in found.values())
    assert "some/config.yaml:4: resources.cpu: 'lots' does not fit" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "key", "message"),
    [
        ("a: 1\nmodel_name: x\nmodel_name: y\n", 3, "model_name", "given twice; first on line 2"),
        ("resources: {cpu: 1, cpu: 2}\n", 1, "resources.cpu", "given twice"),
        ("resources: big\n", 1, "resources", "'big' does not fit"),
        ("- a\n- b\n", 1, "", "a list does not fit"),
        ("resources:\n  accelerator: A1000\n", 2, "resources.accelerator", "'A1000'"),
        ("python_version: py27\n", 1, "python_version", "'py27'"),
        ("secrets:\n  ..: x\n", 2, "secrets...", "not a good name"),
        ("requirements: [a]\nrequirements_file: r.txt\n", 2, "requirements_file", "beside `requirements`"),
        ("docker_server: {server_port: 1, predict_endpoint: a, readiness_endpoint: b, liveness_endpoint: c}", 1,
         "docker_server.start_command", "required and missing"),
        ("weights:\n- {source: 'ftp://x', mount_location: /a}\n", 2, "weights.0.source", "'ftp://x'"),
        ("live_reload: maybe\n", 1, "live_reload", "'maybe'"),
        ("runtime: {workers: 0}\n", 1, "runtime.workers", "'0'"),
        ("runtime: {workers: true}\n", 1, "runtime.workers", "'true'"),
        ("model_name: [unclosed\n", 2, "", "not YAML"),
        ("a: b: c\n", 1, "", "not YAML"),
        ("\ttab: 1\n", 1, "", "not YAML"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_where_and_how(text, line, key, message):
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (line, key)
    assert message in problem.message
    assert problem.hint


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("resources: {cpu: 2}", ("resources", "cpu"), "2"),
        ("python_version: 3.10", ("python_version",), "3.10"),
        ("environment_variables: {A: true, B: 1.50}", ("environment_variables",), {"A": "true", "B": "1.50"}),
        ("live_reload: on", ("live_reload",), True),
        ("runtime: {timeouts: {grace: 5}}", ("runtime", "timeouts", "grace"), 5.0),
        ("requirements:", ("requirements",), []),
        ("resources:", ("resources", "cpu"), "1"),
        ("x: &r [a]\nrequirements: *r\n", ("requirements",), ["a"]),
        ("x: &r {cpu: 3}\nresources: {<<: *r, memory: 1Gi}\n", ("resources", "cpu"), "3"),
        ("hf_cache: [{repo_id: a/b}]", ("model_cache",), None),
    ],
)
def test_what_people_mean_is_read(text, path, value):
    read = config_to_dict(parse_config(text))
    for part in path:
        read = read[part]
    assert read == value if value is not None else read[0]["repo_id"] == "a/b"


def test_unknown_keys_are_kept_and_named():
    config = parse_config("resorces: {cpu: 1}\nruntime: {worker: 2}\nmine: [1, {a: b}]\n")
    plain = config_to_dict(config)
    assert plain["resorces"] == {"cpu": 1}
    assert plain["mine"] == [1, {"a": "b"}]
    assert plain["runtime"]["worker"] == 2
    similar = dict(unknown_keys(config))
    assert similar.keys() == {"resorces", "mine", "runtime.worker"}
    assert (similar["resorces"], similar["runtime.worker"]) == ("resources", "workers")


def test_values_are_frozen():
    with pytest.raises(AttributeError):
        parse_config("").model_name = "x"
    assert msgspec.structs.asdict(parse_config(""))


def test_folders_that_are_no_truss(tmp_path):
    for folder, text in ((tmp_path / "none", "no such folder"), (tmp_path, "not a Truss")):
        with pytest.raises(NotATrussError, match=text):
            read_config(folder)
    (tmp_path / "config.yml").touch()
    with pytest.raises(NotATrussError) as caught:
        read_config(tmp_path)
    assert caught.value.hint.startswith("rename it: mv ")


def test_text_that_is_not_utf_8_is_located(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"model_name: a\ndescription: \xff\n")
    with pytest.raises(ConfigError, match=r"config.yaml:2: this is not UTF-8"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "size"), [("1Ki", 1024), ("1.5M", 1_500_000), ("7", 7), ("2Gi", 2**31), ("0.3k", 300)]
)
def test_sizes(text, size):
    assert parse_size(text) == size


def test_a_byte_order_mark_is_no_key(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"\xef\xbb\xbfmodel_name: a\n")
    assert read_config(tmp_path).model_name == "a"
