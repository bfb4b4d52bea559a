"""Deploying a Truss: what it would be on a platform, as a plan; and making the platform so.

A target plans without credentials, network or the platform's packages; only its `connect` needs them.
"""

from truss.deploy.apply import apply, compare, destroy, make
from truss.deploy.changes import Action, Change, change_lines
from truss.deploy.options import describe, from_words, read_options
from truss.deploy.plan import File, Output, Plan, Price, Resource, SecretValue
from truss.deploy.registry import target_named, targets
from truss.deploy.release import Release, check_name, name_of
from truss.deploy.target import (
    ArchiveTarget,
    Feature,
    Found,
    Options,
    PermittedTarget,
    Platform,
    Revision,
    Status,
    Storage,
    Stores,
    Target,
    option,
)

__all__ = [
    "Action",
    "ArchiveTarget",
    "Change",
    "Feature",
    "File",
    "Found",
    "Options",
    "Output",
    "PermittedTarget",
    "Plan",
    "Platform",
    "Price",
    "Release",
    "Resource",
    "Revision",
    "SecretValue",
    "Status",
    "Storage",
    "Stores",
    "Target",
    "apply",
    "change_lines",
    "check_name",
    "compare",
    "describe",
    "destroy",
    "from_words",
    "make",
    "name_of",
    "option",
    "read_options",
    "target_named",
    "targets",
]
