"""From a routed request to its place in the queue, and from its answer to what is learned of it.

Puts together what classify, predict and the answers of earlier requests know: class, deadline,
affinity, tool calls, prompt tokens, predicted length. One for all requests; runs on the event loop.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from math import log1p

from alise_core.clock import Clock
from alise_core.policy import OrderingName
from alise_core.prediction import LengthDistribution
from alise_core.wire import headers as names
from alise_core.wire.openai import Endpoint
from alise_gateway.classify.affinity import affinity_of
from alise_gateway.classify.tiers import Classified, priority_field
from alise_gateway.classify.tool_calls import ToolCalls, ToolTurn
from alise_gateway.discovery.registry import BackendRegistry
from alise_gateway.domain.affinity import NO_AFFINITY
from alise_gateway.domain.backend import Backend
from alise_gateway.domain.content import ContentFields
from alise_gateway.domain.cost_model import Served
from alise_gateway.domain.policies import Policies
from alise_gateway.domain.request import InferenceRequest, RawHeaders, Tenant
from alise_gateway.domain.token_ratio import TokenRatios
from alise_gateway.proxy.engine_hints import EngineHints, with_hints
from alise_gateway.queueing.events import Ticket, TicketListener

_NO_IDEA_TOKENS = (29, 39, 74, 246, 444, 560, 730)
"""Output tokens at each of a distribution's levels in a gateway that does not predict: all requests
are then alike but for their limits and prompts.

