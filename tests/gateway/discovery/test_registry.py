from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.errors import ConfigError
from alise_core.units import BackendName
from alise_gateway.discovery.catalogue import Target
from alise_gateway.discovery.registry import REMEMBER_SECONDS, BackendRegistry, Member
from alise_gateway.domain.backend import Backend, BackendAddress, ProbeState, ServedModel
from alise_gateway.domain.breaker import BreakerState
from alise_gateway.settings import (
    AliasSetting,
    AliasTarget,
    BackendSettings,
    GatewaySettings,
    HealthSettings,
    QueueSettings,
)
from fakes.clock import FakeClock

URLS = ("http://127.0.0.1:9001", "http://127.0.0.1:9002")


def models(*names: str) -> dict[str, ServedModel]:
    return {name: ServedModel(name, 8192, 1, "vllm") for name in names}


def registry(
    *urls: str,
    clock: FakeClock | None = None,
    aliases: Mapping[str, AliasSetting] | None = None,
    fallbacks: dict[str, str] | None = None,
) -> BackendRegistry:
    backends = tuple(BackendSettings(url=url) for url in urls or URLS)
    settings = GatewaySettings(backends=backends, aliases=aliases or {}, fallbacks=fallbacks or {})
    return BackendRegistry(settings, clock or FakeClock())


@pytest.mark.parametrize(
    ("url", "name", "back"),
    [
        ("http://127.0.0.1:9001", "127.0.0.1:9001", "http://127.0.0.1:9001"),
        ("http://engine/", "engine:80", "http://engine:80"),
        ("https://engine/llm/", "engine:443/llm", "https://engine:443/llm"),
        ("http://[::1]:9001", "[::1]:9001", "http://[::1]:9001"),
    ],
)
def test_addresses_come_from_urls(url: str, name: str, back: str) -> None:
    (backend,) = registry(url).backends
    assert backend.name == name
    assert backend.address.url == back
    assert backend.probe is ProbeState.UNKNOWN


def test_limits_come_from_settings() -> None:
    settings = GatewaySettings(
        backends=(BackendSettings(url=URLS[0], max_in_flight=7), BackendSettings(url=URLS[1])),
        queue=QueueSettings(max_in_flight_per_backend=99),
        health=HealthSettings(breaker_failures=1, breaker_open_seconds=3),
    )
    first, second = BackendRegistry(settings, FakeClock()).backends
    assert (first.max_in_flight, second.max_in_flight) == (7, 99)
    first.breaker.failed(0.0)
    assert first.breaker.state(2.9) is BreakerState.OPEN
    assert second.breaker.state(2.9) is BreakerState.CLOSED


