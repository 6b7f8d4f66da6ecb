"""The watched process reports what the other modules rely on: programs, connections, and code in pickles."""

import pickle
import socket
import subprocess
from functools import partial

import pytest

from tests.support.hostile import CANARY, PICKLED

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("command", "event"),
    [
        (partial(subprocess.run, ["true"]), "subprocess.Popen"),
        (partial(socket.create_connection, ("127.0.0.1", 9)), "socket.getaddrinfo"),
    ],
)
def test_watched_process_reports_programs_and_connections(command, event, observed, tmp_path):
    assert event in observed(command, [], {}, tmp_path).events


def test_planted_pickle_creates_the_canary_where_it_is_unpickled(observed, tmp_path):
    observed(partial(pickle.loads, PICKLED), [], {}, tmp_path)
    CANARY.rmdir()
