"""Replay of recorded output lengths, as a logits processor of vLLM's V1 model runner.

Loaded only when asked for: ``--logits-processors alise_vllm.replay:ReplayLengths``, with the file
named as ``alise_vllm.settings`` says. A prompt that the file knows gets an answer of exactly the
recorded tokens with ``finish_reason`` "stop", whatever the model would like to say; the client's
``max_tokens`` cuts earlier, its ``min_tokens`` ends later. Left alone are prompts that the file
does not know, requests with ``ignore_eos`` (which nothing can end) and those with structured
output (whose grammar says where they end). A client's ``stop`` strings still end an answer early.

Every engine has a table of its own: the rows of a repeated prompt are taken in turn per engine.
vLLM itself refuses processors together with speculative decoding, and processors of this kind
under its V2 model runner (``VLLM_USE_V2_MODEL_RUNNER=0`` chooses V1).
"""

from typing import TYPE_CHECKING

from alise_core.errors import ConfigError
from alise_vllm.batch import Asked, ReplayBatch
from alise_vllm.settings import read_lengths

try:
    from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality
except ImportError as error:
    raise ConfigError(
        "alise_vllm.replay runs inside vLLM and needs the logits processors of its V1 model "
        f"runner, as vLLM 0.32 has them: {error}"
    ) from error

if TYPE_CHECKING:
    import torch
    from vllm.config import VllmConfig
    from vllm.sampling_params import SamplingParams

IMPOSSIBLE = float("-inf")


class ReplayLengths(LogitsProcessor):
    """Bars the tokens that end an answer until its last one, and allows nothing else there.

    Raises:
        ConfigError: The file of lengths is missing or wrong; the server does not start.
    """

    def __init__(
        self, vllm_config: "VllmConfig", device: "torch.device", is_pin_memory: bool
    ) -> None:
        self._batch = ReplayBatch(read_lengths(vllm_config.additional_config))

    def is_argmax_invariant(self) -> bool:
        """No: greedy sampling has to see it too."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the batch before a forward pass; None when nothing changed."""
        if batch_update is None:
            return
        self._batch.update(
            batch_update.removed,
            [(row, _asked(*request)) for row, *request in batch_update.added],
            [
                (source, target, direction is MoveDirectionality.SWAP)
                for source, target, direction in batch_update.moved
            ],
        )

    def apply(self, logits: "torch.Tensor") -> "torch.Tensor":
        """Change the logits in place, one row a request, and return them."""
        barred, ending = self._batch.barred(), self._batch.ending()
        if barred:
            rows, tokens = map(list, zip(*barred, strict=True))
            logits[rows, tokens] = IMPOSSIBLE
        if ending:
            rows, tokens = map(list, zip(*ending, strict=True))
            logits[rows] = IMPOSSIBLE
            logits[rows, tokens] = 0.0
        return logits


def _asked(params: "SamplingParams", prompt: list[int] | None, output: list[int]) -> Asked | None:
    """What is asked, or None when the request cannot be replayed."""
    # Without a token that ends it (ignore_eos), or with embeddings in place of a prompt.
    if params.eos_token_id is None or prompt is None or params.structured_outputs is not None:
        return None
    return Asked(
        prompt=prompt,
        output=output,
        end_token=params.eos_token_id,
        stop_tokens=frozenset(params.all_stop_token_ids),
        min_tokens=params.min_tokens,
        max_tokens=params.max_tokens,
    )
