"""moto's server, and the places where it is not as AWS documents: `python moto_server.py --port PORT`.

- SageMaker's UpdateEndpoint is not in it: an endpoint takes the variants of another config at once.
- A config must not be deleted while an endpoint changes from it to another: here that is refused until the
  endpoint was seen in service.
- An asynchronous endpoint reads no request, puts answers into a bucket of its own, and answers at once as
  well: here it reads the request, puts answers where its config says, and does not.
- A published version of a Lambda function changes with the function: here it keeps the image it had.
- A function of Lambda runs in a container: here none runs, and a test says what it answers.
- A function of Lambda always starts, and takes every change: here not with an image whose digest is zeros.
- A service of ECS forgets its capacity providers: here it tells of them.
- The tags of a launch template are told as those of what it launches as well: here they are not.
- A group that is removed by force leaves machines running that are protected: here it stops them.
- Machines of a group always start: here those of the type p5 do not, for want of a quota.

And of the policies that AWS has made it has those of services only: to read all takes seconds at every reset.
"""

import json
import sys
from datetime import datetime, timezone

import moto.iam.models
from moto.autoscaling.responses import AutoScalingResponse
from moto.awslambda.models import LambdaFunction
from moto.core.config import default_user_config
from moto.core.responses import ActionResult
from moto.ec2.models import EC2Backend
from moto.ecs.responses import EC2ContainerServiceResponse
from moto.s3.models import s3_backends
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import FakeEndpoint, SageMakerModelBackend, sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemakerruntime.models import SageMakerRuntimeBackend
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse
from moto.server import main

every = json.loads(moto.iam.models.aws_managed_policies_data)
some = {name: policy for name, policy in every.items() if policy["Path"] == "/service-role/"}
moto.iam.models.aws_managed_policies_data = json.dumps(some)

default_user_config["lambda"] = {"use_docker": False}


changing: dict[str, str] = {}
"""The endpoints that were updated and not looked at since, each with the config that it had before."""


def update_endpoint(self: SageMakerResponse) -> ActionResult:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html"""
    backend = self.sagemaker_backend
    name, config = self._get_param("EndpointName"), self._get_param("EndpointConfigName")
    endpoint: FakeEndpoint = backend.endpoints[name]
    variants = backend.describe_endpoint_config(config)["ProductionVariants"]
    changing[name] = endpoint.endpoint_config_name
    endpoint.endpoint_config_name = config
    endpoint.production_variants = endpoint._process_production_variants(variants)
    return ActionResult({"EndpointArn": endpoint.arn})


SageMakerResponse.update_endpoint = update_endpoint

describe_endpoint = SageMakerModelBackend.describe_endpoint
delete_endpoint_config = SageMakerModelBackend.delete_endpoint_config


def describe_endpoint_in_service(self: SageMakerModelBackend, endpoint_name: str) -> dict:
    """Its change is complete."""
    changing.pop(endpoint_name, None)
    return describe_endpoint(self, endpoint_name)


def delete_endpoint_config_of_no_change(self: SageMakerModelBackend, endpoint_config_name: str) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteEndpointConfig.html"""
    if endpoint_config_name in changing.values():
        raise ValidationError(message=f"{endpoint_config_name} is in use while an endpoint is updated.")
    delete_endpoint_config(self, endpoint_config_name)


SageMakerModelBackend.describe_endpoint = describe_endpoint_in_service
SageMakerModelBackend.delete_endpoint_config = delete_endpoint_config_of_no_change


def output_of(runtime: SageMakerRuntimeBackend, endpoint: str) -> dict:
    """Where an endpoint puts answers."""
    sagemaker = sagemaker_backends[runtime.account_id][runtime.region_name]
    config = sagemaker.endpoint_configs[sagemaker.endpoints[endpoint].endpoint_config_name]
    return (config.async_inference_config or {}).get("OutputConfig", {})


invoke_endpoint = SageMakerRuntimeResponse.invoke_endpoint


def invoke_endpoint_that_is_not_asynchronous(self: SageMakerRuntimeResponse) -> tuple:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html"""
    name = self.path.split("/")[2]
    if output_of(self.sagemakerruntime_backend, name):
        raise ValidationError(message=f"Endpoint {name} is asynchronous.")
    return invoke_endpoint(self)


SageMakerRuntimeResponse.invoke_endpoint = invoke_endpoint_that_is_not_asynchronous

invoke_endpoint_async = SageMakerRuntimeBackend.invoke_endpoint_async


def invoke_endpoint_async_by_its_config(
    self: SageMakerRuntimeBackend, endpoint_name: str, input_location: str
) -> tuple:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-invoke-endpoint.html"""
    s3, output = s3_backends[self.account_id][self.partition], output_of(self, endpoint_name)
    if s3.get_object(*parts(input_location)) is None:
        raise ValidationError(message=f"There is nothing at {input_location}.")
    name, locations = input_location.rpartition("/")[2], []
    for made, place in zip(
        invoke_endpoint_async(self, endpoint_name, input_location),
        (f"{output['S3OutputPath']}/{name}.out", f"{output['S3FailurePath']}/{name}-error.out"),
        strict=True,
    ):
        if found := s3.get_object(*parts(made)):
            s3.put_object(*parts(place), value=found.value)
        locations.append(place)
    return tuple(locations)


