"""What platforms say to the program of a container."""

import pytest

from truss.config import Timeouts
from truss.runtime.container import main
from truss.runtime.platform import Platform, platform_of
from truss.runtime.stopping import Ending


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["train"], {}, "takes no arguments but `serve`"),
        (["serve", "--workers", "1"], {}, "takes no arguments but `serve`"),
        (["serve", "--port"], {}, "takes no arguments but `serve`"),
        (["--port", "http"], {}, "--port is 'http'"),
        ([], {"PORT": "http"}, "PORT is 'http'"),
        ([], {"AIP_HTTP_PORT": "0"}, "AIP_HTTP_PORT is '0'"),
        ([], {"PORT": "70000"}, "PORT is '70000'"),
        ([], {"TRUSS_GRACE_SECONDS": "nan"}, "TRUSS_GRACE_SECONDS is 'nan'"),
        ([], {"TRUSS_DIR": "/nowhere"}, "/nowhere"),
    ],
)
def test_what_cannot_be_is_said_and_ends_it(arguments, variables, said, capsys):
    assert main(arguments, variables) != 0
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "variables", "port"),
    [
        ([], {}, 8080),
        (["serve"], {}, 8080),
        ([], {"PORT": ""}, 8080),
        ([], {"AIP_HTTP_PORT": "9000"}, 9000),
        ([], {"AWS_LWA_PORT": "9001"}, 9001),
        (["serve"], {"SAGEMAKER_BIND_TO_PORT": "9002"}, 9002),
        ([], {"CONTAINER_APP_PORT": "9006"}, 9006),
        ([], {"WEBSITES_PORT": "9007"}, 9007),
        ([], {"PORT": "9003", "AIP_HTTP_PORT": "9000"}, 9003),
        (["--port", "9004"], {"PORT": "9003"}, 9004),
        (["--http_port=9005", "--model_name=iris"], {}, 9005),
    ],
)
def test_the_port_is_the_first_that_somebody_said(arguments, variables, port):
    assert platform_of(arguments, variables).port == port


def test_a_name_may_be_given():
    assert platform_of(["--model_name", "iris"], {}).model_name == "iris"
    assert platform_of([], {"TRUSS_MODEL_NAME": "iris"}).model_name == "iris"


@pytest.mark.parametrize(
    ("variables", "ending"),
    [
        ({}, (30, 2)),
        ({"FLY_APP_NAME": "a"}, (3, 1.5)),
        ({"K_SERVICE": "a"}, (8, 2)),
        ({"TRUSS_GRACE_SECONDS": "12"}, (10, 2)),
        ({"TRUSS_GRACE_SECONDS": "2"}, (0, 0)),
    ],
)
def test_the_end_takes_no_longer_than_the_platform_waits(variables, ending):
    """And new connections are taken for two seconds of it, or half where it is short."""
    assert platform_of([], variables).ending(Timeouts()) == Ending(*ending)


def test_nobody_is_waited_for_where_nobody_shares_requests_out():
    assert Platform(balanced=False).ending(Timeouts()) == Ending(30, 0)


@pytest.mark.parametrize(
    ("timeouts", "notice"),
    [(Timeouts(notice=10), 10), (Timeouts(notice=20), 15), (Timeouts(notice=0), 0), (Timeouts(grace=0), 0)],
)
def test_how_long_connections_are_taken_may_be_said(timeouts, notice):
    assert Platform().ending(timeouts) == Ending(timeouts.grace, notice)
