"""Which datasets there are, where they come from and what their licences allow."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alise_predictor.train.dataset import source_chats as chats
from alise_predictor.train.dataset import source_grids as grids
from alise_predictor.train.dataset import source_instructions as instructions
from alise_predictor.train.dataset import source_own as own
from alise_predictor.train.dataset import source_toolcalls as toolcalls
from alise_predictor.train.dataset.raw import RawSource


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """One dataset.

    Attributes:
        name: Name in corpora, cards and reports.
        folder: Folder in the data directory; "." is the directory itself.
        licence: SPDX identifier where there is one, with what else binds the data.
        permissive: May train weights that are distributed.
        trains: May be in a training split at all; otherwise it is for evaluation only.
        upstream: ``owner/repository@commit``.
        loader: Reads the folder.
        max_prompts: Keep at most so many prompts, drawn with the seed (templated sets).
        drop_shared: When only permissive data is wanted, leave out prompts which a
            non-permissive dataset holds as well.
        check_runs: Drop runs whose lengths are nearly constant.
    """

    name: str
    folder: str
    licence: str
    permissive: bool
    upstream: str
    loader: Callable[[Path], RawSource]
    trains: bool = True
    max_prompts: int | None = None
    drop_shared: bool = False
    check_runs: bool = True


_GPTEACHER = "teknium1/GPTeacher@481075123c29854bddb82655badeef6a438f2436"
_GPTEACHER_LICENCE = "MIT (answers by GPT-4: OpenAI's terms)"

DATASETS: tuple[DatasetSpec, ...] = (
    DatasetSpec(
        name="alpaca_dv3",
        folder="alpaca_5000",
        licence="CC-BY-NC-4.0",
        permissive=False,
        upstream="tatsu-lab/stanford_alpaca@5e69c50054c48cd3b919c46d13bb2d92a62f4498",
        loader=instructions.load_alpaca,
    ),
    DatasetSpec(
        name="alpaca_eval",
        folder="alpaca_eval",
        licence="Apache-2.0 AND CC-BY-NC-4.0 (the prompts)",
        permissive=False,
        upstream="tatsu-lab/alpaca_eval@cd543a149df89434d8a54582c0151c0b945c3d20",
        loader=grids.load_alpaca_eval,
    ),
    DatasetSpec(
        name="autoj",
        folder="autoj_pairwise",
        licence="NOASSERTION (no licence file)",
        permissive=False,
        upstream="GAIR-NLP/auto-j@2ae17a3965d933232e9cd50302aa0f176249c83b",
        loader=chats.load_autoj,
    ),
    DatasetSpec(
        name="bfcl",
        folder="bfcl_results",
        licence="Apache-2.0 (questions); NOASSERTION (lengths: no licence file)",
        permissive=False,
        trains=False,
        upstream=(
            "ShishirPatil/gorilla@6ea57973c7a6097fd7c5915698c54c17c5b1b6c8 and "
            "HuanzhiMao/BFCL-Result@b4adfc9be5e0c65e8dbb1340c689688eb92a9379"
        ),
        loader=toolcalls.load_bfcl,
    ),
    DatasetSpec(
        name="codealpaca",
        folder="codealpaca_2k",
        licence="CC-BY-NC-4.0",
        permissive=False,
        upstream="sahil280114/codealpaca@2f78ddc5c682ed6738ad092bbbfa59ba915afcb0",
        loader=instructions.load_codealpaca,
    ),
    DatasetSpec(
        name="flask",
        folder="flask",
        licence="NOASSERTION (no licence file)",
        permissive=False,
        upstream="kaistAI/FLASK@3b4e22bc34aa9dc15ea0c51be3cbf5f3c8b1b5e5",
        loader=chats.load_flask,
    ),
    DatasetSpec(
        name="gpteacher_code",
        folder="gpteacher",
        licence=_GPTEACHER_LICENCE,
        permissive=True,
        upstream=_GPTEACHER,
        loader=instructions.load_gpteacher_code,
    ),
    DatasetSpec(
        name="gpteacher_role",
        folder="gpteacher",
        licence=_GPTEACHER_LICENCE,
        permissive=True,
        upstream=_GPTEACHER,
        loader=instructions.load_gpteacher_role,
    ),
    DatasetSpec(
        name="gpteacher_tool",
        folder="gpteacher",
        licence=_GPTEACHER_LICENCE,
        permissive=True,
        upstream=_GPTEACHER,
        loader=instructions.load_gpteacher_tool,
        max_prompts=1_000,
    ),
    DatasetSpec(
        name="gsm8k",
        folder="gsm8k_solutions",
        licence="MIT",
        permissive=True,
        upstream="openai/grade-school-math@3101c7d5072418e28b9008a6636bde82a006892c",
        loader=chats.load_gsm8k,
    ),
    DatasetSpec(
        name="halueval",
        folder="halueval_general",
        licence="MIT AND CC-BY-NC-4.0 (the prompts come from Alpaca)",
        permissive=False,
        upstream="RUCAIBox/HaluEval@b7253db3cdaa0ab2c382f92b26b390109174f77e",
        loader=instructions.load_halueval,
    ),
    DatasetSpec(
        name="mmlu_pro",
        folder="mmlu_pro",
        licence="Apache-2.0",
        permissive=True,
        upstream="TIGER-AI-Lab/MMLU-Pro@f418b116db00b065c2aea046518d8fcf74d39872",
        loader=grids.load_mmlu_pro,
    ),
    DatasetSpec(
        name="oasst_eval",
        folder="oasst_eval",
        licence="Apache-2.0",
        permissive=True,
        upstream="Open-Assistant/oasst-model-eval@ce935dee6922ec75d5a4006dd1c3595b39a01fdf",
        loader=grids.load_oasst,
    ),
    DatasetSpec(
        name="tulu_eval",
        folder="tulu_eval",
        licence="Apache-2.0 (some prompts are AlpacaEval's)",
        permissive=True,
        upstream="allenai/open-instruct@e6c3044aa6201c8bfa4573c1b03142af599e730d",
        loader=chats.load_tulu,
        drop_shared=True,
    ),
    DatasetSpec(
        name="vicuna80",
        folder="vicuna80",
        licence="Apache-2.0",
        permissive=True,
        upstream="lm-sys/vicuna-blog-eval@29e5d378309de4efe28a87fc0d1f1002df4a448c",
        loader=chats.load_vicuna,
    ),
    DatasetSpec(
        name=own.OWN,
        folder=".",
        licence="LicenseRef-own (the operator's own data)",
        permissive=False,
        upstream="measured by the operator",
        loader=own.load_own,
        check_runs=False,
    ),
)