def test_the_key_is_read_from_its_file_and_kept_out_of_sight(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("engine-secret\n")
    settings = GatewaySettings(backends=(BackendSettings(url=URLS[0], api_key_file=path),))
    (backend,) = BackendRegistry(settings, FakeClock()).backends
    assert backend.address.api_key == "engine-secret"
    assert "engine-secret" not in repr(backend)


@pytest.mark.parametrize("content", [None, b"", b"two words", b"two\nlines", b"\xff"])
def test_an_unusable_key_file_stops_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    settings = GatewaySettings(backends=(BackendSettings(url=URLS[0], api_key_file=path),))
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9001.*api_key_file"):
        BackendRegistry(settings, FakeClock())


def test_wrong_aliases_stop_the_start() -> None:
    with pytest.raises(ConfigError, match="stands for itself"):
        registry(aliases={"a": "a"})


def test_wrong_fallbacks_stop_the_start() -> None:
    with pytest.raises(ConfigError, match="falls back to itself"):
        registry(fallbacks={"a": "a"})


def test_an_alias_wins_over_a_model_of_the_same_name() -> None:
    subject = registry(aliases={"gpt-4": "llama"})
    first, _ = subject.backends
    subject.set_models(first, models("gpt-4"))
    assert subject.resolve("gpt-4") is None
    subject.set_models(first, models("gpt-4", "llama"))
    assert subject.resolve("gpt-4") == "llama"


def split(**weights: int) -> tuple[AliasTarget, ...]:
    return tuple(AliasTarget(model=model, weight=weight) for model, weight in weights.items())


KEYS = [b"%d" % number for number in range(50)]


def sides(subject: BackendRegistry, usable: Callable[[str], bool] | None = None) -> set[str | None]:
    return {subject.resolve("chat", key, usable) for key in KEYS}


def test_a_split_is_among_the_usable_ones_or_else_among_the_listed_ones() -> None:
    subject = registry(aliases={"chat": split(a=1, b=1, c=1), "one": split(a=1)})
    first, second = subject.backends
    assert sides(subject) == {None}
    assert subject.is_split("chat")
    assert not subject.is_split("one")
    assert not subject.is_split("a")
    subject.set_models(first, models("a"))
    subject.set_models(second, models("b"))
    assert sides(subject) == {"a", "b"}
    assert sides(subject, lambda name: name == "b") == {"b"}
    assert sides(subject, lambda _: False) == {"a", "b"}
    subject.remove(second.name)
    assert sides(subject) == {"a"}
    subject.remove(first.name)
    # Nobody is there, but both were a moment ago.
    assert sides(subject) == {"a", "b"}


def test_fallbacks_are_found_behind_aliases() -> None:
    subject = registry(
        aliases={"nick": "a", "chat": split(a=1, b=1, c=1)}, fallbacks={"a": "x", "c": "y"}
    )
    assert subject.fallbacks("a") == subject.fallbacks("nick") == (("a", "x"),)
    assert subject.fallbacks("chat") == (("a", "x"), ("c", "y"))
    assert subject.fallbacks("x") == ()


@given(
    st.sets(st.sampled_from("abcd")),
    st.dictionaries(st.sampled_from("wx"), st.sampled_from("abcd")),
)
def test_listed_is_what_resolves(served: set[str], aliases: dict[str, str]) -> None:
    subject = registry(aliases=aliases | {"chat": split(a=1, b=2)})
    subject.set_models(subject.backends[0], models(*served))
    listed = {entry.name for entry in subject.known_models()}
    assert listed == {name for name in [*"abcdwx", "chat"] if subject.resolve(name) is not None}


def test_candidates_are_all_that_list_the_model_whatever_their_health() -> None:
    subject = registry(aliases={"alias": "m"})
    first, second = subject.backends
    subject.set_models(first, models("m", "n"))
    subject.set_models(second, models("m"))
    subject.set_probe(second, ProbeState.UNHEALTHY, "refused")
    assert subject.candidates("m") == (first, second)
    assert subject.candidates("n") == (first,)
    assert subject.candidates("alias") == ()
    assert subject.resolve("alias") == "m"
    assert subject.resolve("m") == "m"
    assert subject.resolve("z") is None
    assert [entry.name for entry in subject.known_models()] == ["alias", "m", "n"]


def test_unknown_model_and_nothing_known_yet_are_told_apart() -> None:
    subject = registry()
    first, second = subject.backends
    assert not subject.has_catalogue
    subject.set_probe(first, ProbeState.UNHEALTHY, "refused")
    assert not subject.has_catalogue
    assert subject.resolve("m") is None
    subject.set_models(second, {})
    assert subject.has_catalogue


def test_a_model_stays_known_while_its_backends_are_down() -> None:
    subject = registry()
    first, second = subject.backends
    subject.set_models(first, models("m"))
    for backend in (first, second):
        subject.set_probe(backend, ProbeState.UNHEALTHY, "refused")
    assert subject.resolve("m") == "m"
    assert len(subject.known_models()) == 1


def test_a_model_that_its_only_backend_gave_up_is_unknown() -> None:
    subject = registry()
    first, _ = subject.backends
    subject.set_models(first, models("old"))
    subject.set_models(first, models("new"))
    assert subject.resolve("old") is None
    assert subject.candidates("old") == ()


def test_models_of_removed_backends_are_remembered_for_a_while() -> None:
    clock = FakeClock()
    subject = registry(URLS[0], clock=clock, aliases={"alias": "m"})
    (backend,) = subject.backends
    subject.set_models(backend, models("m"))
    subject.remove(backend.name)
    assert backend.removed
    assert subject.backends == ()
    assert subject.candidates("m") == ()
    clock.advance(REMEMBER_SECONDS - 1)
    assert subject.resolve("alias") == "m"
    assert [entry.name for entry in subject.known_models()] == ["alias", "m"]
    clock.advance(1)
    assert subject.resolve("alias") is None
    assert subject.known_models() == ()
    assert subject.has_catalogue


def test_a_model_that_came_back_lives_with_its_new_backend() -> None:
    subject = registry(URLS[0])
    subject.set_models(subject.backends[0], models("m"))
    subject.remove(subject.backends[0].name)
    again = subject.add(BackendSettings(url=URLS[0]))
    subject.set_models(again, models("m"))
    assert subject.resolve("m") == "m"
    subject.set_models(again, models("n"))
    assert subject.resolve("m") is None


def test_adding_twice_is_refused_and_removing_the_unknown_ignored() -> None:
    subject = registry()
    with pytest.raises(ConfigError, match="more than once"):
        subject.add(BackendSettings(url=URLS[0]))
    subject.remove(BackendName("nobody:1"))
    assert len(subject.backends) == 2


def test_an_added_backend_is_a_new_one() -> None:
    subject = registry(URLS[0])
    (old,) = subject.backends
    old.in_flight = 3
    subject.remove(old.name)
    new = subject.add(BackendSettings(url=URLS[0]))
    assert new is not old
    assert (new.in_flight, new.removed, new.probe) == (0, False, ProbeState.UNKNOWN)


def test_subscribers_hear_of_what_matters_once_and_see_it_done() -> None:
    subject = registry()
    first, _ = subject.backends
    seen: list[tuple[int, ProbeState, tuple[Backend, ...]]] = []

    def look() -> None:
        seen.append((len(subject.backends), first.probe, subject.candidates("m")))

    end = subject.subscribe(look)
    subject.set_probe(first, ProbeState.HEALTHY, None)
    subject.set_probe(first, ProbeState.HEALTHY, "slow")
    subject.set_models(first, models("m"))
    subject.set_models(first, models("m"))
    subject.add(BackendSettings(url="http://127.0.0.1:9003"))
    subject.remove(first.name)
    assert seen == [
        (2, ProbeState.HEALTHY, ()),
        (2, ProbeState.HEALTHY, (first,)),
        (3, ProbeState.HEALTHY, (first,)),
        (2, ProbeState.HEALTHY, ()),
    ]
    assert first.probe_error == "slow"
    end()
    subject.remove(subject.backends[0].name)
    assert len(seen) == 4


def test_late_news_of_a_removed_backend_change_nothing() -> None:
    subject = registry()
    first, _ = subject.backends
    subject.remove(first.name)
    calls: list[None] = []
    subject.subscribe(lambda: calls.append(None))
    subject.set_models(first, models("m"))
    subject.set_probe(first, ProbeState.HEALTHY, None)
    assert subject.candidates("m") == ()
    assert not calls


def test_many_are_exchanged_at_once_or_not_at_all() -> None:
    subject = registry()
    told: list[tuple[Backend, ...]] = []
    subject.subscribe(lambda: told.append(subject.backends))
    first, second = subject.backends
    third = Member(BackendAddress(BackendName("h:1"), "h", 1), 5, is_ready=False)

    subject.exchange([first.name], [Member(first.address, 7), third])
    assert [backend.max_in_flight for backend in subject.backends] == [256, 7, 5]
    assert (first.removed, second.removed, len(told)) == (True, False, 1)
    with pytest.raises(ConfigError, match="more than once"):
        subject.exchange([first.name], [third])
    assert len(subject.backends) == 3
    subject.exchange([BackendName("unknown")], [])
    assert len(told) == 1


def test_who_keeps_something_for_every_backend_learns_which_have_changed() -> None:
    subject = registry()
    first, second = subject.backends
    assert subject.take_changed() == {first, second}
    assert subject.take_changed() == set()

    subject.set_models(first, models("m"))
    subject.set_models(first, models("m"))
    subject.set_limit(second, 3)
    assert subject.take_changed() == {first, second}
    subject.set_probe(first, ProbeState.HEALTHY, None)
    subject.set_ready(first, False)
    assert subject.take_changed() == set()
    subject.remove(first.name)
    assert subject.take_changed() == {first}


def test_a_key_changes_for_the_next_request() -> None:
    subject = registry()
    backend = subject.backends[0]
    told: list[Backend] = []
    subject.on_readdressed = told.append

    subject.set_api_key(backend, "secret")
    subject.set_api_key(backend, "secret")

    assert (backend.address.api_key, told) == ("secret", [backend])
    assert "secret" not in repr(backend)


def test_names_are_changed_as_a_whole_or_not_at_all() -> None:
    subject = registry(aliases={"a": "m"})
    told: list[int] = []
    subject.subscribe(lambda: told.append(1))

    subject.set_names({"b": (Target("m"),)}, {"m": "n"})
    subject.set_names({"b": (Target("m"),)}, {"m": "n"})
    assert (dict(subject.aliases), dict(subject.fallback_models)) == (
        {"b": (Target("m"),)},
        {"m": "n"},
    )
    with pytest.raises(ConfigError, match="stands for itself"):
        subject.set_names({"c": (Target("c"),)}, {})
    assert list(subject.aliases) == ["b"]
    assert told == [1]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sets(st.sampled_from(["m", "n", "o"]))), max_size=12)
)
def test_candidates_are_found_whatever_changed(steps: list[tuple[int, set[str]]]) -> None:
    subject = registry(*(f"http://h:{port}" for port in range(1, 4)))
    for which, names in steps:
        if which == 3 and subject.backends:
            subject.remove(
                subject.backends[0].name if len(subject.backends) > 1 else BackendName("")
            )
        elif subject.backends:
            subject.set_models(subject.backends[which % len(subject.backends)], models(*names))
        for name in ("m", "n", "o"):
            listed = tuple(item for item in subject.backends if name in item.models)
            assert subject.candidates(name) == listed
