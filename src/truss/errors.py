"""Every exception Truss raises on purpose.

The tree (everything a caller may want to catch derives from `TrussError`)::

    TrussError
    ├── NotATrussError              a folder without a config.yaml
    ├── ConfigError                 config.yaml is wrong; carries every problem found
    ├── ExamplesError               examples.yaml is wrong
    ├── MissingExtraError           an optional package is needed and absent
    ├── PackagingError              an object could not be turned into a Truss
    │   ├── UnsupportedObjectError  no framework recognises the object
    │   ├── UntrustedFileError      reading the model's file would run code of its maker
    │   ├── TargetDirectoryError    the target directory is in use or cannot be written
    │   └── GoldenMismatchError     the packaged copy answers differently from the live object
    ├── ModelError                  the model class in a Truss is at fault
    │   ├── ModelDefinitionError    it cannot be found or imported, or lacks a required method
    │   ├── ModelLoadError          its constructor or `load` raised
    │   │   └── CorruptDataError    and data files are not the ones that were packaged
    │   ├── PredictionError         one of its steps raised while answering
    │   └── AnswerEncodingError     what it returned cannot be written in the answer's format
    ├── RequestError                the request is at fault; nothing was computed
    │   ├── MalformedBodyError      the body is not what its format says
    │   ├── UnsupportedBodyError    the body is of a format that cannot be read here
    │   ├── InvalidInputError       well-formed, but not what the model takes
    │   ├── BodyTooLargeError       the body exceeds the configured limit
    │   ├── HeadTooLargeError       its first line and headers are longer than any client means
    │   ├── UnauthorizedError       it carries none of the API keys that are asked for
    │   ├── RouteNotFoundError      no such route
    │   ├── MethodNotAllowedError   the route exists, under another method
    │   ├── ModelExistsError        a model of this name is loaded already
    │   └── ClientClosedRequestError  the client left before the answer
    ├── ServiceError                the service cannot answer now; another try may succeed
    │   ├── NotReadyError           no worker has loaded the model yet
    │   ├── QueueFullError          too many requests are waiting
    │   ├── DeadlineExceededError   the request's time ran out
    │   ├── WorkerLostError         the worker died while answering
    │   ├── NoRoomError             there is too little memory for another model
    │   └── ServerLostError         the wrapped server broke off, or closed without an answer
    ├── ServerStartError            the server could not start (port taken, no such address)
    ├── WeightsError                files that the config names elsewhere cannot be fetched
    ├── EnvironmentBuildError       the Python environment of a Truss cannot be made
    ├── ImageError                  an image cannot be made, read or written
    │   ├── InvalidReferenceError   the name of an image is not one
    │   ├── BrokenImageError        what was read is not what its digest, size or type says
    │   └── RegistryError           a registry refused, or could not be reached
    │       ├── RegistryAuthError   it wants other credentials than it got
    │       ├── ImageNotFoundError  it has no such image, or does not show it
    │       └── RegistryUnavailableError  it failed for now; every try did
    ├── EngineError                 the container engine is not there, or refuses
    ├── DeployError                 a Truss cannot be deployed, or a platform refuses
    │   ├── PlanError               the target cannot do what is asked, or an option is wrong
    │   ├── PlatformAuthError       credentials are missing, or the platform refuses them
    │   ├── PlatformUnreachableError  the platform gives no answer
    │   ├── QuotaError              a limit of the account is reached
    │   ├── PlatformRefusalError    the platform refuses a call for another reason, by its code
    │   ├── NameTakenError          what is to be made is there already, and not ours
    │   ├── NotDeployedError        there is no deployment of this name
    │   └── UnhealthyError          the deployment does not answer, or answers wrongly
    ├── FrameError                  the front and a worker misunderstand each other
    └── RemoteError                 a server that was asked for a prediction could not be reached
        └── RemoteRefusalError      it was, and answered with an error

Each carries a message (what happened), `where` (file, line, key or request id) and `hint` (what to do),
and the two numbers its kind is reported with: `status` over HTTP, `exit_code` from the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class TrussError(Exception):
    """The root of every error that Truss raises on purpose.

    Args:
        message: What happened, in one sentence.
        where: The place it happened: `file:line`, a config key, a request id.
        hint: What to do about it.

    Attributes:
        status: The HTTP status a server answers with.
        exit_code: The exit status of a command that fails with it (1: failed, 2: usage or input is wrong).
        type: The stable name of this kind of error in JSON answers, e.g. `malformed_body`.
    """

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    type: ClassVar[str] = "internal"

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        located = f"{self.where}: {self.message}" if self.where else self.message
        return f"{located}\nhint: {self.hint}" if self.hint else located

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[TrussError], args: tuple[object, ...], state: dict[str, object]) -> TrussError:
    """Rebuild an error from a pickle; constructors with required keywords cannot be called blindly."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class NotATrussError(TrussError):
    """The folder holds no `config.yaml`, so it is not a Truss."""

    exit_code = 2
    type = "not_a_truss"


