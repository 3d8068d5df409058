"""What the demo sends and when: pure, and the same for the same seed.

Real prompts with their recorded answer lengths, in a shuffled order, arriving in bursts.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import msgspec

from alise_core.errors import ConfigError


class SamplePrompt(msgspec.Struct, frozen=True):
    """One row of the bundled sample (see ``bench/alise_bench/data/README.md``)."""

    id: str
    prompt: str
    output_tokens: int
    model: str
    source: str

    @property
    def messages(self) -> list[dict[str, str]]:
        """As a chat."""
        return [{"role": "user", "content": self.prompt}]


@dataclass(frozen=True, slots=True)
class Limits:
    """Which prompts an engine can take.

    Attributes:
        prompt_chars: Longer prompts are left out.
        output_tokens: Longer answers are cut to this.
    """

    prompt_chars: int = 100_000
    output_tokens: int = 100_000


def sample_path() -> str:
    """Where the bundled sample lies; the simulator replays lengths from it."""
    return str(resources.files("alise_bench.data") / "sample_prompts.jsonl")


def read_sample() -> list[SamplePrompt]:
    """The bundled sample.

    Raises:
        ConfigError: The file is damaged.
    """
    text = (resources.files("alise_bench.data") / "sample_prompts.jsonl").read_bytes()
    decoder = msgspec.json.Decoder(SamplePrompt)
    try:
        return decoder.decode_lines(text)
    except msgspec.DecodeError as error:
        raise ConfigError(f"the bundled sample is damaged: {error}") from error


def choose(
    sample: Sequence[SamplePrompt], count: int, seed: int, limits: Limits
) -> list[SamplePrompt]:
    """``count`` prompts in a shuffled order; the sample repeats when it is shorter.

    Raises:
        ConfigError: No prompt is within the limits.
    """
    fitting = [
        msgspec.structs.replace(row, output_tokens=min(row.output_tokens, limits.output_tokens))
        for row in sample
        if len(row.prompt) <= limits.prompt_chars
    ]
    if not fitting:
        raise ConfigError(f"no prompt has at most {limits.prompt_chars} characters")
    random.Random(seed).shuffle(fitting)  # noqa: S311
    return [fitting[position % len(fitting)] for position in range(count)]


def bursty_arrivals(count: int, seconds: float, cv: float, seed: int) -> list[float]:
    """Ascending arrival times of a renewal process with Gamma-distributed gaps.

    Args:
        count: Arrivals, at least 1.
        seconds: The last one comes at this time, the first one at 0.
        cv: Coefficient of variation of the gaps before they are stretched to ``seconds``: 1 is
            Poisson, more is burstier.
        seed: Of the gaps.

    Source: Gamma-distributed inter-arrival times with CV > 1 describe production LLM traffic
    (ServeGen, arXiv:2505.09999, section 3).
    """
    if count < 1 or seconds <= 0 or cv <= 0:
        raise ValueError("count, seconds and cv must be positive")
    shape = 1 / cv**2
    generator = random.Random(seed)  # noqa: S311
    marks = [0.0]
    for _ in range(count - 1):
        marks.append(marks[-1] + generator.gammavariate(shape, 1.0))
    stretch = seconds / marks[-1] if marks[-1] > 0 else 0.0
    return [min(mark * stretch, seconds) for mark in marks]


def chat_body(row: SamplePrompt, model: str) -> bytes:
    """The JSON of one streamed chat request, which does not tell its answer's length.

    Args:
        row: Prompt and answer length; engines know the length by themselves, as a real model would.
        model: The served model's name.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": row.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(body).encode()
