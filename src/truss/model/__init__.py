"""The user's model class: found, imported in isolation, constructed, its steps run.

What a notebook, a worker and a golden request share.
"""

from truss.model.fingerprint import Fingerprint, fingerprint
from truss.model.loader import ModelSource, check_model, load_model
from truss.model.secrets import Secrets
from truss.model.steps import LoadedModel, Steps
from truss.model.values import encode_json, to_plain

__all__ = [
    "Fingerprint",
    "LoadedModel",
    "ModelSource",
    "Secrets",
    "Steps",
    "check_model",
    "encode_json",
    "fingerprint",
    "load_model",
    "to_plain",
]
