import json
import shlex

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from alise_operator.canary.arguments import Argument, read_argument, write_argument
from alise_operator.canary.words import CommandLine, Refused

DTYPE = Argument("--kv-cache-dtype")
TIER = Argument("--additional-config", ("alise", "tier", "capacity_bytes"))
CONFIG = '{"alise": {"tier":{ "capacity_bytes" : 1024, "level": "int8"}} }'


def args(*words: str) -> CommandLine:
    return CommandLine(None, words)


def script(text: str) -> CommandLine:
    return CommandLine(("/bin/sh", "-c"), (text,))


def there_and_back(line: CommandLine, argument: Argument, value: str) -> CommandLine:
    before = read_argument(line, argument)
    changed = write_argument(line, argument, value)
    assert read_argument(changed, argument) == value
    assert write_argument(changed, argument, before) == line
    return changed


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (args("--model", "m"), args("--model", "m", "--kv-cache-dtype=fp8")),
        (args("m", "--kv-cache-dtype", "auto", "-tp", "2"),
         args("m", "--kv-cache-dtype", "fp8", "-tp", "2")),
        (args("m", "--kv-cache-dtype=auto"), args("m", "--kv-cache-dtype=fp8")),
        (args("m", "--kv_cache_dtype=auto"), args("m", "--kv_cache_dtype=fp8")),
        (args("$(MODEL)", "--port", "$(PORT)"),
         args("$(MODEL)", "--port", "$(PORT)", "--kv-cache-dtype=fp8")),
        (CommandLine(("vllm", "serve", "m"), None),
         CommandLine(("vllm", "serve", "m", "--kv-cache-dtype=fp8"), None)),
        (CommandLine(("python3", "-m", "vllm.entrypoints.openai.api_server"), ("--model=m",)),
         CommandLine(("python3", "-m", "vllm.entrypoints.openai.api_server"),
                     ("--model=m", "--kv-cache-dtype=fp8"))),
        (CommandLine(("/start.sh", "--kv-cache-dtype", "auto"), ("m",)),
         CommandLine(("/start.sh", "--kv-cache-dtype", "fp8"), ("m",))),
    ],
)  # fmt: skip
def test_lists_of_words(before: CommandLine, after: CommandLine) -> None:
    assert there_and_back(before, DTYPE, "fp8") == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("vllm serve m", "vllm serve m --kv-cache-dtype=fp8"),
        ("exec vllm serve m --kv-cache-dtype auto", "exec vllm serve m --kv-cache-dtype fp8"),
        ("vllm serve m --kv-cache-dtype='auto' -tp 2", "vllm serve m --kv-cache-dtype='fp8' -tp 2"),
        ('vllm serve m "--kv-cache-dtype=auto"', 'vllm serve m "--kv-cache-dtype=fp8"'),
        ("cd /x && HF_HOME=/m vllm serve $MODEL \\\n  --port ${PORT} \\\n  -tp 2 2>&1 | tee log\n",
         "cd /x && HF_HOME=/m vllm serve $MODEL \\\n  --port ${PORT} \\\n  -tp 2"
         " --kv-cache-dtype=fp8 2>&1 | tee log\n"),
        ("# starts\n/opt/vllm serve m # that is it\n",
         "# starts\n/opt/vllm serve m --kv-cache-dtype=fp8 # that is it\n"),
        ("if true; then python3 -m vllm.entrypoints.openai.api_server --model m; fi",
         "if true; then python3 -m vllm.entrypoints.openai.api_server --model m"
         " --kv-cache-dtype=fp8; fi"),
        ("echo '$(' && vllm serve \"a b\" > /log", "echo '$(' && vllm serve \"a b\""
         " --kv-cache-dtype=fp8 > /log"),
    ],
)  # fmt: skip
def test_one_liners(before: str, after: str) -> None:
    assert there_and_back(script(before), DTYPE, "fp8") == script(after)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (args("m", "--kv-cache-dtype", "$(DTYPE)"), "variable"),
        (args("m", "--kv-cache-dtype=$(DTYPE)"), "variable"),
        (args("m", "$(EXTRA_ARGS)"), "may hold"),
        (args("m", "--kv-cache-dtype", "auto", "--kv_cache_dtype=fp8"), "2 times"),
        (args("m", "--kv-cache-dtype fp8"), "one word"),
        (args("m", "--kv-cache-d", "fp8"), "abbreviate"),
        (args("m", "--kv-cache-dtype"), "no value"),
        (args("m", "--kv-cache-dtype", "--port"), "no value"),
        (args("m", "--kv-cache-dtype="), "no value"),
        (args("m", "--", "x"), "'--'"),
        (args(), "neither command nor args"),
        (CommandLine(("/start.sh",), ("m",)), "not known to pass arguments"),
        (CommandLine(("bash", "/start.sh"), None), "start script"),
        (script("/start.sh"), "0 commands"),
        (script("vllm serve a & vllm serve b"), "2 commands"),
        (script("bash -c 'vllm serve a'"), "0 commands"),
        (script("vllm serve a $EXTRA"), "may hold"),
        (script('vllm serve a "$@"'), "may hold"),
        (script("vllm serve a --kv-cache-dtype $D"), "variable"),
        (script("vllm serve a --kv-cache-dtype=${D:-auto}"), "variable"),
        (script("vllm serve a --kv-cache-dtype=au'to'"), "quoted in parts"),
        (script("vllm serve a --kv-cache-dtype='au''to'"), "quoted in parts"),
        (script("vllm serve a --kv-cache-dtype=\\auto"), "quoted in parts"),
        (script("vllm serve a > /log --port 1"), "redirection"),
        (script("cat <<E\nvllm serve a\nE"), "'<<'"),
        (script("vllm serve `cat m`"), "not understood"),
        (script("vllm serve 'a"), "not closed"),
        (script('vllm serve "a'), "not closed"),
        (script("vllm serve a\\"), "backslash"),
        (script("vllm serve a --kv-cache-dty\\\npe=auto"), "continued"),
    ],
)
def test_what_is_not_certain_is_refused(line: CommandLine, says: str) -> None:
    with pytest.raises(Refused, match=says):
        write_argument(line, DTYPE, "fp8")


