"""Under what conditions a comparison ran; no names of machines or directories."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from alise_predictor.features import schema_hash
from alise_predictor.train.compare.options import Limits, Options
from alise_predictor.train.dataset.corpus import Corpus

_PACKAGES = ("torch", "onnxruntime", "onnx", "lightgbm", "scikit-learn", "scipy", "numpy",
             "tokenizers")  # fmt: skip
_DIGITS = 16


def conditions(options: Options, limits: Limits, corpus: Corpus, started: str) -> dict[str, str]:
    """Name to value, in the order in which they are shown.

    Args:
        options: What was asked for.
        limits: How much was looked at.
        corpus: On which data.
        started: Date, ISO 8601.
    """
    return {
        "date": started,
        "command": options.command,
        "kind": "a first look (--quick)" if options.quick else "full",
        "CPU": f"{_cpu()}; one thread",
        "Python": f"{platform.python_version()}, {platform.system()}",
        "libraries": ", ".join(f"{name} {_version(name)}" for name in _PACKAGES),
        "corpus": f"{len(corpus.prompts):,} prompts, {len(corpus.answers):,} answers, SHA-256 "
                  f"{corpus.sha256[:_DIGITS]}",
        "features": schema_hash()[:_DIGITS],
        "lengths": f"{corpus.tokenizer} tokens",
        "training prompts of one data set": f"at most {limits.train_prompts:,}",
        "scored prompts of one data set": f"at most {limits.prompts:,}, the same for all",
        "scored models of one data set": f"at most {limits.models}, of at least "
                                         f"{limits.smallest} rows",
        "bootstrap": f"{limits.resamples} resamples of prompts, {limits.bootstrap_models} models "
                     "of one data set",
        "seed": str(options.seed),
    }  # fmt: skip


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
