"""Reading config.yaml: everything the types allow, and every mistake at once."""

import contextlib
import datetime
import textwrap

import pytest
from config_files import configs, files
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from truss.config import config_to_dict, parse_config, read_config, render_config, unknown_keys
from truss.config.convert import keys_of
from truss.config.schema import TrussConfig
from truss.errors import ConfigError, NotATrussError

# Without shrinking, which takes minutes on values of this size and finds little to take away.
quickly = settings(
    max_examples=40,
    suppress_health_check=list(HealthCheck),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


def problems_of(text):
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    return caught.value.problems


def holds(read, written):
    """Whether what was written came back, with defaults added; null is a way to leave a key out."""
    if isinstance(written, dict) and isinstance(read, dict):
        return all(key in read and holds(read[key], value) for key, value in written.items())
    if isinstance(written, list) and isinstance(read, list):
        return len(read) == len(written) and all(map(holds, read, written))
    return written is None or (read == written and type(read) is type(written))


@quickly
@given(files(configs))
def test_every_config_that_the_key_tables_allow_loads(written):
    file, _ = written
    content = {key: value for key, value in file.values.items() if key not in {"resources", "train"}}
    assert holds(config_to_dict(parse_config(file.text)), content)


@quickly
@given(configs)
def test_rendered_configs_read_back(content):
    content = {key: value for key, value in content.items() if key not in {"resources", "train"}}
    assert holds(config_to_dict(parse_config(render_config(content))), content)


@given(st.text())
@example("? [a]\n: b\n")
@example("!!binary x: 1\n")
@example("a: 0x_\n")
@example("- " * 300)
@settings(deadline=None, max_examples=200)
def test_no_text_at_all_leads_to_another_error(text):
    with contextlib.suppress(ConfigError):
        parse_config(text)


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "{}", "---\n", "null\n", "\ufeff", "---\n...\n"])
def test_an_empty_file_is_valid(text):
    assert parse_config(text) == TrussConfig()


@pytest.mark.parametrize("key", list(keys_of(TrussConfig)))
def test_a_key_without_value_has_its_default(key):
    assert parse_config(f"{key}:\n") == TrussConfig()


def test_defaults_are_the_originals():
    config = config_to_dict(TrussConfig())
    folders = {
        key: config[key] for key in config if key.endswith(("_dir", "_filename")) or key == "model_class_name"
    }
    assert folders == {
        "model_module_dir": "model",
        "model_class_filename": "model.py",
        "model_class_name": "Model",
        "data_dir": "data",
        "bundled_packages_dir": "packages",
        "examples_filename": "examples.yaml",
    }
    assert (config["model_framework"], config["model_type"], config["spec_version"]) == (
        "custom",
        "Model",
        "2.0",
    )
    assert (config["resources"]["cpu"], config["resources"]["memory"]) == ("1", "2Gi")
    assert (config["runtime"]["predict_concurrency"], config["runtime"]["streaming_read_timeout"]) == (1, 60)


def test_a_file_of_2022_loads():
    config = parse_config(
        textwrap.dedent("""
            bundled_packages_dir: packages
            data_dir: data
            description: null
            environment_variables: {}
            examples_filename: examples.yaml
            input_type: Any
            model_class_filename: model.py
            model_class_name: Model
            model_framework: huggingface_transformer
            model_metadata: {transformer_config: {model: t5-small}, has_named_args: no}
            model_module_dir: model
            model_name: null
            model_type: text2text-generation
            python_version: py39
            requirements: []
            resources: {cpu: 500m, memory: 512Mi, use_gpu: yes}
            secrets: {}
            spec_version: '2.0'
            system_packages: []
            train: {training_class_name: Train, variables: {epochs: 3}}
            use_control_plane: true
        """)
    )
    assert config.resources.use_gpu
    assert config.live_reload
    assert config.python_version == "py39"
    assert config.model_metadata == {"transformer_config": {"model": "t5-small"}, "has_named_args": False}
    assert config.train.variables == {"epochs": 3}


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
    found = {(problem.line, problem.key): problem.hint for problem in caught.value.problems}
    assert found == {
        (2, "requirements"): "write `requirements: [numpy]`",
        (4, "resources.cpu"): 'write for example `"1"` or `500m`',
        (5, "resources.memory"): "write `2G`",
        (7, "secrets.bad name"): "write for example `bad-name`",
        (10, "runtime.batching.mode"): "did you mean `rows`?",
    }
    assert all(problem.expected for problem in caught.value.problems)
    assert "some/config.yaml:4: resources.cpu: 'lots' is not an amount of CPU" in str(caught.value)


SERVER = "docker_server: {server_port: 1, predict_endpoint: a, readiness_endpoint: b, liveness_endpoint: c"
WEIGHTS = "weights:\n- {source: 's3://a', mount_location: /a"


