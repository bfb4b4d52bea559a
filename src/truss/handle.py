"""The object a notebook holds: a Truss folder, asked and edited from Python.

Every method is a few lines that delegate; the names are those of the original's 2022 interface.
"""

from __future__ import annotations

import html
import tempfile
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from truss.config import append_value, remove_value, set_value
from truss.errors import ExamplesError, InvalidInputError, TrussError
from truss.frameworks.mlflow.fetching import fetched
from truss.model import Fingerprint, LoadedModel, fingerprint, load_model
from truss.model.examples import MISSING, Example, write_examples
from truss.model.integrity import record
from truss.packaging import create_truss, init_truss, layout, readme
from truss.packaging.create import read_requirements
from truss.packaging.golden import mismatches, with_answer
from truss.packaging.progress import progress
from truss.spec import TrussSpec

if TYPE_CHECKING:
    from truss.build.engine import Container
    from truss.deployments import Deployment

PathText = str | PathLike[str]


def create(
    model: object,
    target_directory: PathText | None = None,
    data_files: Sequence[PathText] | None = None,
    requirements_file: PathText | None = None,
    bundled_packages: Sequence[PathText] | None = None,
    *,
    name: str | None = None,
    examples: Any = None,
    overwrite: bool = False,
    check: bool = True,
    trust_pickle: bool = False,
) -> TrussHandle:
    """Package a trained model as a Truss: a folder that serves the same everywhere.

    Args:
        model: A trained object: a scikit-learn estimator, a transformers pipeline, model or
            `(model, tokenizer)` pair, a function, or what an installed framework adapter recognises. Or the
            path of a model's file or folder, recognised by its content.
        target_directory: The folder to make; default: a new one below `~/.truss/models`.
        data_files: Paths or globs of further files, copied into `data/`.
        requirements_file: Requirements to write instead of the captured ones.
        bundled_packages: Paths or globs of Python packages, copied into `packages/`.
        name: The model's name.
        examples: A request such as `{"inputs": [...]}`, the rows of one, or a list of requests or
            `Example`s. Each is answered by the live object and by the packaged copy, and stored with
            the answer.
        overwrite: Replace a Truss that is in the target directory.
        check: Whether to compare those answers.
        trust_pickle: Whether a model's file may run code while it is read, as every pickle does.

    Returns:
        A handle on the new folder.

    Raises:
        UnsupportedObjectError: no framework recognises the object, or what is in the file.
        UntrustedFileError: the file runs code when it is read, and `trust_pickle` is false.
        TargetDirectoryError: the folder is in use or cannot be written.
        GoldenMismatchError: the packaged copy answers differently from the live object.
        PackagingError: something of the object cannot be saved, or a given path does not exist.
        MissingExtraError: a package that saving needs is not installed.

    Nothing is left behind when it raises.
    """
    folder = create_truss(
        model,
        target_directory,
        name=name,
        examples=examples,
        data_files=data_files,
        requirements_file=requirements_file,
        bundled_packages=bundled_packages,
        overwrite=overwrite,
        check=check,
        trust_pickle=trust_pickle,
    )
    return TrussHandle(folder)


mk_truss = create


def mk_truss_from_mlflow_uri(
    model_uri: str,
    target_directory: PathText | None = None,
    data_files: Sequence[PathText] | None = None,
    requirements_file: PathText | None = None,
    bundled_packages: Sequence[PathText] | None = None,
    *,
    name: str | None = None,
    examples: Any = None,
    overwrite: bool = False,
    check: bool = True,
) -> TrussHandle:
    """Package a model that MLflow keeps: of a run, of a registry, or in a store of artifacts.

    The model is trusted, as it is when MLflow loads it: most flavours run code of the model's maker.

    Args:
        model_uri: Its address as MLflow takes it: `models:/NAME/1`, `models:/NAME@ALIAS`, `runs:/RUN/PATH`,
            a folder, or the address of a store. Servers are those that MLflow is set to.
        target_directory: The folder to make; this and all that follows is as for `create`.
        data_files: Further files, copied into `data/`.
        requirements_file: Requirements to write instead of those that the model states.
        bundled_packages: Python packages, copied into `packages/`.
        name: The model's name.
        examples: Requests that the model answers from MLflow and from the Truss, which must agree.
        overwrite: Replace a Truss that is in the target directory.
        check: Whether to compare those answers.

    Returns:
        A handle on the new folder.

    Raises:
        PackagingError: MLflow finds no model there, or it cannot be served; and what `create` raises.
        MissingExtraError: MLflow is not installed.
    """
    with fetched(model_uri) as model:
        return create(
            model,
            target_directory,
            data_files,
            requirements_file,
            bundled_packages,
            name=name,
            examples=examples,
            overwrite=overwrite,
            check=check,
        )


