"""The process that reads hostile files, and what it must do with every one of them."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.support.hostile import CANARY, Workspace, make_good, observe, start_watching
from tlcore.cli import main

MEGABYTES = 300
"""The most memory that a case may take beside what the process takes without it."""
CHARACTERS = 20_000
"""The most that a message may have, whatever it quotes."""


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    return make_good(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="session")
def observed():
    """Return a function that runs a command in the watched process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=start_watching) as pool:
        yield lambda *given: pool.submit(observe, *given).result()


@pytest.fixture
def check(observed, good, tmp_path):
    """Return a function that fails where `tl` executes a hostile file, opens a socket, or reports it badly."""

    def check(case):
        work = Workspace(tmp_path, good)
        arguments = case.build(work)
        code, output, events, megabytes = observed(main, arguments, work.environ, tmp_path)
        executed = CANARY.exists()
        if executed:
            CANARY.rmdir()  # so that only this case fails
        assert not executed
        assert events == [], "it opened a connection or started a program"
        assert code in case.codes, output
        assert case.message in output
        assert "Traceback" not in output
        assert sum(line.startswith("error:") for line in output.splitlines()) == (code != 0)
        assert len(output) < CHARACTERS
        assert megabytes <= MEGABYTES

    return check