@pytest.mark.parametrize(
    ("text", "line", "key", "message"),
    [
        ("a: 1\nmodel_name: x\nmodel_name: y\n", 3, "model_name", "given twice: first on line 2"),
        ("resources: {cpu: 1, cpu: 2}\n", 1, "resources.cpu", "given twice"),
        ("mine:\n- {a: 1}\n- {b: 1,\n   b: 1}\n", 4, "mine.1.b", "given twice"),
        ("resources: big\n", 1, "resources", "not a mapping"),
        ("- a\n- b\n", 1, "", "a list, not a mapping"),
        ("model_name: 2024\n", 1, "model_name", "the number 2024, not text"),
        ("description: 2024-01-01\n", 1, "description", "not text"),
        ("resources:\n  accelerator: A1000\n", 2, "resources.accelerator", "'A1000'"),
        ("resources: {accelerator: 'T4:0'}\n", 1, "resources.accelerator", "'0'"),
        ("python_version: py27\n", 1, "python_version", "'py27'"),
        ("secrets:\n  ..: x\n", 2, 'secrets.".."', "not a name"),
        ("secrets:\n  key: 12\n", 2, "secrets.key", "not text"),
        ("environment_variables:\n  A:\n", 2, "environment_variables.A", "nothing (null)"),
        ("environment_variables: {1: a}\n", 1, "environment_variables.1", "not text"),
        ("requirements: [a]\nrequirements_file: r.txt\n", 2, "requirements_file", "with `requirements`"),
        (f"a: 1\n{SERVER}}}\n", 2, "docker_server", "needs `start_command`"),
        (f"{SERVER}, start_command: x}}\nruntime: {{grpc: {{port: 8081}}}}\n", 1,
         "docker_server", "with `runtime.grpc.port`"),
        (f"{SERVER}, start_command: x, run_as_user_id: 0}}\n", 1,
         "docker_server.run_as_user_id", "cannot be 0"),
        ("base_image:\n  docker_auth: {auth_method: aws_oidc, aws_oidc_region: x}\n", 2,
         "base_image.docker_auth.auth_method", "needs `aws_oidc_role_arn`"),
        ("base_image: {python_executable_path: bin/python}\n", 1,
         "base_image.python_executable_path", "absolute"),
        ("build: {no_cache: true}\n", 1, "build.no_cache", "cannot be set"),
        ("build: {secret_to_path_mapping: {a/b: /c}}\n", 1, "build.secret_to_path_mapping.a/b", "not a name"),
        ("weights:\n- {source: 'ftp://x', mount_location: /a}\n", 2, "weights.0.source", "'ftp://x'"),
        (f"{WEIGHTS}}}\n- {{source: 'hf://b', mount_location: /a}}\n", 1, "weights", "more than one"),
        (f"{WEIGHTS}, auth: {{auth_method: CUSTOM_SECRET}}}}\n", 2, "weights.0.auth.auth_method", "needs"),
        ("model_cache: [{repo_id: a, use_volume: true, revision: main}]\n", 1,
         "model_cache.0.use_volume", "needs"),
        ("bdn: {mounts: [{source: 'bdn:a', path: /a}]}\n", 1, "bdn.mounts.0.source", "right form"),
        ("runtime: {transport: {kind: htp}}\n", 1, "runtime.transport.kind", "'htp'"),
        ("runtime: {egress_restrictions: {ip_allow_list: ['::1']}}\n", 1,
         "runtime.egress_restrictions.ip_allow_list.0", "IPv4"),
        ("live_reload: maybe\n", 1, "live_reload", "'maybe'"),
        ("runtime: {workers: 0}\n", 1, "runtime.workers", "cannot be 0"),
        ("runtime: {workers: true}\n", 1, "runtime.workers", "truth value"),
        ("runtime: {timeouts: {request: .nan}}\n", 1, "runtime.timeouts.request", "not a number"),
        ("trt_llm: {}\n", 1, "trt_llm.build", "is missing"),
        ("<<: 1\n", 1, "<<", "not a mapping"),
        ("model_name: [unclosed\n", 1, "", "not YAML"),
        ("a: b: c\n", 1, "", "not YAML"),
        ("a: 1\n\ttab: 1\n", 2, "", "not YAML"),
        ("a: 1\nb: *c\n", 2, "", "means nothing"),
        ("a: &a [*a]\n", 1, "", "stands inside"),
        ("a: 1\n---\nb: 1\n", 2, "", "second document"),
        ("a: 1\nb: \x07\n", 2, "", "U+0007"),
        ("[" * 200 + "]" * 200, 1, "", "too deeply"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_where_and_how(text, line, key, message):
    (problem,) = problems_of(text)
    assert (problem.line, problem.key) == (line, key)
    assert message in problem.message
    assert problem.hint or problem.expected


def test_every_repetition_is_reported():
    keys = [
        problem.key
        for problem in problems_of("a: 1\na: 2\nb: {c: 1, c: 2}\na: 3\nresources:\n  cpu: 1\n  cpu: x\n")
    ]
    assert keys == ["a", "b.c", "a", "resources.cpu", "resources.cpu"]


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("resources: {cpu: 2}", ("resources", "cpu"), "2"),
        ("resources: {memory: 1_000}", ("resources", "memory"), "1000"),
        ("resources: {accelerator: 'T4:2'}", ("resources", "use_gpu"), True),
        ("resources: {accelerator: {accelerator: A100, count: 2}}", ("resources", "accelerator"), "A100:2"),
        ("python_version: 3.10", ("python_version",), "py310"),
        ("python_version: '3.11.4'", ("python_version",), "py311"),
        ("environment_variables: {A: true, B: 1.50, C: on}", ("environment_variables",),
         {"A": "true", "B": "1.5", "C": "true"}),
        ("live_reload: on", ("live_reload",), True),
        ("live_reload: 'False'", ("live_reload",), False),
        ("runtime: {predict_concurrency: '4'}", ("runtime", "predict_concurrency"), 4),
        ("runtime: {num_workers: 4}", ("runtime", "workers"), 4),
        ("runtime: {is_websocket_endpoint: true}", ("runtime", "transport", "kind"), "websocket"),
        ("runtime: {timeouts: {grace: 5}}", ("runtime", "timeouts", "grace"), 5.0),
        ("base_image: {docker_auth: {auth_method: aws_iam}}",
         ("base_image", "docker_auth", "auth_method"), "AWS_IAM"),
        ("x: &r [a]\nrequirements: *r\n", ("requirements",), ["a"]),
        ("x: &r {cpu: 3}\nresources: {<<: *r, memory: 1Gi}\n", ("resources", "cpu"), "3"),
        ("x: &r {cpu: 3}\nresources: {cpu: 4, <<: *r}\n", ("resources", "cpu"), "4"),
        ("x: &r {cpu: 3}\ny: &s {cpu: 4, memory: 1}\nresources: {<<: [*r, *s]}\n", ("resources", "cpu"), "3"),
        ("hf_cache: [{repo_id: a/b}]", ("model_cache", 0, "repo_id"), "a/b"),
        ("hf_cache: [{repo_id: a/b}]\nmodel_cache: [{repo_id: c}]", ("model_cache", 0, "repo_id"), "c"),
        ("model_metadata: {day: 2024-01-31}", ("model_metadata", "day"), datetime.date(2024, 1, 31)),
    ],
)  # fmt: skip
def test_what_people_mean_is_read(text, path, value):
    read = config_to_dict(parse_config(text))
    for part in path:
        read = read[part]
    assert read == value
    assert type(read) is type(value)


def test_unknown_keys_are_kept_and_named(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "resorces: {cpu: 1}\nruntime:\n  worker: 2\nmine: [1, {a: b}]\nhf_cache: []\n"
        "weights:\n- sorce: 1\n  source: hf://a\n  mount_location: /a\n"
    )
    plain = config_to_dict(read_config(tmp_path))
    assert plain["resorces"] == {"cpu": 1}
    assert plain["mine"] == [1, {"a": "b"}]
    assert plain["runtime"]["worker"] == 2
    found = {(problem.line, problem.key): problem.hint for problem in unknown_keys(tmp_path)}
    assert found == {
        (1, "resorces"): "did you mean `resources`?",
        (3, "runtime.worker"): "did you mean `workers`?",
        (4, "mine"): "",
        (5, "hf_cache"): "write `model_cache`",
        (7, "weights.0.sorce"): "did you mean `source`?",
    }


def test_values_are_frozen_and_what_is_handed_out_is_not_shared():
    config = parse_config("model_metadata: {a: [1]}")
    with pytest.raises(AttributeError):
        config.model_name = "x"
    config_to_dict(config)["model_metadata"]["a"].append(2)
    assert config.model_metadata == {"a": [1]}


def test_folders_that_are_no_truss(tmp_path):
    (tmp_path / "file").touch()
    for folder, message in (
        (tmp_path / "none", "no such folder"),
        (tmp_path, "not a Truss"),
        (tmp_path / "file", "file"),
    ):
        with pytest.raises(NotATrussError, match=message):
            read_config(folder)


def test_the_other_suffix_is_explained(tmp_path):
    (tmp_path / "config.yml").touch()
    with pytest.raises(NotATrussError) as caught:
        read_config(tmp_path)
    assert caught.value.hint == "rename config.yml to config.yaml"


def test_text_that_is_not_utf_8_is_located(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"model_name: a\ndescription: \xff\n")
    with pytest.raises(ConfigError, match=r"config.yaml:2: is not UTF-8"):
        read_config(tmp_path)


def test_a_byte_order_mark_is_no_key(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"\xef\xbb\xbfmodel_name: a\n")
    assert read_config(tmp_path).model_name == "a"


def test_rendering_refuses_what_would_not_read():
    with pytest.raises(ConfigError, match=r"resources\.cpu"):
        render_config({"resources": {"cpu": "lots"}})


def test_rendering_has_the_order_of_the_schema():
    text = render_config(
        {"mine": 1, "requirements": ["numpy>=1,<2"], "description": "Two\nlines\n", "model_name": "yes"}
    )
    assert (
        text == 'model_name: "yes"\ndescription: |\n  Two\n  lines\nrequirements:\n  - numpy>=1,<2\nmine: 1\n'
    )
