"""Steps of a set length, as a logits processor of vLLM's V1 model runner.

For benchmarks on machines without an accelerator: a tiny model on a CPU takes as long for a step as
a large one elsewhere, and leaves the CPU to whatever else is measured meanwhile. Everything but the
arithmetic is vLLM's own: scheduler, memory, HTTP.

Loaded only when asked for: ``--logits-processors alise_vllm.pace:PacedSteps``, with the length in
``--additional-config '{"alise": {"step_seconds": 0.02}}'``.
"""

import time
from typing import TYPE_CHECKING

from alise_core.errors import ConfigError
from alise_vllm.pacer import Pacer
from alise_vllm.settings import read_step_seconds

try:
    from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
except ImportError as error:
    raise ConfigError(
        "alise_vllm.pace runs inside vLLM and needs the logits processors of its V1 model runner, "
        f"as vLLM 0.32 has them: {error}"
    ) from error

if TYPE_CHECKING:
    import torch
    from vllm.config import VllmConfig


class PacedSteps(LogitsProcessor):
    """Waits once a step; changes no logits.

    Raises:
        ConfigError: The length of a step is missing or wrong; the server does not start.
    """

    def __init__(
        self, vllm_config: "VllmConfig", device: "torch.device", is_pin_memory: bool
    ) -> None:
        step_seconds = read_step_seconds(vllm_config.additional_config)
        self._pacer = Pacer(step_seconds, time.monotonic, time.sleep)

    def is_argmax_invariant(self) -> bool:
        """No, although it is: one that is gets left out where all sampling is greedy."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Nothing depends on who is in the batch."""

    def apply(self, logits: "torch.Tensor") -> "torch.Tensor":
        """Called once a step, when it has been computed."""
        self._pacer.step()
        return logits