@dataclass(frozen=True)
class ConfigProblem:
    """One mistake in a config file.

    Attributes:
        line: 1-based line in the file; 0 when the mistake belongs to the file as a whole.
        key: Dotted key, e.g. `resources.cpu`; empty when there is none.
        message: What is wrong, with the value that was found.
        expected: What the key takes.
        hint: What to write instead.
    """

    line: int
    key: str
    message: str
    expected: str = ""
    hint: str = ""

    def describe(self, file: str) -> str:
        """One paragraph: `file:line: key: message` and, indented, what was expected and what to write."""
        place = f"{file}:{self.line}" if self.line else file
        first = f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"
        rest = [f"    expected: {self.expected}"] if self.expected else []
        rest += [f"    hint: {self.hint}"] if self.hint else []
        return "\n".join([first, *rest])


class ConfigError(TrussError):
    """A config file is wrong. `problems` lists every mistake in it, in file order."""

    exit_code = 2
    type = "invalid_config"

    def __init__(self, file: str, problems: Sequence[ConfigProblem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "\n".join(problem.describe(file) for problem in self.problems)
        super().__init__(f"{file} has {count}:\n{lines}")


class ExamplesError(TrussError):
    """The examples file is wrong, or has no example of the given name."""

    exit_code = 2
    type = "invalid_examples"


class MissingExtraError(TrussError):
    """An optional package is needed; the hint is the command that installs it."""

    exit_code = 2
    type = "missing_extra"

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed",
            hint=f"pip install 'truss[{extra}]'",
        )
        self.package = package
        self.extra = extra


class PackagingError(TrussError):
    """An object could not be turned into a Truss; nothing was left behind."""

    type = "packaging_failed"


class UnsupportedObjectError(PackagingError):
    """No framework recognises the object."""

    exit_code = 2
    type = "unsupported_object"


class UntrustedFileError(PackagingError):
    """Reading the model's file would run code that its maker chose, and nobody said that it is trusted."""

    exit_code = 2
    type = "untrusted_file"


class TargetDirectoryError(PackagingError):
    """The target directory is not empty, is a file, or cannot be written."""

    exit_code = 2
    type = "target_directory"


class GoldenMismatchError(PackagingError):
    """The packaged copy does not answer what the live object answers, or what was recorded."""

    type = "golden_mismatch"


class ModelError(TrussError):
    """The model class in a Truss is at fault."""

    type = "model_error"


class ModelDefinitionError(ModelError):
    """The model class cannot be found or imported, or lacks a required method."""

    exit_code = 2
    type = "model_definition"


class ModelLoadError(ModelError):
    """The model class's constructor or `load` raised."""

    type = "model_load"


class CorruptDataError(ModelLoadError):
    """The model could not be loaded, and data files are not the ones that were packaged."""

    type = "corrupt_data"


class PredictionError(ModelError):
    """One of the model's steps raised while answering a request."""

    type = "prediction_failed"


class AnswerEncodingError(ModelError):
    """What the model returned cannot be written in the answer's format."""

    type = "answer_encoding"


class RequestError(TrussError):
    """The request is at fault; nothing was computed."""

    status = 400
    exit_code = 2
    type = "bad_request"


class MalformedBodyError(RequestError):
    """The body is not what its format says: broken JSON, msgpack, CSV or Parquet."""

    type = "malformed_body"


class UnsupportedBodyError(RequestError):
    """The body is of a format that this model's environment cannot read."""

    type = "unsupported_body"
    status = 415


class InvalidInputError(RequestError):
    """The body is well-formed, but not what the model takes."""

    type = "invalid_input"


class BodyTooLargeError(RequestError):
    """The body exceeds the configured limit."""

    status = 413
    type = "body_too_large"


class HeadTooLargeError(RequestError):
    """The request's first line and headers together are longer than any client means."""

    status = 431
    type = "head_too_large"


class UnauthorizedError(RequestError):
    """The request carries none of the API keys that the server asks for."""

    status = 401
    type = "unauthorized"


class RouteNotFoundError(RequestError):
    """The server has no such route."""

    status = 404
    type = "not_found"


class MethodNotAllowedError(RequestError):
    """The route exists, under another method; `allowed` names those that it takes."""

    status = 405
    type = "method_not_allowed"

    def __init__(self, message: str, *, allowed: Sequence[str] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.allowed = tuple(allowed)


class ModelExistsError(RequestError):
    """A model of this name is loaded already, in a container of several models."""

    status = 409
    type = "model_exists"


class ClientClosedRequestError(RequestError):
    """The client left before the answer was ready (the status is nginx's; nobody receives it)."""

    status = 499
    type = "client_closed_request"


class ServiceError(TrussError):
    """The service cannot answer now; another try may succeed."""

    status = 503
    type = "unavailable"


class NotReadyError(ServiceError):
    """No worker has loaded the model yet, or the server is stopping."""

    type = "not_ready"


class QueueFullError(ServiceError):
    """Too many requests are waiting; `retry_after` says in how many seconds one may be taken."""

    status = 429
    type = "queue_full"

    def __init__(self, message: str, *, retry_after: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class DeadlineExceededError(ServiceError):
    """The request's time ran out, waiting or running."""

    status = 504
    type = "deadline_exceeded"


class WorkerLostError(ServiceError):
    """The worker died while it was answering the request."""

    type = "worker_lost"


class NoRoomError(ServiceError):
    """There is too little memory to load another model, in a container of several."""

    status = 507
    type = "no_room"


class ServerLostError(ServiceError):
    """The wrapped server broke off while it was answering, or closed the connection without an answer."""

    status = 502
    type = "server_lost"


class ServerStartError(TrussError):
    """The server could not start: the port is taken, the address is not ours, no worker could load."""

    type = "server_start"


class EnvironmentBuildError(TrussError):
    """The Python environment of a Truss cannot be made: the message says which requirement, and why."""

    type = "environment"


class WeightsError(TrussError):
    """Files that the config names elsewhere cannot be fetched, or are not what they have to be."""

    type = "weights"


class ImageError(TrussError):
    """An image cannot be made, read or written; nothing half-written is left under its name."""

    type = "image"


class InvalidReferenceError(ImageError):
    """The name of an image is not one: the hint says what is wrong with it."""

    exit_code = 2
    type = "invalid_reference"


class BrokenImageError(ImageError):
    """What was read of an image is not what its digest, size or media type says."""

    type = "broken_image"


class RegistryError(ImageError):
    """A registry refused, or could not be reached.

    Attributes:
        http_status: What the registry answered with; 0 when there was no answer.
        code: The registry's own name of the error, e.g. `MANIFEST_UNKNOWN`; empty when it gave none.
    """

    type = "registry"

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        http_status: int = 0,
        code: str = "",
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.http_status = http_status
        self.code = code


class RegistryAuthError(RegistryError):
    """The registry wants other credentials than it got, or none were found for it."""

    type = "registry_auth"


class ImageNotFoundError(RegistryError):
    """The registry has no such image, or does not show it to these credentials."""

    type = "image_not_found"


class RegistryUnavailableError(RegistryError):
    """The registry failed for now: every try ended in an error that another try may not meet.

    Attributes:
        retry_after: In how many seconds the registry asks to be tried again; 0 when it does not say.
    """

    type = "registry_unavailable"

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        http_status: int = 0,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(message, where=where, hint=hint, http_status=http_status)
        self.retry_after = retry_after


class EngineError(TrussError):
    """The container engine of this machine is not there, or refuses what it is asked."""

    type = "engine"


class DeployError(TrussError):
    """A Truss cannot be deployed, or a platform refuses; what was made so far can be seen and removed."""

    type = "deploy"


class PlanError(DeployError):
    """The target cannot do what is asked, or an option is wrong; nothing was done."""

    exit_code = 2
    type = "plan"


class PlatformAuthError(DeployError):
    """Credentials for the platform are missing, or it refuses them."""

    type = "platform_auth"


class PlatformUnreachableError(DeployError):
    """The platform gives no answer: no such address or region, or it cannot be reached from here."""

    type = "platform_unreachable"


class QuotaError(DeployError):
    """A limit of the account on the platform is reached."""

    type = "quota"


class PlatformRefusalError(DeployError):
    """The platform refuses a call.

    Args:
        message: What it says.
        code: Its name for the reason.
    """

    type = "platform_refusal"

    def __init__(self, message: str, *, code: str = "", where: str = "", hint: str = "") -> None:
        super().__init__(message, where=where, hint=hint)
        self.code = code


class NameTakenError(DeployError):
    """What is to be made is there already, and was not made for this deployment; it is left as it is."""

    type = "name_taken"


class NotDeployedError(DeployError):
    """There is no deployment of this name."""

    type = "not_deployed"


class UnhealthyError(DeployError):
    """The deployment does not answer in time, or its answers are not those that the Truss expects."""

    type = "unhealthy"


class FrameError(TrussError):
    """What arrived between the front and a worker is not a frame; the worker is replaced."""

    type = "frame"


class RemoteError(TrussError):
    """A server that was asked for a prediction could not be reached."""

    type = "remote"


class RemoteRefusalError(RemoteError):
    """A server that was asked for a prediction answered with an error."""

    type = "remote_refusal"
