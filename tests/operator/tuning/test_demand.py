"""What gateways predict, from their pages to one figure for a pool."""

from collections.abc import Awaitable, Callable

import pytest

from alise_operator.tuning.demand import GatewaySaid, Serving, demand_of, said_of, shares_of
from alise_operator.tuning.engines import EngineSilent
from alise_operator.tuning.gateways import Gateways
from fakes.clock import FakeClock

PAGE = """\
# TYPE alise_gateway_predicted_kv_peak_tokens gauge
alise_gateway_predicted_kv_peak_tokens{model="m",quantile="0.5"} 1000.0
alise_gateway_predicted_kv_peak_tokens{model="m",quantile="0.9"} 1300.0
alise_gateway_predicted_kv_peak_tokens{model="other",quantile="0.5"} 70.0
alise_gateway_predicted_kv_peak_tokens{model="other",quantile="0.9"} 70.0
alise_gateway_predicted_kv_peak_tokens{model="half",quantile="0.5"} 5.0
alise_gateway_predicted_kv_peak_tokens{model="broken",quantile="0.5"} NaN
# TYPE alise_gateway_waiting_requests gauge
alise_gateway_waiting_requests{service_class="default"} 4.0
alise_gateway_waiting_requests{service_class="batch"} 0.0
"""


def test_a_page_says_peaks_by_model_and_who_waits() -> None:
    said = said_of(PAGE, 7.0)

    assert said is not None
    assert said.peaks == {"m": (1000.0, 1300.0), "other": (70.0, 70.0)}
    assert said.waiting == {"default": 4.0, "batch": 0.0}
    assert said.at == 7.0


@pytest.mark.parametrize("page", ["", "vllm:kv_cache_usage_perc 0.5\n"])
def test_a_page_of_something_else_says_nothing(page: str) -> None:
    assert said_of(page, 0.0) is None


def test_a_gateway_without_requests_has_no_demand() -> None:
    said = said_of("# TYPE alise_gateway_predicted_kv_peak_tokens gauge\n", 0.0)

    assert said is not None
    found = demand_of([said], 0, {"m": 1.0}, 1.0)
    assert found is not None
    assert (found.peak_tokens, found.high_tokens) == (0.0, 0.0)


def test_medians_add_up_and_spreads_by_their_squares() -> None:
    heard = [
        GatewaySaid(5.0, {"m": (1000.0, 1300.0)}, {"default": 1.0}),
        GatewaySaid(8.0, {"m": (500.0, 900.0), "other": (9.0, 9.0)}, {"default": 2.0}),
    ]

    found = demand_of(heard, 1, {"m": 1.0}, 10.0)

    assert found is not None
    assert found.peak_tokens == 1500
    assert found.high_tokens == pytest.approx(1500 + 500)
    assert found.age_seconds == 5.0
    assert found.waiting == {"default": 3.0}
    assert (found.gateways, found.missing) == (2, 1)


def test_a_part_of_the_requests_is_a_part_of_the_median_and_the_root_of_it_of_the_spread() -> None:
    found = demand_of([GatewaySaid(5.0, {"m": (1000.0, 1300.0)})], 0, {"m": 0.25}, 5.0)

    assert found is not None
    assert found.peak_tokens == pytest.approx(250)
    assert found.high_tokens == pytest.approx(250 + 150)


def serving(tokens: float | None, *models: str) -> Serving:
    return Serving(frozenset(models), tokens)


@pytest.mark.parametrize(
    ("own", "others", "shares"),
    [
        (serving(None, "m"), [], {"m": 1.0}),
        (serving(None, "m"), [serving(None, "other")], {"m": 1.0}),
        (serving(100, "m"), [serving(300, "m")], {"m": 0.25}),
        (serving(100, "m", "n"), [serving(300, "m"), serving(None, "x")], {"m": 0.25, "n": 1.0}),
        (serving(100, "m"), [serving(300, "m"), serving(None, "m")], None),
        (serving(None, "m"), [serving(300, "m")], None),
        (serving(0, "m"), [serving(300, "m")], None),
        (serving(100), [serving(300, "m")], {}),
    ],
)
def test_pools_of_one_model_share_it_by_their_memory(
    own: Serving, others: list[Serving], shares: dict[str, float] | None
) -> None:
    assert shares_of(own, others) == shares


class Net:
    """Gateways by address; those that are not there do not answer."""

    def __init__(self, **pages: str) -> None:
        self.pages = dict(pages)
        self.asked: list[str] = []

    async def read(self, url: str) -> str:
        self.asked.append(url)
        name = url.removeprefix("http://").removesuffix("/metrics")
        if name not in self.pages:
            raise EngineSilent(f"{url}: refused")
        return self.pages[name]


def gateways(net: Net, clock: FakeClock, *places: str) -> Gateways:
    read: Callable[[str], Awaitable[str]] = net.read
    return Gateways(lambda: places, read, clock, 5.0)


async def test_many_pools_ask_once() -> None:
    net, clock = Net(a=PAGE), FakeClock()
    asked = gateways(net, clock, "a")

    for _ in range(3):
        found = await asked.demand({"m": 1.0})
    assert found is not None
    assert found.peak_tokens == 1000
    assert net.asked == ["http://a/metrics"]

    clock.advance(5)
    await asked.demand({"m": 1.0})
    assert len(net.asked) == 2


async def test_a_gateway_that_falls_silent_grows_old_and_one_never_heard_is_missing() -> None:
    net, clock = Net(a=PAGE), FakeClock()
    asked = gateways(net, clock, "a", "b")
    await asked.demand({"m": 1.0})
    del net.pages["a"]
    clock.advance(60)

    found = await asked.demand({"m": 1.0})

    assert found is not None
    assert (found.peak_tokens, found.age_seconds) == (1000.0, 60.0)
    assert (found.gateways, found.missing) == (1, 1)


async def test_without_gateways_nothing_is_predicted() -> None:
    assert await gateways(Net(), FakeClock()).demand({"m": 1.0}) is None