def parts(location: str) -> list:
    """The bucket and the key of `s3://BUCKET/KEY`."""
    return location.removeprefix("s3://").split("/", 1)


SageMakerRuntimeBackend.invoke_endpoint_async = invoke_endpoint_async_by_its_config

set_code = LambdaFunction._set_function_code


def set_code_of_this_version(self: LambdaFunction, spec: dict) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-versions.html"""
    is_new = spec is self.code
    self.code = dict(self.code)
    set_code(self, spec)
    self.last_update_failed = is_broken(self) and not is_new
    if is_new and is_broken(self):
        self.state = "Failed"


LambdaFunction._set_function_code = set_code_of_this_version


def is_broken(function: LambdaFunction) -> bool:
    """Whether a function is of an image that Lambda cannot start."""
    return function.code.get("ImageUri", "").endswith("0" * 64)


get_configuration = LambdaFunction.get_configuration


def get_configuration_with_reasons(self: LambdaFunction, on_create: bool = False) -> dict:
    """https://docs.aws.amazon.com/lambda/latest/api/API_FunctionConfiguration.html"""
    told, why = get_configuration(self, on_create), "The image cannot be read."
    if self.state == "Failed":
        return told | {"StateReason": why, "StateReasonCode": "InvalidImage"}
    if self.last_update_failed:
        return told | {"LastUpdateStatus": "Failed", "LastUpdateStatusReason": why}
    return told


LambdaFunction.get_configuration = get_configuration_with_reasons

update_configuration = LambdaFunction.update_configuration


def update_configuration_as_an_update(self: LambdaFunction, config_updates: dict) -> dict:
    """https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionConfiguration.html"""
    self.last_update_failed = False
    return update_configuration(self, config_updates)


LambdaFunction.update_configuration = update_configuration_as_an_update

create_service = EC2ContainerServiceResponse.create_service


def create_service_with_its_strategy(self: EC2ContainerServiceResponse) -> ActionResult:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Service.html"""
    made = create_service(self)
    strategy = self._get_param("capacityProviderStrategy")
    if strategy:
        made.result["service"].launch_type = None
        made.result["service"].capacity_provider_strategy = strategy
    return made


EC2ContainerServiceResponse.create_service = create_service_with_its_strategy

create_launch_template = EC2Backend.create_launch_template


def create_launch_template_of_its_data(
    self: EC2Backend, name: str, text: str, data: dict, tags: dict
) -> object:
    """https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_LaunchTemplateTagSpecificationRequest.html"""
    every = data.pop("TagSpecifications", [])
    data["TagSpecifications"] = [one for one in every if one["ResourceType"] != "launch-template"]
    return create_launch_template(self, name, text, data, tags)


EC2Backend.create_launch_template = create_launch_template_of_its_data


delete_group = AutoScalingResponse.delete_auto_scaling_group


def delete_group_with_its_machines(self: AutoScalingResponse) -> ActionResult:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteAutoScalingGroup.html"""
    group = self.autoscaling_backend.autoscaling_groups.get(self._get_param("AutoScalingGroupName"))
    if group is not None and self._get_bool_param("ForceDelete", False):
        for machine in group.instance_states:
            machine.protected_from_scale_in = False
    return delete_group(self)


AutoScalingResponse.delete_auto_scaling_group = delete_group_with_its_machines


def describe_scaling_activities(self: AutoScalingResponse) -> ActionResult:
    """https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-instancelaunchfailure.html"""
    name = self._get_param("AutoScalingGroupName")
    group = self.autoscaling_backend.autoscaling_groups[name]
    if not group.ec2_launch_template.latest_version().instance_type.startswith("p5"):
        return ActionResult({"Activities": []})
    failed = {
        "ActivityId": "1",
        "AutoScalingGroupName": name,
        "Cause": "the group was made",
        "StartTime": datetime.now(timezone.utc),
        "StatusCode": "Failed",
        "StatusMessage": "You have requested more vCPU capacity than your current vCPU limit of 0 allows"
        " for the instance bucket that the specified instance type belongs to.",
    }
    return ActionResult({"Activities": [failed]})


AutoScalingResponse.describe_scaling_activities = describe_scaling_activities

if __name__ == "__main__":
    main(sys.argv[1:])
