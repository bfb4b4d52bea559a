"""Google's resources as Terraform writes them: those of Cloud Run.

https://registry.terraform.io/providers/hashicorp/google/latest/docs. It has none for a model of Vertex AI.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from truss.deploy.google import identity, secrets
from truss.deploy.google.account import marks
from truss.deploy.plan import Output, Plan, Resource
from truss.deploy.terraform import Block, Form, Joined, Own, Provider, Variable, snake_case, with_terraform


def written(plan: Plan, image: str, project: str, region: str) -> Plan:
    """A plan with its configuration among its files.

    Args:
        plan: The plan.
        image: What it runs.
        project: The project; empty: the one that Terraform's provider finds.
        region: The region.
    """
    settings = {
        "project": ("The project; by default the one of the credentials.", project),
        "region": ("The region.", region),
    }
    return with_terraform(plan, _PROVIDER, image, settings)


def _service_account(one: Resource) -> Iterator[Block]:
    said = snake_case(identity.described(one.body["deployment"]))
    yield Block("google_service_account", {"account_id": one.name, **said})


def _secret(one: Resource) -> Iterator[Block]:
    body = one.body
    kept = {"secret_id": one.name, "replication": {"auto": {}}, "labels": marks(body["deployment"])}
    yield Block("google_secret_manager_secret", kept)
    # A copy reads a version by its number: the next one is there before the last one goes.
    succeeded = {"create_before_destroy": True}
    value = {"secret": Own("id"), "secret_data": body["value"], "lifecycle": succeeded}
    yield Block("google_secret_manager_secret_version", value)
    readers = [Joined(("serviceAccount:", body["reader"]))]
    read = {"secret_id": Own("id"), "role": secrets.READER, "members": readers}
    yield Block("google_secret_manager_secret_iam_binding", read)


def _service(one: Resource) -> Iterator[Block]:
    body = one.body
    said = {
        "name": one.name,
        "location": Variable("region"),
        "labels": marks(body["deployment"]),
        "ingress": body["ingress"],
        "template": snake_case(body["template"], free=("labels", "limits")),
        "traffic": snake_case(body["traffic"]),
        # It can be removed, as with `truss destroy`.
        "deletion_protection": False,
    }
    yield Block("google_cloud_run_v2_service", said)


def _invokers(one: Resource) -> Iterator[Block]:
    service = f"run:service/{one.name}"
    # Where nobody else may, the deployment's own account may, as with `truss deploy`.
    nobody = Joined(("serviceAccount:", identity.email_of(one.body["deployment"])))
    said = {
        "name": Output(service, "name"),
        "location": Output(service, "location"),
        "role": "roles/run.invoker",
        "member": "allUsers" if one.body["public"] else nobody,
    }
    yield Block("google_cloud_run_v2_service_iam_member", said)


_FORMS: Mapping[str, Form] = {
    identity.ServiceAccount.kind: Form(_service_account, {"email": "google_service_account.{label}.email"}),
    secrets.Secret.kind: Form(_secret, {"version": "google_secret_manager_secret_version.{label}.version"}),
    "run:service": Form(
        _service,
        {
            "name": "google_cloud_run_v2_service.{label}.name",
            "location": "google_cloud_run_v2_service.{label}.location",
        },
        shown=lambda _: {"url": Own("uri")},
    ),
    "run:invokers": Form(_invokers),
}

_PROVIDER = Provider("google", "hashicorp/google", "~> 6.50", _FORMS)
