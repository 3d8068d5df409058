"""Measures the canary's quality gate on real vLLM and writes ``docs/results/quality-gate.*``.

One server keeps its KV cache as it is; beside it, one after the other, run servers with each of
the dtypes, and all of them score the same texts. On the CPU build: fp8 is quantized by its kernel,
the per-token-head types are misread by it, which the gate must see.

    PYTHONPATH=e2e .venv/bin/python tools/quality_gate.py --seeds 3
"""

import argparse
import json
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alise_core.crds.kv_cache_policy import QualityGate
from alise_operator.canary.gate import Outcome, answer_checks
from alise_operator.canary.probe import probe_prompts
from alise_operator.canary.quality import Quality
from running.quality import TOKENS, probe
from running.vllm import VllmEnvironment, find_environment, start_vllm

ROOT = Path(__file__).resolve().parents[1]
DTYPES = ("auto", "fp8", "fp8_e5m2", "int8_per_token_head", "int4_per_token_head")
GATE = QualityGate()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES))
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results")
    parser.add_argument("--page-only", action="store_true", help="from the figures that are there")
    asked = parser.parse_args()
    if asked.page_only:
        raw = json.loads((asked.out / "quality-gate.json").read_text(encoding="utf-8"))
        write_page(asked.out, raw["rows"], raw["seeds"])
        return
    rows = measure(find_environment(), asked.dtypes, asked.seeds)
    write(asked.out, rows, asked.seeds)


def measure(environment: VllmEnvironment, dtypes: list[str], seeds: int) -> list[dict[str, Any]]:
    """A row per dtype and seed."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as directory:
        logs = Path(directory)
        unchanged = start_vllm(environment, "unchanged", logs, 0, ())
        try:
            unchanged.wait_until_ready()
            for dtype in dtypes:
                changed = start_vllm(environment, dtype, logs, 1, (f"--kv-cache-dtype={dtype}",))
                try:
                    changed.wait_until_ready()
                    for seed in range(seeds):
                        row = row_of(dtype, seed, probe(unchanged, changed, 1_000 * seed))
                        print(json.dumps(row), flush=True)
                        rows.append(row)
                finally:
                    changed.process.stop()
        finally:
            unchanged.process.stop()
    return rows


def row_of(dtype: str, seed: int, quality: Quality) -> dict[str, Any]:
    """Figures and verdict."""
    checks = answer_checks(GATE, quality)
    found = {check.outcome for check in checks}
    outcome = Outcome.PASSED
    for worse in (Outcome.NOT_YET, Outcome.FAILED):
        outcome = worse if worse in found else outcome
    return {"dtype": dtype, "seed": seed, "outcome": outcome.value, **asdict(quality)}


def write(out: Path, rows: list[dict[str, Any]], seeds: int) -> None:
    """The figures, and a page that says what they are."""
    raw = {
        "machine": platform.processor() or platform.machine(),
        "prompts": len(probe_prompts()),
        "drawnTokensPerPrompt": TOKENS,
        "seeds": seeds,
        "gate": GATE.model_dump(by_alias=True),
        "rows": rows,
    }
    (out / "quality-gate.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    write_page(out, rows, seeds)


def write_page(out: Path, rows: list[dict[str, Any]], seeds: int) -> None:
    """Figures in words."""
    (out / "quality-gate.md").write_text(page(rows, seeds), encoding="utf-8")


def page(rows: list[dict[str, Any]], seeds: int) -> str:
    """Markdown."""
    lines = [_HEAD.format(seeds=seeds, prompts=len(probe_prompts()), tokens=TOKENS, gate=GATE)]
    for row in rows:
        means = [row[name] for name in ("loss", "kl", "drawn_kl")]
        shown = " | ".join(
            f"{one['value']:.5f} ± {one['error']:.5f}" if one else "-" for one in means
        )
        lines.append(
            f"| {row['dtype']} | {row['seed']} | {row['tokens']} | {shown} | {row['spread']:.4f} "
            f"| {row['outcome']} |"
        )
    return "\n".join([*lines, "", _LIMITS, ""])


_HEAD = """\
# The canary's quality gate on real vLLM

vLLM 0.32 (CPU build) with the tiny random-weight model of the end-to-end tests. One server keeps its
KV cache as it is; another one, with the dtype named, scores the same texts: {seeds} seeds of {prompts}
prompts, each continued by {tokens} tokens that the unchanged server drew at temperature 1.
Natural logarithms; ± is the standard error. Bounds: mean log-probability loss
{gate.max_mean_logprob_loss:g}, KL {gate.max_kl:g} (the defaults of KVCachePolicy).
Written by `tools/quality_gate.py`; figures in [quality-gate.json](quality-gate.json).

| `--kv-cache-dtype` | seed | tokens | loss | KL on top-k | KL of drawn tokens | mean difference | verdict |
|---|---|---|---|---|---|---|---|"""  # noqa: E501

_LIMITS = """\
- `auto` beside `auto` is the noise of the measurement.
- The per-token-head rows are the same for 8 and for 4 bits: the kernel misreads them, whatever
  they hold.
- KL on top-k alone would pass them. The model spreads its probability over many tokens, of which
  ten hold little; what the drawn tokens tell does not depend on that.
- Weights are random: this shows whether the KV cache is read as it was written, not what fp8 costs
  a trained model."""


if __name__ == "__main__":
    main()
