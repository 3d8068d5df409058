"""Make the built-in day: ``python -m alise_bench.tuner.make_day --data DIRECTORY``."""

import argparse
import json
import random
import sys
from pathlib import Path

from alise_bench.workloads.data_files import read_file
from alise_bench.workloads.recorded import read_servegen

DAY_SECONDS = 86_400.0
WINDOW_SECONDS = 600.0
LENGTHS = 3_000
SOURCES = {
    "rates": "github.com/alibaba/ServeGen f891d1189eb32b3868dfc443800c4150548c282a, "
    "data/language/m-small, sums over all clients of one day (Apache-2.0)",
    "output_tokens": "github.com/allenai/open-instruct, length-investigation, gpt-oss-120b medium "
    "effort, tokens by the Olmo 3 tokenizer, a random sample (Apache-2.0)",
}


def make(data: Path, seed: int) -> dict[str, object]:
    """The day with the highest peak by mean among those in which no window is empty."""
    totals: dict[float, float] = {}
    for client in read_servegen(data):
        for start, window in client.windows.items():
            totals[start] = totals.get(start, 0.0) + window.rate
    days = []
    for day in range(int(max(totals) // DAY_SECONDS) + 1):
        starts = [day * DAY_SECONDS + place * WINDOW_SECONDS for place in range(144)]
        rates = [totals.get(start, 0.0) for start in starts]
        if min(rates) > 0:
            days.append((max(rates) * len(rates) / sum(rates), day, rates))
    _, day, rates = max(days)
    _, raw = read_file(data, "reasoning_length_counts", "gpt-oss-med.json")
    lengths = [length for length in json.loads(raw)["lengths"] if length > 0]
    chosen = random.Random(seed).sample(lengths, LENGTHS)  # noqa: S311
    return {
        "sources": {**SOURCES, "day": day, "seed": seed},
        "window_seconds": WINDOW_SECONDS,
        "rates": [round(rate, 2) for rate in rates],
        "output_tokens": chosen,
    }


def main(arguments: list[str]) -> int:
    """Write the file beside the other bundled data."""
    parser = argparse.ArgumentParser(prog="python -m alise_bench.tuner.make_day")
    parser.add_argument("--data", type=Path, required=True, help="directory with the data sets")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    target = Path(__file__).parents[1] / "data" / "servegen_day.json"
    target.write_text(json.dumps(make(options.data, options.seed)) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
