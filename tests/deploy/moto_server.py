"""moto's server, and the two places where it is not as AWS documents: `python moto_server.py --port PORT`.

- SageMaker's UpdateEndpoint is not in it: an endpoint takes the variants of another config at once.
- A published version of a Lambda function changes with the function: here it keeps the image it had.
"""

import sys

from moto.awslambda.models import LambdaFunction
from moto.core.responses import ActionResult
from moto.sagemaker.models import FakeEndpoint
from moto.sagemaker.responses import SageMakerResponse
from moto.server import main


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

if __name__ == "__main__":
    main(sys.argv[1:])
