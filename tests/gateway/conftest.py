"""Tests of the gateway's parts; a few run a whole one."""

import pytest

pytest.register_assert_rewrite("fakes.gateway", "fakes.raw_client", "fakes.scripted_backend")