Source: quantiles of ``output_tokens`` in bench/alise_bench/data/sample_prompts.jsonl."""
_NO_IDEA = tuple(map(log1p, _NO_IDEA_TOKENS))
_NO_IDEA_RANGE = (1, 8_192)
_TOLD_LEVELS = (0.5, 0.9)
"""Of the predicted length, as the engine plugin is told it."""
_EPOCH_UNIX_SECONDS = 1_735_689_600.0
"""2025-01-01: ranks that are times count milliseconds from here, and fit their band until 2059."""
_RANKS_BY_TIME = frozenset({OrderingName.FCFS, OrderingName.BOOST})
_RANK_OFFSET = 64.0
_RANK_STEPS = 1_024.0
"""Ranks that are logarithms of sizes lie within +-64 and are told apart by a thousandth."""


@dataclass(frozen=True, slots=True)
class Routed:
    """A request that is understood.

    Attributes:
        inference: As it was parsed.
        served: Name under which backends serve its model.
        tenant: Who pays.
        classified: Its class, deadline and flow.
    """

    inference: InferenceRequest
    served: str
    tenant: Tenant
    classified: Classified


@dataclass(slots=True)
class Filed:
    """What is kept of a request while it is under way.

    Attributes:
        routed: It.
        ticket: Its place in the queue.
        text_bytes: Of its prompt.
        turn: Of a tool conversation.
        sent: Monotonic mark of its last dispatch.
        began_with: Requests in flight on its backend then, itself included.
    """

    routed: Routed
    ticket: Ticket
    text_bytes: int
    turn: ToolTurn | None
    sent: float = 0.0
    began_with: float = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """What a complete answer stated and when it came.

    Attributes:
        prompt_tokens: As its engine counted.
        cached_tokens: Those of them that a prefix cache held.
        output_tokens: As its engine counted.
        first_token: Monotonic mark; ``None`` where it was not streamed.
        last_token: Monotonic mark.
    """

    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    first_token: float | None
    last_token: float


class TicketOffice:
    """See the module.

    Args:
        registry: Knows the context window of each model.
        policies: By what the queue ranks now.
        clock: Dates ranks, so that they mean the same to other gateways.
        send_priority: Tell engines the rank of each request.
        send_prediction: Tell engines with the plugin what is known of each request.
    """

    def __init__(
        self,
        registry: BackendRegistry,
        policies: Callable[[], Policies],
        clock: Clock,
        *,
        send_priority: bool,
        send_prediction: bool,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._send_priority = send_priority
        self._send_prediction = send_prediction
        self._policies = policies
        self._ratios = TokenRatios()
        self._tools = ToolCalls()
        self._numbers = count()

    def file(
        self, routed: Routed, headers: RawHeaders, listener: TicketListener, now: float
    ) -> Filed:
        """A ticket for a request, without its prediction; reads its content."""
        inference, served, tenant = routed.inference, routed.served, routed.tenant
        classified = routed.classified
        content = inference.content or ContentFields()
        text_bytes = _text_bytes(content, len(inference.body))
        affinity, turn = NO_AFFINITY, None
        if inference.endpoint is not Endpoint.EMBEDDINGS:
            affinity = affinity_of(content, headers, inference.model, tenant.id)
            turn = self._tools.arrived(content, tenant.id, inference.model, now)
        slo = classified.slo_ttft_seconds
        ticket = Ticket(
            next(self._numbers),
            served,
            listener,
            now,
            tenant=tenant,
            service_class=classified.service_class,
            flow=classified.flow,
            prompt_tokens=self._prompt_tokens(served, text_bytes),
            prediction=self._no_idea(inference),
            deadline=None if slo is None else now + slo,
            affinity=affinity,
            affinity_ttl_seconds=None if turn is None else turn.returns_within_seconds,
            tools=None if turn is None else turn.use,
        )
        return Filed(routed, ticket, text_bytes, turn)

    def sent(self, filed: Filed, backend: Backend, now: float) -> RawHeaders:
        """A request goes to a backend.

        Returns: The header fields that tell the engine its rank, by which goes what does not fit
            there.
        """
        filed.sent = now
        filed.began_with = backend.batch
        if filed.routed.classified.keeps_priority:
            return []
        if not self._send_priority:
            # vLLM lets this header overrule the body, which travels as it came.
            states_one = filed.routed.inference.client_priority
            return [(names.VLLM_PRIORITY, b"0")] if states_one else []
        rank = self._engine_rank(filed.ticket)
        return [(names.VLLM_PRIORITY, priority_field(filed.ticket.service_class, rank))]

    def told(self, filed: Filed, backend: Backend, *, predicts: bool) -> bytes:
        """The body as it goes to a backend: one with the plugin is told what is known.

        Args:
            filed: The request.
            backend: Where it goes.
            predicts: Its ticket holds a prediction of its own length.
        """
        routed, known = filed.routed, filed.ticket.prediction
        inference = routed.inference
        # What has no prediction has no length either: an embedding.
        if not (backend.has_plugin and self._send_prediction) or known is None:
            return inference.body
        median, high = (max(1, round(known.quantile(level))) for level in _TOLD_LEVELS)
        hints = EngineHints(
            (median, high) if predicts else None,
            None if routed.classified.keeps_priority else filed.ticket.service_class.rank,
        )
        may_schedule = routed.tenant.may_schedule
        return with_hints(inference.body, hints, inference.stated_xargs, client_wins=may_schedule)

    def answered(self, filed: Filed, backend: Backend, answer: Answered, now: float) -> None:
        """A request's answer is complete: learn how long its backend took and what it counted."""
        first, last = answer.first_token, answer.last_token
        backend.cost.observe(
            Served(
                prompt_tokens=answer.prompt_tokens,
                cached_tokens=answer.cached_tokens,
                output_tokens=answer.output_tokens,
                ttft_seconds=None if first is None else first - filed.sent,
                decode_seconds=None if first is None else last - first,
                total_seconds=last - filed.sent,
                batch=(filed.began_with + backend.batch) / 2,
            )
        )
        self._ratios.learn(filed.ticket.model, filed.text_bytes, answer.prompt_tokens)
        if filed.turn is not None:
            self._tools.finished(filed.turn, now)

    def _engine_rank(self, ticket: Ticket) -> int:
        """A ticket's rank as the non-negative integer that engines are told, lower is earlier.

        Ranks of one gateway mean the same to all others: times count from an epoch, sizes are
        absolute.
        """
        ordering = self._policies().of(ticket.model).ordering
        epoch = self._clock.now() - self._clock.unix() + _EPOCH_UNIX_SECONDS
        if ordering.name in _RANKS_BY_TIME:
            return max(0, round((ticket.rank - epoch) * 1_000))
        rank, half_life = ticket.rank, ordering.aging_half_life_seconds
        if half_life is not None:
            rank -= epoch / half_life  # it aged by a clock that counts from who knows when
        return max(0, round((rank + _RANK_OFFSET) * _RANK_STEPS))

    def _prompt_tokens(self, served: str, text_bytes: int) -> float:
        tokens = self._ratios.estimate(served, text_bytes)
        for backend in self._registry.candidates(served):
            longest = backend.models[served].max_model_len
            if longest is not None:
                return min(tokens, float(longest))
        return tokens

    @staticmethod
    def _no_idea(inference: InferenceRequest) -> LengthDistribution | None:
        if inference.endpoint is Endpoint.EMBEDDINGS:
            return None
        return LengthDistribution.of(_NO_IDEA, *_NO_IDEA_RANGE, inference.max_tokens)


def _text_bytes(content: ContentFields, body_bytes: int) -> int:
    """Bytes of everything that the model reads; the whole body where that is not known."""
    fields = (
        content.messages,
        content.prompt,
        content.input,
        content.system,
        content.instructions,
        content.tools,
        content.functions,
    )
    # An absent field is the four bytes of ``null``.
    found = sum(len(field) for field in fields if len(field) > 4)  # noqa: PLR2004
    return found or body_bytes
