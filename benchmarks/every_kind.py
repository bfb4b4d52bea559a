"""For pytest: measures the environments of every kind of object in the adapters' suites, not of one each."""

from truss.testing.environments import OwnEnvironment
from truss.testing.frameworks import FrameworkConformance

MEASURED = OwnEnvironment.test_no_captured_requirement_can_be_done_without


def pytest_configure() -> None:
    """Give the check to all suites."""
    setattr(FrameworkConformance, MEASURED.__name__, MEASURED)
