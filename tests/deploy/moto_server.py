"""moto's server, and the places where it is not as AWS documents: `python moto_server.py --port PORT`.

- SageMaker's UpdateEndpoint is not in it: an endpoint takes the variants of another config at once.
- A published version of a Lambda function changes with the function: here it keeps the image it had.
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
from moto.core.responses import ActionResult
from moto.ec2.models import EC2Backend
from moto.ecs.responses import EC2ContainerServiceResponse
from moto.sagemaker.models import FakeEndpoint
from moto.sagemaker.responses import SageMakerResponse
from moto.server import main

every = json.loads(moto.iam.models.aws_managed_policies_data)
some = {name: policy for name, policy in every.items() if policy["Path"] == "/service-role/"}
moto.iam.models.aws_managed_policies_data = json.dumps(some)


def update_endpoint(self: SageMakerResponse) -> ActionResult:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html"""
    backend = self.sagemaker_backend
    name, config = self._get_param("EndpointName"), self._get_param("EndpointConfigName")
    endpoint: FakeEndpoint = backend.endpoints[name]
    variants = backend.describe_endpoint_config(config)["ProductionVariants"]
    endpoint.endpoint_config_name = config
    endpoint.production_variants = endpoint._process_production_variants(variants)
    return ActionResult({"EndpointArn": endpoint.arn})


SageMakerResponse.update_endpoint = update_endpoint

set_code = LambdaFunction._set_function_code


def set_code_of_this_version(self: LambdaFunction, spec: dict) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-versions.html"""
    self.code = dict(self.code)
    set_code(self, spec)


LambdaFunction._set_function_code = set_code_of_this_version

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
