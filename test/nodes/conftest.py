from __future__ import annotations

import pytest
from node_processes import Client


@pytest.fixture(scope="module")
def client():
    client = Client()
    yield client
    client.close()
