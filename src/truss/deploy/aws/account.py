"""An account in a region: calls of its services, and their failures as errors of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

from truss.deploy.target import Options, option
from truss.errors import (
    DeployError,
    MissingExtraError,
    PlatformAuthError,
    PlatformRefusalError,
    PlatformUnreachableError,
    QuotaError,
)

_LONGEST_ANSWERS = {"lambda": 905}
"""Seconds that a service may be silent, where a model answers behind it: Lambda's 15 minutes and a bit."""

MARK = "truss:deployment"
"""The tag that everything carries which was made for a deployment; its value is the deployment's name."""

_RIGHTS = frozenset({"AccessDenied", "AccessDeniedException", "OptInRequired", "UnauthorizedOperation"})
_CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_QUOTA = (
    "AssociationLimit",
    "LimitExceeded",
    "LimitReached",
    "QuotaExceeded",
    "StorageExceeded",
    "TooMany",
    # Lambda has no name for it, only a sentence: what is set aside for one function others cannot have.
    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
    "UnreservedConcurrentExecution",
)
_LOG_IN = "log in with `aws sso login` or `aws configure`"

GO_ON = "look at it in AWS's console, then give the command again: it goes on from there"
"""What to do when something takes AWS longer than it is waited for."""

_STATES = frozenset(
    {
        "Code",
        "EndpointStatus",
        "FailureReason",
        "LastUpdateStatus",
        "LastUpdateStatusReason",
        "Reason",
        "State",
        "StateReason",
    }
)
"""What services call a thing's state and the reasons for it; `_AROUND` is what they put around these."""
_AROUND = frozenset({"Configuration", "LoadBalancers", "State"})


class AwsOptions(Options, frozen=True, kw_only=True):
    """What a deployment to any service of AWS can be told."""

    repository: Annotated[
        str, option("Where its image is pushed, without a tag; by default a repository of ECR that is made.")
    ] = ""
    region: Annotated[str, option("The region; by default the profile's.")] = ""
    profile: Annotated[str, option("The profile of ~/.aws/config.")] = ""
    registry: Annotated[
        str, option("Where this machine reaches the account's registry, if not at its usual address.")
    ] = ""


@dataclass(frozen=True)
class Account:
    """An account in a region, with the credentials that boto3 finds.

    Attributes:
        region: The region; empty: the one that the user's profile has.
        profile: The profile of the user's configuration; empty: the usual one.
        registry: Where this machine reaches the account's registry of images; empty: at its usual address.
    """

    region: str = ""
    profile: str = ""
    registry: str = ""
    _clients: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def _session(self) -> Any:
        try:
            import boto3
            import botocore.exceptions
        except ImportError:
            raise MissingExtraError("boto3", "aws", "deploying to AWS") from None
        try:
            return boto3.Session(region_name=self.region or None, profile_name=self.profile or None)
        except botocore.exceptions.ProfileNotFound as error:
            raise PlatformAuthError(str(error), hint="name a profile of ~/.aws/config: --profile") from None

    def client(self, service: str) -> Any:
        """The client of a service."""
        if service not in self._clients:
            session = self._session
            import botocore.config
            import botocore.exceptions

            patient = botocore.config.Config(read_timeout=_LONGEST_ANSWERS.get(service, 60))
            try:
                self._clients[service] = session.client(service, config=patient)
            except botocore.exceptions.NoRegionError:
                raise DeployError(
                    "no region is named", where="--region", hint="say --region eu-west-1, or set AWS_REGION"
                ) from None
        return self._clients[service]

    def call(self, service: str, operation: str, /, **arguments: Any) -> Any:
        """What an operation of a service gives, `describe_services` for example.

        Raises:
            PlatformAuthError: there are no credentials, or they may not do this.
            PlatformUnreachableError: there is no answer.
            QuotaError: a limit of the account is reached.
            PlatformRefusalError: it is refused otherwise.
        """
        client = self.client(service)
        with _told(f"{service}:{operation}"):
            return getattr(client, operation)(**arguments)

    def listed(self, service: str, operation: str, key: str, /, **arguments: Any) -> Iterator[Any]:
        """The items of a list, of all its pages; the errors of `call`."""
        client = self.client(service)
        with _told(f"{service}:{operation}"):
            if not client.can_paginate(operation):
                yield from getattr(client, operation)(**arguments)[key]
                return
            for page in client.get_paginator(operation).paginate(**arguments):
                yield from page[key]

    def get(self, service: str, operation: str, key: str, /, *absent: str, **arguments: Any) -> Any | None:
        """A part of an answer; None where a reason says that what is asked for is absent."""
        answer = self.found(service, operation, *absent, **arguments)
        return None if answer is None else answer[key]

    def found(self, service: str, operation: str, /, *absent: str, **arguments: Any) -> Any | None:
        """An answer; None where a reason says that what is asked for is absent."""
        try:
            return self.call(service, operation, **arguments)
        except PlatformRefusalError as error:
            if error.code in absent:
                return None
            raise

    def first(self, service: str, operation: str, key: str, /, *absent: str, **arguments: Any) -> Any | None:
        """The first item of an answer's list; None where there is none."""
        items = self.get(service, operation, key, *absent, **arguments)
        return items[0] if items else None

    def gone(self, service: str, operation: str, /, *absent: str, **arguments: Any) -> None:
        """Remove something; nothing happens where a reason says that it is absent."""
        try:
            self.call(service, operation, **arguments)
        except PlatformRefusalError as error:
            if error.code not in absent:
                raise

    def wait(self, service: str, waiter: str, what: str, /, **arguments: Any) -> None:
        """Return when AWS has come to what a waiter of its client waits for.

        https://docs.aws.amazon.com/boto3/latest/guide/clients.html#waiters

        Args:
            service: The service.
            waiter: The waiter's name, `function_active_v2` for example.
            what: What is waited for, after "waited for".
            arguments: Those of the operation that it asks with; `WaiterConfig`: how often, if not as usual.

        Raises:
            DeployError: AWS does not come to it, or not in time; it says what AWS said last.
            As `call`: AWS does not tell.
        """
        client = self.client(service)
        import botocore.exceptions

        with _told(f"{service}:{waiter}"):
            try:
                client.get_waiter(waiter).wait(**arguments)
            except botocore.exceptions.WaiterError as error:
                raise _not_reached(error, f"{service}:{waiter}", what) from error

    def read(self, stream: Any, what: str) -> bytes:
        """The bytes of an answer that comes as a stream; the errors of `call`.

        Args:
            stream: The stream.
            what: The call that gave it.
        """
        with _told(what):
            content: bytes = stream.read()
            return content

    @cached_property
    def number(self) -> str:
        """The account's number."""
        return str(self.call("sts", "get_caller_identity")["Account"])

    @property
    def region_name(self) -> str:
        """The region that is used."""
        return str(self.client("sts").meta.region_name)


