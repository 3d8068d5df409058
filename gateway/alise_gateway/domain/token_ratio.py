"""How many prompt tokens a text will have: bytes by a ratio that each model's answers teach. Pure.

The gateway has no tokenizer of the models that it serves; their answers state prompt tokens.
"""

from math import exp, isfinite, log

_USUAL_BYTES_PER_TOKEN = 4.0
"""English prose and code with the tokenizers of today's models: 3.5 to 4.5."""
_BOUNDS = (0.25, 16.0)
"""Beyond these an answer states something else than the tokens of its text (images, for one)."""
_MEMORY = 0.98
_LEAST_BYTES = 64
"""Of a shorter text the chat template is the larger part."""
_MOST_MODELS = 10_000


class TokenRatios:
    """See the module."""

    def __init__(self) -> None:
        self._log_ratios: dict[str, float] = {}

    def estimate(self, model: str, text_bytes: int) -> float:
        """Prompt tokens of a request; at least 1."""
        known = self._log_ratios.get(model)
        ratio = _USUAL_BYTES_PER_TOKEN if known is None else exp(known)
        return max(1.0, text_bytes / ratio)

    def learn(self, model: str, text_bytes: int, prompt_tokens: int) -> None:
        """An answer has stated the prompt tokens of a request."""
        if text_bytes < _LEAST_BYTES or prompt_tokens < 1:
            return
        ratio = text_bytes / prompt_tokens
        low, high = _BOUNDS
        if not (isfinite(ratio) and low <= ratio <= high):
            return
        before = self._log_ratios.get(model)
        if before is None:
            if len(self._log_ratios) >= _MOST_MODELS:
                return
            before = log(_USUAL_BYTES_PER_TOKEN)
        self._log_ratios[model] = _MEMORY * before + (1 - _MEMORY) * log(ratio)