def init(
    target_directory: PathText,
    data_files: Sequence[PathText] | None = None,
    requirements_file: PathText | None = None,
    bundled_packages: Sequence[PathText] | None = None,
    *,
    name: str | None = None,
) -> TrussHandle:
    """Make a Truss with a model class to fill in.

    Args:
        target_directory: The folder to make.
        data_files: Paths or globs of files, copied into `data/`.
        requirements_file: A requirements file whose lines go into the config.
        bundled_packages: Paths or globs of Python packages, copied into `packages/`.
        name: The model's name.

    Raises:
        TargetDirectoryError: the folder is not empty or cannot be written.
        PackagingError: a given path does not exist.
    """
    folder = init_truss(
        target_directory,
        name=name,
        data_files=data_files,
        requirements_file=requirements_file,
        bundled_packages=bundled_packages,
    )
    return TrussHandle(folder)


def load(truss_directory: PathText) -> TrussHandle:
    """A handle on an existing Truss.

    Raises:
        NotATrussError, ConfigError: the folder or its config is not right.
    """
    return TrussHandle(truss_directory)


from_directory = load


def kill_all() -> None:
    """Stop and remove every container that Truss started; they answer what they have accepted.

    Raises:
        EngineError: there is no container engine, or it refuses.
    """
    from truss import containers

    containers.stop(None)


def _given(folder: PathText | None) -> Path | None:
    return None if folder is None else Path(folder).expanduser()


