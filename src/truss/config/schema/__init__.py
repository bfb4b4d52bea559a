"""The keys of config.yaml, as frozen types: name, type, default, description and origin of each.

The JSON schema and the reference page are made from these types, and reading is driven by them.
"""

from truss.config.schema.image import AuthFields, BaseImage, Build, DockerAuth, DockerServer
from truss.config.schema.resources import Fabric, Resources, Train, TrainResources
from truss.config.schema.runtime import (
    Batching,
    EgressRestrictions,
    HealthChecks,
    Oidc,
    Queue,
    RemoteSsh,
    Runtime,
    Timeouts,
    Transport,
)
from truss.config.schema.section import Complaint, Section
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
    "BaseImage",
    "Batching",
    "Bdn",
    "BisLlm",
    "Build",
    "CachedRepo",
    "Complaint",
    "DockerAuth",
    "DockerServer",
    "EgressRestrictions",
    "ExternalDataItem",
    "Fabric",
    "HealthChecks",
    "Oidc",
    "Queue",
    "RemoteSsh",
    "Resources",
    "Runtime",
    "Section",
    "Timeouts",
    "Train",
    "TrainResources",
    "TrainingCheckpoints",
    "Transport",
    "TrtLlm",
    "TrussConfig",
    "WeightsAuth",
    "WeightsSource",
]
