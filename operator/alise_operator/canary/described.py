"""What the tuner is told of a workload before it decides. Pure."""

from dataclasses import replace
from datetime import UTC, datetime

from alise_core.crds.kv_cache_policy import KVCachePolicySpec, TierSizing, TuningMode
from alise_operator.canary.arguments import read_argument, write_argument
from alise_operator.canary.goals import KV_CACHE_DTYPE, TIER_BYTES, goal_of
from alise_operator.canary.plan import State, look
from alise_operator.canary.record import Record
from alise_operator.canary.seen import Seen
from alise_operator.canary.words import CommandLine, Refused
from alise_operator.canary.workload import Raw, fields_of, vllm_container
from alise_operator.decide.raw import mapping_at, sequence_at, text_at
from alise_operator.tuning.observed import Workload
from alise_operator.tuning.plan import Restart, SetDtype, SetTierBytes
from alise_operator.tuning.platforms import same_dtype

_WORD = f"{KV_CACHE_DTYPE}="


def workload_of(workload: Raw) -> Workload | None:
    """What a person changes to set another dtype; ``None`` where it is not clear what runs vLLM."""
    template = mapping_at(mapping_at(workload, "spec"), "template")
    try:
        container = vllm_container(template)
    except Refused:
        return None
    line = fields_of(template, container).line
    containers = sequence_at(mapping_at(template, "spec"), "containers")
    place = next((at for at, word in enumerate(line.args or ()) if word.startswith(_WORD)), None)
    return Workload(
        kind=text_at(workload, "kind"),
        name=text_at(mapping_at(workload, "metadata"), "name"),
        container=[text_at(one, "name") for one in containers].index(container),
        dtype_argument=place,
        dtype=dtype_in(line),
        listed=_is_listed(line, place),
        tier_bytes=tier_in(line),
    )


def dtype_in(line: CommandLine) -> str | None:
    """The dtype that vLLM is started with; ``None`` where that is not understood."""
    try:
        return read_argument(line, KV_CACHE_DTYPE) or "auto"
    except Refused:
        return None


def tier_in(line: CommandLine) -> int | None:
    """The size of the plugin's tier that vLLM is started with; ``None`` where it is not said."""
    try:
        size = read_argument(line, TIER_BYTES) or ""
    except Refused:
        return None
    return int(size) if size.isascii() and size.isdigit() else None


def obstacle(spec: KVCachePolicySpec, seen: Seen, now: float) -> str:
    """Why nothing can be changed that restarts pods; empty where it can, or nothing should."""
    if spec.mode is not TuningMode.AUTO:
        return ""
    try:
        line = fields_of(seen.template, vllm_container(seen.template)).line
    except Refused as refused:
        return str(refused)
    action = _another(spec, line)
    if action is None:
        return ""
    # Nobody is in the way for good: what is looked for is what would not change by itself.
    found = look(spec, goal_of(action), replace(seen, paused=False), now)
    return found.text if found.state is State.REFUSED else ""


def _another(spec: KVCachePolicySpec, line: CommandLine) -> Restart | None:
    """Something that pods are not started with, and may be."""
    has = dtype_in(line)
    other = next((one for one in spec.dtypes.ladder if not same_dtype(one, has)), None)
    if other is not None:
        return SetDtype(other, 1)
    tier, size = spec.host_tier, tier_in(line)
    if tier.sizing is not TierSizing.RESTART or tier.max_bytes is None or size is None:
        return None
    return SetTierBytes(size + 1, size, 1)


def held_text(record: Record, now: float) -> str:
    """What failed and is not tried again yet."""
    return "; ".join(
        f"{held.name} failed {held.failures} times, not again before "
        f"{datetime.fromtimestamp(int(held.until), UTC):%Y-%m-%dT%H:%M:%SZ}: {held.why}"
        for held in record.holds
        if held.until > now
    )


def _is_listed(line: CommandLine, place: int | None) -> bool:
    """One more word, or one word in the place of another, is all that a change takes."""
    args, after = line.args, f"{_WORD}fp8"
    if args is None:
        return False
    meant = (*args, after) if place is None else (*args[:place], after, *args[place + 1 :])
    try:
        return write_argument(line, KV_CACHE_DTYPE, "fp8") == CommandLine(line.command, meant)
    except Refused:
        return False
