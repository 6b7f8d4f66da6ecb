import tarfile

import pytest


@pytest.fixture(scope="session")
def bad_inputs(shared, tmp_path_factory):
    """The collection of damaged folders and tables, unpacked afresh."""
    folder = tmp_path_factory.mktemp("bad")
    with tarfile.open(shared / "data" / "bad-inputs.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "bad-inputs"
