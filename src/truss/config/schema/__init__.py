"""The keys of config.yaml, as frozen types: name, type, default, description and origin of each.

The JSON schema and the reference page are made from these types, and reading is driven by them.
"""

from truss.config.schema.image import AuthFields, BaseImage, Build, DockerAuth, DockerServer
from truss.config.schema.resources import Fabric, Resources, Train, TrainResources
from truss.config.schema.runtime import (
    Authentication,
    Batching,
    EgressRestrictions,
    Grpc,
    HealthChecks,
    Logging,
    Oidc,
    Queue,
    RemoteSsh,
    Runtime,
    Timeouts,
    Tracing,
    Transport,
)
from truss.config.schema.section import Complaint, Section
from truss.config.schema.signature import Column, Signature, Tensor
from truss.config.schema.trt_llm import BisLlm, TrtLlm
from truss.config.schema.truss_config import TrussConfig
from truss.config.schema.weights import (
    Bdn,
    CachedRepo,
    ExternalDataItem,
    TrainingCheckpoints,
    WeightsAuth,
    WeightsSource,
)

__all__ = [
    "AuthFields",
    "Authentication",
    "BaseImage",
    "Batching",
    "Bdn",
    "BisLlm",
    "Build",
    "CachedRepo",
    "Column",
    "Complaint",
    "DockerAuth",
    "DockerServer",
    "EgressRestrictions",
    "ExternalDataItem",
    "Fabric",
    "Grpc",
    "HealthChecks",
    "Logging",
    "Oidc",
    "Queue",
    "RemoteSsh",
    "Resources",
    "Runtime",
    "Section",
    "Signature",
    "Tensor",
    "Timeouts",
    "Tracing",
    "Train",
    "TrainResources",
    "TrainingCheckpoints",
    "Transport",
    "TrtLlm",
    "TrussConfig",
    "WeightsAuth",
    "WeightsSource",
]
