"""Replies of ``/v1/completions`` as vLLM 0.32 writes them."""

from typing import Any

from alise_bench.sim.api.generation import Generation
from alise_bench.sim.api.outputs import Output
from alise_bench.sim.api.rendering import (
    DONE,
    FINGERPRINT,
    FINGERPRINT_FIELD,
    Totals,
    encode_json,
    openai_usage,
    quoted,
    sse,
    whole_usage,
)
from alise_bench.sim.engine import Gain
from alise_bench.sim.kv_dtype import TokenLogprobs, decoded, prompt_logprobs
from alise_bench.sim.sequence import FinishReason
from alise_bench.sim.text import END_OF_TEXT, sampler


class CompletionRenderer:
    """Writes one text completion."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._head = {
            "id": generation.reply_id,
            "object": "text_completion",
            "created": generation.created,
            "model": generation.model,
        }
        self._prefix = b"data: " + encode_json(self._head)[:-1] + b',"choices":[{"index":'

    def opening(self) -> bytes:
        """Nothing precedes the first token."""
        return b""

    def first(self) -> bytes:
        """A text completion has no role."""
        return b""

    def gain(self, gain: Gain, completed: int) -> bytes:
        """One event with the new text."""
        output = self._generation.outputs[gain.choice]
        reason = stop = b"null"
        if gain.finish is not None:
            reason, stop = quoted(gain.finish.value), encode_json(output.stop_reason)
        event = (
            b'%b%d,"text":%b,"logprobs":null,"finish_reason":%b,"stop_reason":%b,'
            b'"prompt_token_ids":null,"token_ids":null}]'
        ) % (
            self._prefix,
            gain.choice,
            quoted(output.text(gain.start, gain.count)),
            reason,
            stop,
        )
        if self._generation.continuous_usage:
            usage = openai_usage(Totals(self._generation.prompt_tokens, completed))
            event += b',"usage":' + encode_json(usage)
        if gain.finish is not None and not self._generation.include_usage:
            event += FINGERPRINT_FIELD
        return event + b"}\n\n"

    def ending(self, totals: Totals) -> bytes:
        """The usage event, if asked for, and the end mark."""
        if not self._generation.include_usage:
            return DONE
        usage = {"usage": openai_usage(totals), "system_fingerprint": FINGERPRINT}
        return sse({**self._head, "choices": [], **usage}) + DONE

    def whole(self, totals: Totals) -> dict[str, Any]:
        """The ``text_completion`` object."""
        scoring = self._generation.scoring
        choices = [
            {
                "index": index,
                "text": output.whole,
                "logprobs": None,
                "finish_reason": output.finish.value,
                "stop_reason": output.stop_reason,
                "token_ids": self._token_ids(output),
                "prompt_logprobs": self._prompt_logprobs(self._prompt(index)),
                "prompt_token_ids": self._prompt(index) if scoring.token_ids else None,
                "routed_experts": None,
            }
            for index, output in enumerate(self._generation.outputs)
        ]
        return {
            **self._head,
            "choices": choices,
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": whole_usage(totals),
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": None,
        }

    def _prompt(self, choice: int) -> tuple[int, ...]:
        generation = self._generation
        return generation.prompts[choice * len(generation.prompts) // len(generation.outputs)]

    def _token_ids(self, output: Output) -> list[int] | None:
        if not self._generation.scoring.token_ids:
            return None
        sample = sampler(output.seed)
        ids = [sample(index) for index in range(output.tokens)]
        if output.finish is FinishReason.STOP and output.stop_reason is None:
            ids[-1] = END_OF_TEXT
        return ids

    def _prompt_logprobs(self, prompt: tuple[int, ...]) -> list[dict[str, Any] | None] | None:
        scoring = self._generation.scoring
        if scoring.prompt_logprobs is None:
            return None
        found = prompt_logprobs(prompt, scoring.prompt_logprobs, scoring.dtype)
        return [None if place is None else _entry(place) for place in found]


def _entry(place: TokenLogprobs) -> dict[str, Any]:
    own = (place.token, place.logprob, place.rank)
    listed = [(token, logprob, rank) for rank, (token, logprob) in enumerate(place.top, 1)]
    # Its own token comes first and once, as in vLLM.
    rows = [own, *(row for row in listed if row[0] != place.token)]
    return {
        str(token): {"logprob": logprob, "rank": rank, "decoded_token": decoded(token)}
        for token, logprob, rank in rows
    }
