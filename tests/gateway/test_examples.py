"""The gateway configurations that users start from are configurations."""

from pathlib import Path

import pytest

from alise_gateway.settings import load_settings

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("gateway*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_it_loads(file: Path) -> None:
    settings = load_settings(file, {})
    assert settings.backends
