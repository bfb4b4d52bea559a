"""`resources`: what one copy of the model needs to run."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from truss.config.schema.section import ACCELERATOR, CPU, POSITIVE, SIZE, Section, doc


class Fabric(Section, frozen=True, kw_only=True):
    """`resources.fabric`."""

    use_rdma: Annotated[bool | None, doc("Whether to use RDMA between the nodes.")] = None
    preferences: Annotated[
        list[str] | None, doc("The network fabrics that will do, best first; `[]` needs none.")
    ] = None


class Resources(Section, frozen=True, kw_only=True):
    """`resources`."""

    cpu: Annotated[
        Annotated[str, CPU], doc("CPU cores: a number, or thousandths with the suffix `m` (`500m`).", "2022")
    ] = "1"
    memory: Annotated[
        Annotated[str, SIZE],
        doc("Main memory: a number of bytes, or a number with a unit (`512Mi`, `2G`).", "2022"),
    ] = "2Gi"
    use_gpu: Annotated[
        bool, doc("Whether the model runs on a GPU. Always true when `accelerator` is set.", "2022")
    ] = False
    accelerator: Annotated[
        Annotated[str, ACCELERATOR] | None, doc("The kind of GPU, with `:N` for more than one (`H100:8`).")
    ] = None
    instance_type: Annotated[
        str | None, doc("The name of a machine type of the platform; it then decides CPU, memory and GPU.")
    ] = None
    node_count: Annotated[
        Annotated[int, POSITIVE] | None, doc("The number of machines that serve one copy together.")
    ] = None
    fabric: Annotated[Fabric | None, doc("The network between the machines of one copy.")] = None

    def __post_init__(self) -> None:
        """Derive `use_gpu`, so that nobody has to look at two keys."""
        if self.accelerator is not None and not self.use_gpu:
            msgspec.structs.force_setattr(self, "use_gpu", True)


class TrainResources(Resources, frozen=True, kw_only=True):
    """`train.resources`: as `resources`, for the training."""


class Train(Section, frozen=True, kw_only=True):
    """`train`."""

    training_module_dir: Annotated[str, doc("The folder of the training code.", "2022")] = "train"
    training_class_filename: Annotated[str, doc("The file of the training class.", "2022")] = "train.py"
    training_class_name: Annotated[str, doc("The training class.", "2022")] = "Train"
    variables: Annotated[dict[str, Any], doc("The training's variables and their defaults.", "2022")] = {}
    resources: Annotated[TrainResources, doc("What the training needs to run.", "2022")] = msgspec.field(
        default_factory=TrainResources
    )
