"""Real sockets, a real gateway, simulated engines."""

import pytest

pytest.register_assert_rewrite(
    "fakes.asking", "fakes.gateway", "fakes.raw_client", "fakes.scripted_backend"
)
