"""How long a process that keeps ending waits for its next start, as arithmetic and on a real server."""

import os
import re
import signal

from hypothesis import given
from hypothesis import strategies as st

from truss.runtime.backoff import seconds_before_restart
from truss.testing.server import running_server

CRASHES = """
    import os

    class Model:
        def load(self):
            if os.path.exists(os.environ["CRASH"]):
                os._exit(7)
        def predict(self, request):
            return os.getpid()
"""


def test_the_first_replacement_starts_at_once_and_the_others_ever_later():
    waits = [seconds_before_restart(failures) for failures in range(9)]
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]


@given(st.integers(1, 10**9))
def test_waits_grow_up_to_a_minute_however_long_it_lasts(failures):
    wait, longer = seconds_before_restart(failures), seconds_before_restart(failures + 1)
    assert 0.5 <= wait <= 60
    assert longer == min(2 * wait, 60)


def test_a_worker_that_keeps_dying_is_given_ever_more_time_until_it_answers(make_truss, tmp_path):
    crash = tmp_path / "crash"
    environment = {**os.environ, "CRASH": str(crash)}

    def waits():
        return re.findall(r"worker 0 is started again in (\S+) s", "".join(server.log))

    with running_server(make_truss(CRASHES), environment=environment) as server:
        crash.touch()
        os.kill(server.predict({}).json(), signal.SIGKILL)
        server.wait_until(lambda: waits() == ["0.5", "1"], "does not wait longer each time")
        crash.unlink()
        server.wait_until(lambda: server.predict({}).status == 200, "does not answer again")
        waited = len(waits())
        os.kill(server.predict({}).json(), signal.SIGKILL)
        server.wait_until(lambda: server.predict({}).status == 200, "does not answer again")
        assert len(waits()) == waited
