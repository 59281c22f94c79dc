"""Services that moto simulates and the free edition of LocalStack does not offer.

LocalStack's own DynamoDB would download a server written in Java; ECS and ECR are not in the free
edition. Every operation goes to moto as it is.
"""

from __future__ import annotations

from localstack.aws.skeleton import Skeleton
from localstack.aws.spec import load_service
from localstack.services.moto import _proxy_moto
from localstack.services.plugins import Service, aws_provider


def _simulated(name: str) -> Service:
    model = load_service(name)
    operations = dict.fromkeys(model.operation_names, _proxy_moto)
    return Service(name=name, skeleton=Skeleton(model, operations))


@aws_provider(api="dynamodb", name="moto")
def dynamodb() -> Service:
    """Tables."""
    return _simulated("dynamodb")


@aws_provider(api="dynamodbstreams", name="moto")
def dynamodbstreams() -> Service:
    """Streams, which CloudFormation asks for."""
    return _simulated("dynamodbstreams")


@aws_provider(api="ecs")
def ecs() -> Service:
    """Clusters. Tasks are launched on the project's own stand-in, see tests/fargate."""
    return _simulated("ecs")


@aws_provider(api="ecr")
def ecr() -> Service:
    """The repository of the agent's image."""
    return _simulated("ecr")
