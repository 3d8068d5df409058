import pytest

from alise_core.errors import ConfigError
from alise_vllm.compat import TESTED, require_tested


@pytest.mark.parametrize("found", [*TESTED, TESTED[0] + "+cpu", TESTED[0] + "+cu128.g1234"])
def test_a_tested_version_is_taken_however_it_was_built(found: str) -> None:
    require_tested(found, "a part")


@pytest.mark.parametrize("found", ["0.31.9", "0.32.1", "0.33.0+cpu", "0.320.0", "dev", ""])
def test_any_other_is_refused_in_one_line(found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_tested(found, "a part")

    assert str(caught.value) == (
        f"a part is tested with vLLM 0.32.0 and this is vLLM {found}; install vllm==0.32.0, "
        "or start without a part"
    )