def account_of(options: AwsOptions) -> Account:
    """The account that a deployment is told to use."""
    return Account(options.region, options.profile, options.registry)


@contextmanager
def _told(what: str) -> Iterator[None]:
    import botocore.exceptions as failures

    try:
        yield
    except failures.ClientError as error:
        raise _refusal(error.response["Error"], what) from error
    except (
        failures.NoCredentialsError,
        failures.PartialCredentialsError,
        failures.TokenRetrievalError,
    ) as error:
        raise PlatformAuthError(f"AWS wants credentials: {error}", hint=_LOG_IN) from error
    except (failures.HTTPClientError, failures.ConnectionError) as error:
        raise PlatformUnreachableError(
            f"AWS gives no answer: {error}", hint="check the region's name (--region) and the network"
        ) from error
    except failures.BotoCoreError as error:
        raise PlatformRefusalError(f"{what}: {error}", code=type(error).__name__) from error


def _refusal(said: Mapping[str, str], what: str) -> DeployError:
    code, message = said.get("Code", ""), said.get("Message", "")
    text = f"AWS refuses {what}: {message or code}"
    if code in _CREDENTIALS:
        return PlatformAuthError(text, hint=_LOG_IN)
    if code in _RIGHTS:
        return PlatformAuthError(text, hint="`truss targets TARGET --permissions` prints the policy it takes")
    if any(mark in code or mark in message for mark in _QUOTA):
        return QuotaError(text, hint="ask for a higher limit (Service Quotas), or remove what is not needed")
    return PlatformRefusalError(text, code=code)


def _not_reached(error: Any, call: str, what: str) -> DeployError:
    """A waiter's failure: AWS refuses to tell, tells of a state without a way on, or takes too long."""
    last, reason = error.last_response, error.kwargs["reason"]
    if refused := last.get("Error"):
        return _refusal(refused, call)
    said = ", ".join(_said(last)) or reason
    in_time = not reason.startswith("Max attempts exceeded")
    hint = "mend what AWS names, then give the command again" if in_time else GO_ON
    return DeployError(f"waited for {what} in vain; AWS says: {said}", hint=hint)


def _said(told: Any) -> Iterator[str]:
    """The states in an answer, and the reasons for them, by their names."""
    for one in told if isinstance(told, list) else [told]:
        for key, part in one.items():
            if key in _STATES and isinstance(part, str):
                yield f"{key} {part}"
            elif key in _AROUND:
                yield from _said(part)


def tags(deployment: str) -> list[dict[str, str]]:
    """The mark of a deployment, as most services take tags."""
    return [{"Key": MARK, "Value": deployment}]


def marked(tags: Any) -> str:
    """The deployment that tags of a service name, in whichever form it has them; empty: none."""
    if isinstance(tags, Mapping):
        return str(tags.get(MARK, ""))
    pairs = ((one.get("Key", one.get("key")), one.get("Value", one.get("value"))) for one in tags or ())
    return next((str(value) for key, value in pairs if key == MARK), "")
