"""Which backends the tests can try here."""

import pytest

from jobs.parts.model.backends.choice import Backend, BackendName


def require_backend(name: BackendName) -> None:
    """Skip the test where the backend is not installed. Not `pytest.importorskip`: an import of OpenVINO tells its
    maker of it.
    """
    if missing := Backend(name).missing():
        pytest.skip(f"{', '.join(missing)} is not installed")
