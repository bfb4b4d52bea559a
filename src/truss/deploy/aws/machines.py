"""EC2's machines with GPUs: which of them holds a copy, and how many of them a deployment has."""

from __future__ import annotations

import math
from dataclasses import dataclass

from truss.deploy.release import Release
from truss.deploy.sizes import GIB, Size, enough, gibibytes
from truss.errors import PlanError

AS_OF = "2025-11"
"""The day of the price list."""

DISK_GIB_MONTH = 0.08
"""Dollars of a `gp3` disk in us-east-1: https://aws.amazon.com/ebs/pricing/."""


def _machine(name: str, cpu: int, gib: int, gpu: str, gpus: int, hourly: float = 0.0) -> Size:
    # Of its memory, a sixteenth is left to its system and to ECS's agent, which register less than there is:
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/memory-management.html
    return Size(name, cpu, gib * GIB * 15 // 16, gpu, gpus, hourly)


# https://aws.amazon.com/ec2/instance-types/ and https://aws.amazon.com/ec2/pricing/on-demand/, us-east-1,
# Linux: dollars an hour; the cheapest first, those without a price here last. The V100 is not among them:
# Nvidia's drivers after branch 580 are not for it, and machines start with ECS's newest image.
MACHINES = (
    _machine("g4dn.xlarge", 4, 16, "T4", 1, 0.526),
    _machine("g4dn.2xlarge", 8, 32, "T4", 1, 0.752),
    _machine("g6.xlarge", 4, 16, "L4", 1, 0.8048),
    _machine("g6.2xlarge", 8, 32, "L4", 1, 0.9776),
    _machine("g5.xlarge", 4, 16, "A10G", 1, 1.006),
    _machine("g4dn.4xlarge", 16, 64, "T4", 1, 1.204),
    _machine("g5.2xlarge", 8, 32, "A10G", 1, 1.212),
    _machine("g6.4xlarge", 16, 64, "L4", 1, 1.3232),
    _machine("g5.4xlarge", 16, 64, "A10G", 1, 1.624),
    _machine("g6e.xlarge", 4, 32, "L40S", 1, 1.861),
    _machine("g6.8xlarge", 32, 128, "L4", 1, 2.0144),
    _machine("g4dn.8xlarge", 32, 128, "T4", 1, 2.176),
    _machine("g6e.2xlarge", 8, 64, "L40S", 1, 2.24208),
    _machine("g5.8xlarge", 32, 128, "A10G", 1, 2.448),
    _machine("g6e.4xlarge", 16, 128, "L40S", 1, 3.00424),
    _machine("g6.16xlarge", 64, 256, "L4", 1, 3.3968),
    _machine("g4dn.12xlarge", 48, 192, "T4", 4, 3.912),
    _machine("g5.16xlarge", 64, 256, "A10G", 1, 4.096),
    _machine("g4dn.16xlarge", 64, 256, "T4", 1, 4.352),
    _machine("g6e.8xlarge", 32, 256, "L40S", 1, 4.52856),
    _machine("g6.12xlarge", 48, 192, "L4", 4, 4.6016),
    _machine("g5.12xlarge", 48, 192, "A10G", 4, 5.672),
    _machine("g6.24xlarge", 96, 384, "L4", 4, 6.6752),
    _machine("g6e.16xlarge", 64, 512, "L40S", 1, 7.57719),
    _machine("g4dn.metal", 96, 384, "T4", 8, 7.824),
    _machine("g5.24xlarge", 96, 384, "A10G", 4, 8.144),
    _machine("g6e.12xlarge", 48, 384, "L40S", 4, 10.49264),
    _machine("g6.48xlarge", 192, 768, "L4", 8, 13.3504),
    _machine("g6e.24xlarge", 96, 768, "L40S", 4, 15.06559),
    _machine("g5.48xlarge", 192, 768, "A10G", 8, 16.288),
    _machine("p4d.24xlarge", 96, 1152, "A100_40GB", 8, 21.957642),
    _machine("p4de.24xlarge", 96, 1152, "A100", 8, 27.44705),
    _machine("g6e.48xlarge", 192, 1536, "L40S", 8, 30.13118),
    _machine("p5.48xlarge", 192, 2048, "H100", 8, 55.04),
    _machine("p5en.48xlarge", 192, 2048, "H200", 8, 63.296),
    _machine("p6-b200.48xlarge", 192, 2048, "B200", 8),
    _machine("p6-b300.48xlarge", 192, 4096, "B300", 8),
)


@dataclass(frozen=True)
class Machines:
    """What a deployment's copies run on.

    Attributes:
        size: One machine.
        copies: How many copies there is room for on one.
        gpus: How many GPUs a copy has.
        disk: Gigabytes of the disk of each.
    """

    size: Size
    copies: int
    gpus: int
    disk: int

    @property
    def share(self) -> Size:
        """What a copy has of a machine: all of it, if there is one copy."""
        cpu, memory = self.size.cpu / self.copies, self.size.memory // self.copies
        return Size(self.size.name, cpu, memory, self.size.gpu, self.gpus)

    @property
    def hourly(self) -> float:
        """The list price of one with its disk, in dollars an hour; 0: not known."""
        return self.size.hourly and self.size.hourly + self.disk * DISK_GIB_MONTH / 730

    def count(self, copies: int) -> int:
        """How many machines so many copies take."""
        return math.ceil(copies / self.copies)

    def note(self) -> str:
        """What a person should know of the choice."""
        share = self.share
        what = f"{share.cpu:g} CPU, {gibibytes(share.memory)} and {self.gpus} {share.gpu}"
        whose = "to itself" if self.copies == 1 else f"with up to {self.copies - 1} more"
        price = f"${self.size.hourly:g} an hour" if self.size.hourly else "a price that is not known here"
        dated = f" (list price of {AS_OF} in us-east-1)" if self.size.hourly else ""
        return f"a copy has a machine {self.size.name} of EC2 {whose}, {what}, at {price}{dated}"


def machines(release: Release, disk: int) -> Machines:
    """The cheapest machines that a release's copies fit on.

    Args:
        release: What is to be deployed; it asks for GPUs.
        disk: Gigabytes of the disk of each.

    Raises:
        PlanError: no machine is enough, or a disk is smaller than the image that machines start from.
    """
    gpus = release.accelerator
    assert gpus is not None
    if disk < _SMALLEST_DISK:
        raise PlanError(
            f"a machine's disk of {disk} GB holds no more than its own system",
            where="deploy.ecs.disk",
            hint=f"give it {_SMALLEST_DISK} GB and room for the model's image twice",
        )
    try:
        size, _ = enough(release, MACHINES, "EC2")
    except PlanError as error:
        error.hint = f"{error.hint}; machines of your own: --capacity-provider NAME"
        raise
    copies = min(size.gpus // gpus.count, int(size.cpu / release.cpu), size.memory // release.memory)
    return Machines(size, copies, gpus.count, disk)


_SMALLEST_DISK = 30
"""Gigabytes of the image: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-optimized_AMI.html."""
