import io
import json
import tarfile
from pathlib import Path

import pytest
import zstandard

from alise_bench.workloads.arrivals import ClientWindow, Family
from alise_bench.workloads.recorded import (
    ArrivalKind,
    Wish,
    make_arrivals,
    read_azure_code,
    read_mooncake,
    read_servegen,
)
from alise_core.errors import ConfigError

WISH = Wish(count=4, rate=2.0, seed=1)
AZURE = "azure_llm_2023/AzureLLMInferenceTrace_code.csv"
MOONCAKE = "mooncake_fast25/synthetic_trace.jsonl"
SERVEGEN = "servegen/language_m-small.tar"
CLIENT = "0,0,0,,0,0\n600,2.5,1.5,Gamma,0.7,0.1\n1200,1,3,Weibull,0.4,0.01\n"


def put(folder: Path, name: str, raw: bytes, *, packed: bool = True) -> None:
    path = folder / (f"{name}.zst" if packed else name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zstandard.ZstdCompressor().compress(raw) if packed else raw)


def archive(members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(f"data/language/m-small/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    stamps = [f"2023-11-16 18:17:{second:02}.5000000,10,20" for second in (3, 4, 9, 30)]
    azure = "\r\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *stamps])
    put(tmp_path, AZURE, azure.encode())
    rows = [{"timestamp": 500 * n, "hash_ids": [n % 2, 7]} for n in range(5)]
    put(tmp_path, MOONCAKE, "\n".join(map(json.dumps, rows)).encode(), packed=False)
    members = {"chunk-1-trace.csv": CLIENT, "chunk-1-dataset.json": "{}", "chunk-0-trace.csv": ""}
    put(tmp_path, SERVEGEN, archive(members))
    return tmp_path


def test_azures_times_are_read(data_dir: Path) -> None:
    marks = read_azure_code(data_dir)
    assert [mark.offset_s - marks[0].offset_s for mark in marks] == pytest.approx([0, 1, 6, 27])


def test_mooncakes_times_and_first_blocks_are_read(data_dir: Path) -> None:
    marks = read_mooncake(data_dir)
    assert [mark.offset_s for mark in marks] == [0, 0.5, 1.0, 1.5, 2.0]
    assert [mark.prefix_group for mark in marks] == ["0", "1", "0", "1", "0"]


def test_servegens_windows_with_requests_are_read(data_dir: Path) -> None:
    idle, client = read_servegen(data_dir)
    assert (idle.name, idle.windows) == ("chunk-0", {})
    assert client.windows == {
        600.0: ClientWindow(2.5, Family.GAMMA, 0.7),
        1200.0: ClientWindow(1.0, Family.WEIBULL, 0.4),
    }


@pytest.mark.parametrize("kind", ArrivalKind)
def test_every_kind_gives_arrivals_and_says_what_they_are(
    data_dir: Path, kind: ArrivalKind
) -> None:
    found = make_arrivals(kind, WISH, data_dir)
    assert found == make_arrivals(kind, WISH, data_dir)
    assert [len(found.marks), found.marks[0].offset_s, found.marks[-1].offset_s] == [4, 0.0, 1.5]
    assert found.facts["kind"] == kind
    assert found.facts["rate_per_second"] == 2.0
    assert found.facts["tenants"] == (1 if kind is ArrivalKind.SERVEGEN else 0)
    assert found.facts["process"]


@pytest.mark.parametrize("kind", ArrivalKind)
def test_only_recorded_kinds_need_a_data_directory(kind: ArrivalKind) -> None:
    if kind in {ArrivalKind.AZURE_CODE, ArrivalKind.MOONCAKE, ArrivalKind.SERVEGEN}:
        with pytest.raises(ConfigError, match="name the data directory"):
            make_arrivals(kind, WISH)
    else:
        assert len(make_arrivals(kind, WISH).marks) == 4


@pytest.mark.parametrize(
    ("kind", "name", "raw", "says"),
    [
        (ArrivalKind.AZURE_CODE, AZURE, b"TIMESTAMP\nsoon,1,2\n", "line 2: TIMESTAMP is 'soon'"),
        (ArrivalKind.AZURE_CODE, AZURE, b"\xff", "not UTF-8"),
        (ArrivalKind.MOONCAKE, MOONCAKE, b'{"timestamp": 1}\n', "line 1: has no timestamp"),
        (ArrivalKind.MOONCAKE, MOONCAKE, b"[]\n", "line 1: has no timestamp"),
        (ArrivalKind.SERVEGEN, SERVEGEN, b"no archive" * 100, "damaged"),
        (
            ArrivalKind.SERVEGEN,
            SERVEGEN,
            archive({"chunk-3-trace.csv": "0,1,1,Cauchy,1,1\n"}),
            "chunk-3-trace.csv, line 1: not 'start,rate,cv",
        ),
        (
            ArrivalKind.SERVEGEN,
            SERVEGEN,
            archive({"chunk-3-trace.csv": "0,1\n"}),
            "2 fields",
        ),
    ],
)
def test_a_damaged_record_is_refused_with_its_place(
    tmp_path: Path, kind: ArrivalKind, name: str, raw: bytes, says: str
) -> None:
    put(tmp_path, name, raw)
    with pytest.raises(ConfigError) as caught:
        make_arrivals(kind, WISH, tmp_path)
    assert says in str(caught.value)
    assert Path(name).name in str(caught.value)


def test_a_damaged_or_cut_compressed_file_is_refused(data_dir: Path) -> None:
    packed = data_dir / f"{AZURE}.zst"
    whole = packed.read_bytes()
    packed.write_bytes(whole[:-8])
    with pytest.raises(ConfigError, match=r"ends early|damaged"):
        read_azure_code(data_dir)
    packed.write_bytes(b"junk" * 10)
    with pytest.raises(ConfigError, match="damaged"):
        read_azure_code(data_dir)
    packed.unlink()
    with pytest.raises(ConfigError, match=r"not found, nor with \.zst"):
        read_azure_code(data_dir)
