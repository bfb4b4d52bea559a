"""AWS Lambda: a function out of the model's image, with an address of its own.

https://docs.aws.amazon.com/lambda/latest/api/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from truss.deploy.aws import logs, repositories, roles, secrets, terraform
from truss.deploy.aws.account import MARK, Account, AwsOptions, account_of, marked
from truss.deploy.aws.permissions import Right, policy
from truss.deploy.plan import File, Output, Plan, Price, Resource, as_json
from truss.deploy.release import Release
from truss.deploy.sizes import MIB, check_body, gibibytes
from truss.deploy.target import Feature, Found, Revision, State, Status, option
from truss.errors import DeployError, PlanError

_SERVICE = "lambda"
_LOGS = "/aws/lambda/truss-"
_EXECUTION = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
_ABSENT = "ResourceNotFoundException"
_OURS = ("function:truss-*",)

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_MOST_MEMORY = 10240
_MEMORY_OF_A_CORE = 1769
_LONGEST = 900
_LARGEST = 6_000_000

# https://aws.amazon.com/lambda/pricing/, us-east-1, x86: dollars.
_GIB_SECOND, _REQUEST = 0.0000166667, 0.0000002
_AS_OF = "2025-11"


class LambdaOptions(AwsOptions, frozen=True, kw_only=True):
    """What a deployment to Lambda can be told."""

    timeout: Annotated[int, option("Seconds that an answer may take, the model's loading included.")] = 300
    temporary: Annotated[int, option("MiB of disk below /tmp, for weights that are fetched.")] = 512
    public: Annotated[bool, option("Whether anybody may ask it, or only who signs requests.")] = False
    most_at_once: Annotated[int, option("Requests at a time at most; 0: what the account may.")] = 0


class LambdaTarget:
    """See the module."""

    name = "lambda"
    summary = "AWS Lambda, paid by the request"
    options = LambdaOptions
    features = frozenset(
        {
            Feature.AUTOSCALING,
            Feature.SCALE_TO_ZERO,
            Feature.ROLLBACK,
            Feature.LOGS,
            Feature.SECRETS,
            Feature.STORES,
            Feature.APPLIES,
        }
    )

    def repository(self, options: LambdaOptions) -> str | None:
        """What the user says; else the account has one."""
        return options.repository

    def plan(self, release: Release, options: LambdaOptions) -> Plan:
        """The resources."""
        memory, note = _memory(release)
        check_body(release, _LARGEST, "Lambda", "ecs, which has no such limit")
        if not 1 <= options.timeout <= _LONGEST:
            raise PlanError(
                f"an answer of Lambda may take {_LONGEST} s, not {options.timeout} s",
                where="deploy.lambda.timeout",
                hint="deploy to ecs, which has no such limit",
            )
        resources = tuple(_resources(release, options, memory))
        files = (File("resources.json", as_json({one.key: one.body for one in resources})),)
        million = 1_000_000 * (_REQUEST + 0.1 * memory / 1024 * _GIB_SECOND)
        what = f"a million requests of 0.1 s with {gibibytes(memory * MIB)} in us-east-1; nothing without any"
        notes = tuple(text for text in (note, *_notes(release, options)) if text)
        plan = Plan(self.name, release.name, resources, files, notes, Price(million, what, _AS_OF))
        return terraform.written(plan, release.image, options.region)

    def connect(self, options: LambdaOptions) -> LambdaPlatform:
        """The account that boto3 finds credentials for."""
        return LambdaPlatform(account_of(options))

    def permissions(self) -> File:
        """A policy of IAM for whoever deploys there."""
        roles_ = roles.giving("lambda.amazonaws.com", [_EXECUTION], own=True)
        return policy(_KINDS, (*roles_, repositories.READ_BY_SERVICES, *_READING))


def _memory(release: Release) -> tuple[int, str]:
    """MiB of a function: as much as is asked for, or as gives the cores that are."""
    if release.accelerator is not None:
        raise PlanError(
            "Lambda has no GPUs", where="resources.accelerator", hint="deploy to ecs or sagemaker"
        )
    asked = -(-release.memory // MIB)
    wanted = max(asked, round(release.cpu * _MEMORY_OF_A_CORE), 128)
    if wanted > _MOST_MEMORY:
        raise PlanError(
            f"Lambda has nothing with {release.cpu:g} CPU and {gibibytes(release.memory)}",
            where="resources",
            hint=f"the largest has {_MOST_MEMORY / _MEMORY_OF_A_CORE:.1f} CPU and 10 GiB; or deploy to ecs",
        )
    note = f"Lambda gives cores by memory: {release.cpu:g} CPU come with {wanted} MiB"
    return wanted, note if wanted > asked else ""


def _resources(release: Release, options: LambdaOptions, memory: int) -> Iterator[Resource]:
    name = release.name
    if not options.repository:
        yield repositories.image_repository(_SERVICE, name, ["lambda.amazonaws.com"])
    for one in release.secrets:
        yield secrets.secret(name, one)
    yield logs.log_group(name, _LOGS)
    may_read = secrets.may_read(release)
    yield roles.role(name, "function", "lambda.amazonaws.com", [_EXECUTION], may_read)
    body = {
        "deployment": name,
        "image": release.image,
        "role": Output(f"{roles.Role.kind}/{roles.role_name(name, 'function')}", "arn"),
        "memory": memory,
        "timeout": options.timeout,
        "temporary": options.temporary,
        "environment": {"TRUSS_GRACE_SECONDS": "2", **release.environment, **secrets.variables(release)},
        "most_at_once": options.most_at_once,
    }
    yield Resource(Function.kind, function_name(name), body, "lambda:CreateFunction")
    url = {
        "deployment": name,
        "public": options.public,
        "function": Output(f"{Function.kind}/{function_name(name)}", "arn"),
    }
    yield Resource(Url.kind, function_name(name), url, "lambda:CreateFunctionUrlConfig")


def _notes(release: Release, options: LambdaOptions) -> Iterator[str]:
    yield from repositories.storage_notes(_SERVICE, release.name, options.repository)
    yield "a request and an answer may have 6 MB each; answers are not streamed; the image may have 10 GB"
    if not options.public:
        yield "only who signs requests with the account's credentials may ask it; --public lets everybody"
    yield from secrets.notes(release, "Lambda")


class Function:
    """A function of an image; each change publishes a version, to go back to.

    https://docs.aws.amazon.com/lambda/latest/dg/images-create.html

    One that failed to start can only be removed and made anew, which is what a change of it does:
    https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html
    """

    kind = "lambda:function"
    rights = (
        Right(
            "lambda",
            (
                "CreateFunction",
                "DeleteFunction",
                "DeleteFunctionConcurrency",
                "GetFunction",
                # Without it GetFunction answers, but as if there were no tags.
                # https://docs.aws.amazon.com/lambda/latest/api/API_GetFunction.html
                "ListTags",
                "PutFunctionConcurrency",
                "TagResource",
                "UpdateFunctionCode",
                "UpdateFunctionConfiguration",
            ),
            _OURS,
        ),
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this name."""
        return self._named(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it, and wait until it can be asked."""
        body = resource.body
        made = roles.once_known(
            account,
            "lambda",
            "create_function",
            FunctionName=resource.name,
            PackageType="Image",
            Code={"ImageUri": body["image"]},
            Publish=True,
            Tags={MARK: body["deployment"]},
            **_settings(body),
        )
        what = f"the function {resource.name} to start"
        account.wait("lambda", "function_active_v2", what, FunctionName=resource.name)
        self._limit(account, resource.name, body["most_at_once"], 0)
        return {"arn": _bare(made["FunctionArn"])}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Change its settings, then its image, and publish what it is then."""
        name, body = resource.name, resource.body
        if "failed" in found.body:
            self.delete(account, found)
            return self.create(account, resource)
        account.call("lambda", "update_function_configuration", FunctionName=name, **_settings(body))
        self._settled(account, name)
        account.call(
            "lambda", "update_function_code", FunctionName=name, ImageUri=body["image"], Publish=True
        )
        self._settled(account, name)
        self._limit(account, name, body["most_at_once"], found.body["most_at_once"])
        return found.outputs

    def delete(self, account: Account, found: Found) -> None:
        """Remove it with all its versions."""
        account.gone("lambda", "delete_function", _ABSENT, FunctionName=found.name)

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        found = self._named(account, function_name(deployment))
        return [found] if found is not None and found.deployment == deployment else []

    def _settled(self, account: Account, name: str) -> None:
        account.wait(
            "lambda", "function_updated_v2", f"the function {name} to take its change", FunctionName=name
        )

    def _limit(self, account: Account, name: str, wanted: int, had: int) -> None:
        if wanted:
            account.call(
                "lambda",
                "put_function_concurrency",
                FunctionName=name,
                ReservedConcurrentExecutions=wanted,
            )
        elif had:
            account.gone("lambda", "delete_function_concurrency", _ABSENT, FunctionName=name)

    def _named(self, account: Account, name: str) -> Found | None:
        told = described(account, name)
        if told is None:
            return None
        settings = told["Configuration"]
        deployment = marked(told.get("Tags", {}))
        body = {
            "deployment": deployment,
            # One that somebody made may have no image.
            "image": told["Code"].get("ImageUri", ""),
            "role": settings["Role"],
            "memory": settings["MemorySize"],
            "timeout": settings["Timeout"],
            "temporary": settings.get("EphemeralStorage", {}).get("Size", 512),
            "environment": settings.get("Environment", {}).get("Variables", {}),
            "most_at_once": told.get("Concurrency", {}).get("ReservedConcurrentExecutions", 0),
        }
        if settings.get("State") == "Failed":
            body["failed"] = settings.get("StateReason", "")
        return Found(self.kind, name, body, deployment, {"arn": settings["FunctionArn"]})


class Url:
    """A function's address, and who may use it: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html."""

    kind = "lambda:url"
    rights = (
        Right(
            "lambda",
            (
                "AddPermission",
                "CreateFunctionUrlConfig",
                "DeleteFunctionUrlConfig",
                "GetFunctionUrlConfig",
                "RemovePermission",
                "UpdateFunctionUrlConfig",
            ),
            _OURS,
        ),
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of the function."""
        return self._of(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it, and say who may use it."""
        auth = _auth(resource.body)
        told = account.call("lambda", "create_function_url_config", FunctionName=resource.name, AuthType=auth)
        self._let_in(account, resource)
        return {"url": told["FunctionUrl"]}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Say anew who may use it."""
        auth = _auth(resource.body)
        account.call("lambda", "update_function_url_config", FunctionName=resource.name, AuthType=auth)
        self._let_in(account, resource)
        return found.outputs

    def delete(self, account: Account, found: Found) -> None:
        """Remove it."""
        account.gone("lambda", "delete_function_url_config", _ABSENT, FunctionName=found.name)

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's function."""
        if not Function().owned(account, deployment):
            return []
        found = self._of(account, function_name(deployment))
        return [found] if found is not None else []

    def _let_in(self, account: Account, resource: Resource) -> None:
        name = resource.name
        for action in ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction"):
            statement = f"public-{action.partition(':')[2]}"
            account.gone("lambda", "remove_permission", _ABSENT, FunctionName=name, StatementId=statement)
            if resource.body["public"]:
                account.call(
                    "lambda",
                    "add_permission",
                    FunctionName=name,
                    StatementId=statement,
                    Action=action,
                    Principal="*",
                    **({"FunctionUrlAuthType": "NONE"} if action.endswith("Url") else {}),
                )

    def _of(self, account: Account, name: str) -> Found | None:
        function = described(account, name)
        if function is None:
            return None
        auth = account.get("lambda", "get_function_url_config", "AuthType", _ABSENT, FunctionName=name)
        if auth is None:
            return None
        deployment = marked(function.get("Tags", {}))
        arn = function["Configuration"]["FunctionArn"]
        body = {"deployment": deployment, "public": auth == "NONE", "function": arn}
        return Found(self.kind, name, body, deployment)


def function_name(deployment: str) -> str:
    """The name of a deployment's function."""
    return f"truss-{deployment}"


def described(account: Account, name: str, version: str = "") -> Any | None:
    """What Lambda says of a function, or of a version of it."""
    qualifier = {"Qualifier": version} if version else {}
    return account.found("lambda", "get_function", _ABSENT, FunctionName=name, **qualifier)


def _auth(body: Mapping[str, Any]) -> str:
    return "NONE" if body["public"] else "AWS_IAM"


def _bare(arn: str) -> str:
    """A function's name in full, without a version."""
    return ":".join(arn.split(":")[:7])


def _settings(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Role": body["role"],
        "MemorySize": body["memory"],
        "Timeout": body["timeout"],
        "EphemeralStorage": {"Size": body["temporary"]},
        "Environment": {"Variables": body["environment"]},
    }


_KINDS = (
    repositories.ImageRepository(_SERVICE),
    secrets.Secret(),
    logs.LogGroup(_LOGS),
    roles.Role(),
    Function(),
    Url(),
)

_READING = (
    Right("lambda", ("ListFunctions",)),
    Right("lambda", ("InvokeFunction", "ListVersionsByFunction"), _OURS),
)


class LambdaPlatform(repositories.KeepsImages):
    """Lambda in an account.

    Args:
        account: The account.
    """

    service = _SERVICE

    def __init__(self, account: Account) -> None:
        super().__init__(account, _KINDS)

    def deployments(self) -> Sequence[Status]:
        """Those whose function has our mark."""
        found = self.account.listed("lambda", "list_functions", "Functions")
        ours = (one["FunctionName"] for one in found if one["FunctionName"].startswith(function_name("")))
        told = (self.status(name.removeprefix(function_name(""))) for name in sorted(ours))
        return [status for status in told if status is not None]

    def status(self, deployment: str) -> Status | None:
        """What Lambda says of the function; how many run at once is not said."""
        told = self._ours(deployment)
        if told is None:
            return None
        settings = told["Configuration"]
        state = _state(settings)
        reasons = (settings.get("StateReason"), settings.get("LastUpdateStatusReason"))
        url = self.account.get(
            "lambda",
            "get_function_url_config",
            "FunctionUrl",
            _ABSENT,
            FunctionName=function_name(deployment),
        )
        return Status(
            deployment,
            LambdaTarget.name,
            state,
            (url or "").rstrip("/"),
            told["Code"]["ImageUri"],
            int(state == "healthy"),
            1,
            tuple(filter(None, reasons)),
        )

    def logs(self, deployment: str, *, follow: bool = False, lines: int = 100) -> Iterator[str]:
        """What the function has written, of the last day."""
        yield from logs.lines_of(self.account, f"{_LOGS}{deployment}", follow=follow, lines=lines)

    def revisions(self, deployment: str) -> Sequence[Revision]:
        """The versions that were published, as far as their images are told."""
        told = self._ours(deployment)
        if told is None:
            return []
        found = list(self._versions(deployment))
        current = told["Code"]["ImageUri"]
        last = max((int(version) for version, image in found if image == current), default=0)
        return [Revision(version, image, int(version) == last) for version, image in found]

    def roll_back(self, deployment: str, revision: Revision) -> None:
        """Give the function the settings and the image of a version, as a new one."""
        name = function_name(deployment)
        then = described(self.account, name, revision.id)
        found = Function().find(self.account, Resource(Function.kind, name, {}))
        assert then is not None
        assert found is not None
        settings = then["Configuration"]
        body = {
            **found.body,
            "image": then["Code"]["ImageUri"],
            "role": settings["Role"],
            "memory": settings["MemorySize"],
            "timeout": settings["Timeout"],
            "environment": settings.get("Environment", {}).get("Variables", {}),
        }
        Function().update(self.account, Resource(Function.kind, name, body), found)

    def ask(self, deployment: str, body: bytes) -> bytes:
        """With the account's signature, past the address; the event is the body."""
        answer = self.account.call("lambda", "invoke", FunctionName=function_name(deployment), Payload=body)
        content = self.account.read(answer["Payload"], "lambda:invoke")
        if answer.get("FunctionError"):
            raise DeployError(f"the function failed: {content.decode(errors='replace')}")
        return content

    def _ours(self, deployment: str) -> Any | None:
        told = described(self.account, function_name(deployment))
        return told if told is not None and marked(told.get("Tags", {})) == deployment else None

    def _versions(self, deployment: str) -> Iterator[tuple[str, str]]:
        name = function_name(deployment)
        listed = self.account.listed("lambda", "list_versions_by_function", "Versions", FunctionName=name)
        for version in (one["Version"] for one in listed):
            told = described(self.account, name, version) if version.isdigit() else None
            if told is not None:
                yield version, told["Code"]["ImageUri"]


def _state(settings: Mapping[str, Any]) -> State:
    if "Failed" in (settings.get("State"), settings.get("LastUpdateStatus")):
        return "failed"
    busy = settings.get("State") == "Pending" or settings.get("LastUpdateStatus") == "InProgress"
    return "starting" if busy else "healthy"
