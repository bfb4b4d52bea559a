"""Asynchronous endpoints of SageMaker: a request is put into a bucket, and its answer comes to one.

https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html
"""

from __future__ import annotations

from uuid import uuid4

from truss.deploy.aws import patience
from truss.deploy.aws.account import Account
from truss.deploy.aws.permissions import Conditions, Right
from truss.errors import DeployError

_BELOW: Conditions = {"StringLike": {"s3:prefix": ["truss-*/*", "*/truss-*/*"]}}

RIGHTS = (
    Right("sagemaker", ("InvokeEndpointAsync",), ("endpoint/truss-*",)),
    Right("s3", ("DeleteObject", "GetObject", "PutObject"), ("*/truss-*/*",)),
    # Whoever may not list a bucket is told that they may not read what is not there yet.
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    Right("s3", ("ListBucket",), ("*",), _BELOW),
)


def places(answers: str, deployment: str) -> dict[str, str]:
    """Where an endpoint puts answers, and the reasons where there are none, as SageMaker takes it.

    Args:
        answers: The user's folder, as `s3://BUCKET/FOLDER`.
        deployment: The deployment, which has a folder of its own in it.
    """
    place = f"{answers.rstrip('/')}/truss-{deployment}"
    return {"S3OutputPath": place, "S3FailurePath": f"{place}/failures"}


def ask(account: Account, endpoint: str, place: str, body: bytes) -> bytes:
    """The answer of an endpoint to a JSON body; nothing of either stays in the bucket.

    https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-invoke-endpoint.html

    Args:
        account: The account.
        endpoint: The endpoint's name.
        place: Where it puts answers; the request is put below that.
        body: The body.

    Raises:
        DeployError: the endpoint fails, in its words; or no answer comes in time.
    """
    request = f"{place}/requests/{uuid4()}.json"
    account.call("s3", "put_object", **_object(request), Body=body, ContentType="application/json")
    told = account.call(
        "sagemaker-runtime",
        "invoke_endpoint_async",
        EndpointName=endpoint,
        InputLocation=request,
        ContentType="application/json",
    )
    failure = told.get("FailureLocation", "")
    come = _first_of(account, [told["OutputLocation"], *filter(None, [failure])], endpoint)
    content = account.read(account.call("s3", "get_object", **_object(come))["Body"], "s3:get_object")
    for one in (request, come):
        account.call("s3", "delete_object", **_object(one))
    if come == failure:
        raise DeployError(
            f"the endpoint failed: {content.decode(errors='replace')}", hint="see what it wrote: `truss logs`"
        )
    return content


def _first_of(account: Account, locations: list[str], endpoint: str) -> str:
    """The object of several that is there first."""
    come: list[str] = []

    def is_there() -> bool:
        come.extend(one for one in locations if _is_there(account, one))
        return bool(come)

    patience.until(is_there, f"the answer of {endpoint}")
    return come[0]


def _is_there(account: Account, location: str) -> bool:
    found = _object(location)
    listed = account.call("s3", "list_objects_v2", Bucket=found["Bucket"], Prefix=found["Key"], MaxKeys=1)
    return [one["Key"] for one in listed.get("Contents", ())] == [found["Key"]]


def _object(location: str) -> dict[str, str]:
    """`s3://BUCKET/KEY` as S3's calls name it."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}