@pytest.mark.parametrize("value", ["", "-x", "a$(B)"])
def test_values_that_would_be_read_otherwise(value: str) -> None:
    with pytest.raises(Refused, match="cannot be the value"):
        write_argument(args("m"), DTYPE, value)


def test_one_member_changes_and_all_else_stays() -> None:
    changed = there_and_back(args("m", "--additional-config", CONFIG), TIER, "2048")
    assert changed == args("m", "--additional-config", CONFIG.replace("1024", "2048"))


@pytest.mark.parametrize("tier", ['{ "level": "int8"\n}', "{ }", "{}"])
def test_a_member_that_is_not_there_yet(tier: str) -> None:
    line = args("m", f'--additional-config={{"alise":{{"tier":{tier}}}}}')
    changed = there_and_back(line, TIER, "2048")
    value = json.loads(changed.whole[1].partition("=")[2])
    assert value["alise"]["tier"]["capacity_bytes"] == 2048


@pytest.mark.parametrize(
    "quoted", [f"'{CONFIG}'", '"' + CONFIG.replace('"', '\\"') + '"', f"--x 1 '{CONFIG}' --y"]
)
def test_json_in_one_liners(quoted: str) -> None:
    before, _, rest = quoted.rpartition("--x 1 ")
    text = f"vllm serve m {before} {'--x 1' if before else ''} --additional-config {rest}"
    changed = there_and_back(script(text), TIER, "2048")
    assert changed == script(text.replace("1024", "2048"))
    there_and_back(script(text), Argument(TIER.name, ("alise", "tier", "other")), "7")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ("{} x", "not a JSON object"),
        ("{}", "no object at alise"),
        ('{"alise": {"tier": 1}}', "no object at alise.tier"),
        ('{"alise": {"tier": {"capacity_bytes": 1, "capacity_bytes": 2}}}', "2 times"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_json_that_is_not_as_it_should_be(value: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        write_argument(args("m", "--additional-config", value), TIER, "2048")


def test_parts_of_json_in_words_of_their_own_are_refused() -> None:
    with pytest.raises(Refused, match="sets a part"):
        write_argument(args("m", "--additional-config.alise", "{}"), TIER, "1")
    with pytest.raises(Refused, match="not given"):
        write_argument(args("m"), TIER, "1")


WORD = st.text("abcxyz019-_=.$(){}'\"\\ \n,:;&|<>#*~`é", min_size=1, max_size=12)
VALUES = st.sampled_from(["auto", "fp8", "fp8_e4m3", "bfloat16"])
FORMS = st.sampled_from([(), ("--kv-cache-dtype", "auto"), ("--kv_cache_dtype=fp8_e5m2",)])


@given(st.lists(WORD, max_size=6), FORMS, st.lists(WORD, max_size=6), VALUES)
def test_there_and_back_in_lists_is_the_same_or_refused(
    before: list[str], form: tuple[str, ...], after: list[str], value: str
) -> None:
    line = args(*before, *form, *after)
    try:
        there_and_back(line, DTYPE, value)
    except Refused:
        return


@given(st.text(max_size=60),
       st.sampled_from(["", " --kv-cache-dtype auto", " '--kv-cache-dtype=auto'"]),
       st.text("ab -$'\"\\\n;&|<>#(){}`*=", max_size=40), VALUES)  # fmt: skip
def test_there_and_back_in_scripts_is_the_same_or_refused(
    before: str, form: str, after: str, value: str
) -> None:
    line = script(f"{before}vllm serve m{form}{after}")
    try:
        there_and_back(line, DTYPE, value)
    except Refused:
        return


@given(st.lists(WORD.filter(lambda word: not word.startswith("-")), max_size=5), VALUES)
def test_quoted_words_are_read_as_the_shell_reads_them(words: list[str], value: str) -> None:
    text = f"vllm serve {shlex.join(words)}"
    changed = write_argument(script(text), DTYPE, value).whole[-1]
    assert shlex.split(changed) == ["vllm", "serve", *words, f"--kv-cache-dtype={value}"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=4), JSON_VALUES, max_size=4), st.sampled_from([None, 0, 3]),
       st.booleans(), st.integers(0, 2**50))  # fmt: skip
def test_there_and_back_in_json(
    others: dict[str, object], indent: int | None, has: bool, size: int
) -> None:
    tier = {**others, **({"capacity_bytes": 5} if has else {})}
    text = json.dumps({**others, "alise": {"x": [1], "tier": tier, **others}}, indent=indent)
    assume("$(" not in text)  # Kubernetes' mark of a variable, which is refused
    changed = there_and_back(args("m", "--additional-config", text), TIER, str(size))
    tier["capacity_bytes"] = size
    assert json.loads(changed.whole[2])["alise"]["tier"] == tier