class TrussHandle:
    """A Truss folder.

    Args:
        truss_dir: The folder.

    Raises:
        NotATrussError, ConfigError: the folder or its config is not right.
    """

    def __init__(self, truss_dir: PathText) -> None:
        self._truss_dir = Path(truss_dir).expanduser().absolute()
        self._loaded: LoadedModel | None = None
        self._loaded_from: Fingerprint | None = None
        TrussSpec.read(self._truss_dir)

    @property
    def truss_dir(self) -> Path:
        """The folder."""
        return self._truss_dir

    @property
    def spec(self) -> TrussSpec:
        """What the Truss says of itself, as its files have it now."""
        return TrussSpec.read(self._truss_dir)

    # --- asking ---

    def predict(self, request: Any) -> Any:
        """Answer a request in this process, with the steps that a server would run.

        The model stays loaded between calls; it is loaded again when the folder's code, config or data
        changed.

        Args:
            request: What a client would send, e.g. `{"inputs": [...]}`.

        Returns:
            What the model returned (NumPy arrays stay NumPy arrays).

        Raises:
            InvalidInputError, PredictionError: the request is wrong, or a step raised.
            ModelDefinitionError, ModelLoadError: the model cannot be loaded.
        """
        return self._model().predict(request)

    server_predict = predict

    def _model(self) -> LoadedModel:
        spec = self.spec
        current = fingerprint(self._truss_dir, spec.config)
        if self._loaded is None or current != self._loaded_from:
            self._unload()
            with progress(f"Loading {self._truss_dir.name}"):
                self._loaded = load_model(self._truss_dir, spec.config)
            self._loaded_from = current
        return self._loaded

    def _unload(self) -> None:
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None

    # --- examples ---

    def examples(self) -> list[Example]:
        """The examples."""
        return self.spec.examples

    def example(self, name_or_index: str | int) -> Example:
        """One example, by name or position.

        Raises:
            ExamplesError: there is none.
        """
        examples = self.examples()
        if isinstance(name_or_index, int):
            if -len(examples) <= name_or_index < len(examples):
                return examples[name_or_index]
            raise ExamplesError(
                f"there is no example {name_or_index}", hint=f"there are {len(examples)}, counted from 0"
            )
        for example in examples:
            if example.name == name_or_index:
                return example
        names = ", ".join(example.name for example in examples) or "none"
        raise ExamplesError(f"there is no example '{name_or_index}'", hint=f"there are: {names}")

    def add_example(self, name: str, input: Any, expected: Any = MISSING) -> None:  # noqa: A002  # the 2022 name
        """Add an example, replacing the one of that name.

        Args:
            name: Its name.
            input: The request.
            expected: The answer it should get; default: whatever the model answers now.
        """
        answer = self.predict(input) if expected is MISSING else expected
        others = [example for example in self.examples() if example.name != name]
        self.update_examples([*others, with_answer(Example(name, input), answer)])

    def update_examples(self, examples: Sequence[Example]) -> None:
        """Replace all examples."""
        write_examples(self._truss_dir, self.spec.config, examples)

    def check_examples(self) -> dict[str, str]:
        """Replay the examples that have an expected answer.

        Returns:
            For each example that got another answer, its name and what differs; empty when all is well.
        """
        return mismatches(self.examples(), self.predict)

    # --- edits of the config ---

    def add_python_requirement(self, requirement: str) -> None:
        """Add a line to the requirements."""
        append_value(self._truss_dir, "requirements", requirement)

    def remove_python_requirement(self, requirement: str) -> None:
        """Remove a line from the requirements."""
        self.update_requirements([line for line in self.spec.config.requirements if line != requirement])

    def update_requirements(self, requirements: Sequence[str]) -> None:
        """Replace the requirements."""
        set_value(self._truss_dir, "requirements", list(requirements))

    def update_requirements_from_file(self, requirements_file: PathText) -> None:
        """Replace the requirements by the lines of a file; comments and blank lines are left out."""
        self.update_requirements(read_requirements(requirements_file))

    def add_system_package(self, package: str) -> None:
        """Add a Debian package."""
        append_value(self._truss_dir, "system_packages", package)

    def remove_system_package(self, package: str) -> None:
        """Remove a Debian package."""
        kept = [name for name in self.spec.config.system_packages if name != package]
        set_value(self._truss_dir, "system_packages", kept)

    def add_environment_variable(self, name: str, value: str) -> None:
        """Set an environment variable of the model.

        Raises:
            InvalidInputError: the value is empty.
        """
        if not value:
            raise InvalidInputError(
                f"the environment variable '{name}' would be empty",
                hint=f"give a value, or call remove_environment_variable('{name}')",
            )
        set_value(self._truss_dir, ("environment_variables", name), str(value))

    def remove_environment_variable(self, name: str) -> None:
        """Remove an environment variable."""
        remove_value(self._truss_dir, ("environment_variables", name))

    def add_secret(self, secret_name: str, default_secret_value: str | None = "") -> None:
        """Declare a secret, with a default that is safe to commit."""
        set_value(self._truss_dir, ("secrets", secret_name), default_secret_value)

    def add_external_data_item(
        self, url: str, local_data_path: str, backend: str = "http_public", name: str | None = None
    ) -> None:
        """Add a file to download into the data directory."""
        item = {"url": url, "local_data_path": local_data_path, "backend": backend, "name": name}
        append_value(
            self._truss_dir, "external_data", {key: value for key, value in item.items() if value is not None}
        )

    def remove_all_external_data(self) -> None:
        """Remove all files to download."""
        remove_value(self._truss_dir, "external_data")

    def add_external_package(self, path: PathText) -> None:
        """Add a folder outside the Truss to import packages from."""
        append_value(self._truss_dir, "external_package_dirs", str(path))

    def clear_external_packages(self) -> None:
        """Remove all folders outside the Truss."""
        set_value(self._truss_dir, "external_package_dirs", [])

    def enable_gpu(self) -> None:
        """Ask for a GPU."""
        set_value(self._truss_dir, "resources.use_gpu", True)

    def update_description(self, description: str) -> None:
        """Say what the model does."""
        set_value(self._truss_dir, "description", description)

    def update_python_version(self, python_version: str) -> None:
        """Set the Python version, e.g. `py311` or `3.11`."""
        set_value(self._truss_dir, "python_version", python_version)

    def set_base_image(self, image: str, python_executable_path: str = "") -> None:
        """Set the image to build on."""
        set_value(
            self._truss_dir, "base_image", {"image": image, "python_executable_path": python_executable_path}
        )

    def live_reload(self, enable: bool = True) -> None:
        """Say whether a running container takes over code edits."""
        set_value(self._truss_dir, "live_reload", enable)

    # --- edits of the contents ---

    def add_data(self, file_dir_or_glob: PathText) -> None:
        """Copy files or folders into the data directory; a folder keeps its name."""
        data_dir = self.spec.data_dir
        paths = layout.matching(file_dir_or_glob, "data file")
        layout.copy_into(paths, data_dir, replace=True)
        record(self._truss_dir, [data_dir / path.absolute().name for path in paths])
        layout.mark_large_files(self._truss_dir, data_dir)

    def add_bundled_package(self, file_dir_or_glob: PathText) -> None:
        """Copy Python modules or packages into the packages directory."""
        packages_dir = self.spec.bundled_packages_dir
        layout.copy_into(layout.matching(file_dir_or_glob, "package"), packages_dir, replace=True)

    # --- platforms ---

    def deployment(self, to: str | None = None, *, name: str | None = None, **options: Any) -> Deployment:
        """The Truss and where it goes, to plan, look at, roll back or destroy.

        Args:
            to: The target, e.g. "kubernetes"; default: the only one that the config has options for.
            name: The name of the deployment; default: after the model's name.
            options: Options of the target (`truss targets NAME`); they go before those of the config.

        Raises:
            DeployError: there is no such target or option, or the name does not do.
        """
        from truss.deployments import deployment_of

        return deployment_of(self._truss_dir, to, name=name, options=options)

    def deploy(
        self,
        to: str | None = None,
        *,
        name: str | None = None,
        image: str | None = None,
        locked: bool = False,
        **options: Any,
    ) -> Deployment:
        """Deploy the Truss to a platform, and return once it answers as its examples expect.

        Args:
            to: The target; this and all others are as for `deployment`.
            name: The name of the deployment.
            image: An image that is pushed already; default: it is built and pushed.
            locked: Whether it has to be built of a `truss.lock` that fits; default: it is, if there is one.
            options: Options of the target.

        Returns:
            The deployment, to look at, roll back or destroy.

        Raises:
            UnhealthyError: it does not answer as expected; what ran before runs again.
            DeployError: the platform refuses; another try goes on from there.
            ImageError, EnvironmentBuildError, MissingExtraError: the image cannot be built or pushed.
        """
        found = self.deployment(to, name=name, **options)
        if locked and image is None:
            found.check_lock()
        with progress(f"Deploying {found.name} to {found.target.name}"):
            found.changes(found.plan(image))  # says what cannot be before anything is built or pushed
            found.apply(found.plan(image or found.image(locked=locked)))
        return found

    # --- containers ---

    def build_docker_image(self, build_dir: PathText | None = None, tag: str | None = None) -> str:
        """Build the image, unless the engine holds it as it is now; gives its name. See `truss run-image`.

        Args:
            build_dir: A new folder for the build context, which the engine then builds and which stays;
                default: no context, or one for as long as it is needed.
            tag: What the image is called besides; then that is its name.

        Raises:
            EnvironmentBuildError, ImageError, MissingExtraError: it cannot be built.
            EngineError: there is no container engine, or it refuses.
        """
        from truss import containers

        return containers.build_image(self._truss_dir, folder=_given(build_dir), tag=tag)

    def docker_build_setup(self, build_dir: PathText | None = None) -> str:
        """Write the build context and its Dockerfile into a folder; gives the command that builds it.

        Args:
            build_dir: A new folder; default: one among those for temporary files.
        """
        from truss import containers

        folder = _given(build_dir) or Path(tempfile.mkdtemp(prefix="truss-"))
        name = containers.write_context(self._truss_dir, folder)
        return f"docker build {folder} -t {name}"

    def docker_run(
        self,
        build_dir: PathText | None = None,
        tag: str | None = None,
        local_port: int = 8080,
        detach: bool = True,
    ) -> Container:
        """Run the Truss in a container, and return once it answers.

        Args:
            build_dir: As for `build_docker_image`; so is `tag`.
            tag: What the image is called besides.
            local_port: The port on this machine's loopback; 0 picks a free one.
            detach: Whether it goes on when this returns; else what it writes is printed until it ends or
                this is interrupted, and it is removed.

        Raises:
            EngineError: there is no container engine, it refuses, or the server does not become ready.
        """
        from truss import containers

        container = containers.run(self._truss_dir, port=local_port, folder=_given(build_dir), tag=tag)
        if not detach:
            with containers.attached(container, print):
                containers.show_logs(container, print)
        return container

    def docker_predict(
        self,
        request: Any,
        build_dir: PathText | None = None,
        tag: str | None = None,
        local_port: int = 8080,
        detach: bool = True,
    ) -> Any:
        """Ask the container that serves this Truss; one is started when there is none.

        Args:
            request: What a client would send.
            build_dir: As for `docker_run`, if one is started; so are `tag` and `local_port`.
            tag: What its image is called besides.
            local_port: The port on this machine's loopback; 0 picks a free one.
            detach: Whether one that was started for this goes on serving afterwards.

        Raises:
            EngineError: as `docker_run`.
            RemoteRefusalError: the server answered with an error.
        """
        from truss import containers

        if found := self.get_docker_containers_from_labels():
            return containers.predict(found[0], request)
        started = self.docker_run(build_dir, tag, local_port)
        try:
            return containers.predict(started, request)
        finally:
            if not detach:
                containers.end(started)

    def get_docker_images_from_label(self) -> list[dict[str, Any]]:
        """The engine's images of this Truss as it is now: their names, id and size in bytes."""
        from truss import containers

        return containers.images(self._truss_dir)

    def get_docker_containers_from_labels(self, all: bool = False) -> list[Container]:  # noqa: A002  # the 2022 name
        """The running containers of this Truss, the newest first; with `all` also those that ended."""
        from truss import containers

        return containers.running(self._truss_dir, ended=all)

    def get_urls_from_truss(self) -> list[str]:
        """Where the running containers of this Truss are reached."""
        from truss import containers

        return [containers.url_of(container) for container in self.get_docker_containers_from_labels()]

    @overload
    def container_logs(self, follow: bool = False, stream: Literal[False] = False) -> str: ...

    @overload
    def container_logs(self, follow: bool = False, *, stream: Literal[True]) -> Iterator[str]: ...

    @overload
    def container_logs(self, follow: bool, stream: Literal[True]) -> Iterator[str]: ...

    def container_logs(self, follow: bool = False, stream: bool = False) -> str | Iterator[str]:
        """What the newest container of this Truss has written.

        Args:
            follow: Go on until it ends.
            stream: Give the lines one by one, as they come.

        Raises:
            EngineError: there is none.
        """
        from truss import containers

        lines = containers.logs(self._truss_dir, follow=follow)
        return lines if stream else "".join(lines)

    def kill_container(self) -> None:
        """Stop and remove the containers of this Truss; they answer what they have accepted."""
        from truss import containers

        containers.stop(self._truss_dir)

    def generate_readme(self) -> str:
        """The text of a README with the commands that run this Truss."""
        return readme(self._truss_dir.name, self.spec.config, self.examples())

    # --- how it shows ---

    def __repr__(self) -> str:
        facts = self._facts()
        width = max(map(len, facts))
        lines = [f"  {name:<{width}}  {value}" for name, value in facts.items()]
        return "\n".join(["Truss", *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'><code>{html.escape(value)}</code></td></tr>"
            for name, value in self._facts().items()
        )
        return f"<b>Truss</b><table>{rows}</table>"

    def _facts(self) -> dict[str, str]:
        try:
            return self.spec.summary()
        except TrussError as error:  # a file was broken meanwhile: say so where the handle shows
            return {"folder": str(self._truss_dir), "problem": str(error)}
