"""What is timed: how often, and on which prompts."""

from alise_predictor.train.compare.timing import measure, sample_requests, sample_text


def test_variants_take_turns_and_are_all_counted() -> None:
    seen: list[int] = []
    calls = [lambda number=number: seen.append(number) for number in range(3)]
    found = measure(calls, 7)
    assert found.calls == 7
    assert seen[-7:] == [0, 1, 2, 0, 1, 2, 0]
    assert found.wall_us >= 0
    assert found.cpu_us >= 0


def test_prompts_have_the_asked_length_and_differ() -> None:
    assert len(sample_text(128, 1).split()) == 128
    assert sample_text(128, 1) == sample_text(128, 1)
    assert len({one.prompt for one in sample_requests(32, 5)}) == 5
