import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_gateway.measure.traceparent import TraceParent, parse_traceparent, trace_context

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{SPAN}-01".encode()

hex_digits = "0123456789abcdef"


def hex_of(length: int) -> st.SearchStrategy[str]:
    return st.text(hex_digits, min_size=length, max_size=length)


nonzero = st.tuples(hex_of(32), hex_of(16)).filter(lambda ids: all(x.strip("0") for x in ids))


@given(nonzero, st.integers(0, 255))
def test_every_valid_parent_of_version_00_is_read(ids: tuple[str, str], flags: int) -> None:
    value = f"00-{ids[0]}-{ids[1]}-{flags:02x}".encode()
    assert parse_traceparent(value) == TraceParent(*ids, sampled=bool(flags & 1))


@given(nonzero, st.integers(1, 254), st.sampled_from([b"", b"-", b"-what-ever"]))
def test_later_versions_are_read_by_their_first_fields(
    ids: tuple[str, str], version: int, rest: bytes
) -> None:
    value = f"{version:02x}-{ids[0]}-{ids[1]}-01".encode() + rest
    assert parse_traceparent(value) == TraceParent(*ids, sampled=True)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        VALID.upper(),
        VALID + b"-more",
        VALID + b"\n",
        VALID[:-1],
        b" " + VALID,
        b"ff" + VALID[2:],
        b"0g" + VALID[2:],
        b"01" + VALID[2:] + b"more",
        VALID.replace(b"-", b"_"),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE}-{SPAN}-".encode(),
        f"00-{TRACE}-{SPAN}-0x".encode(),
    ],
)
def test_anything_else_is_refused(value: bytes) -> None:
    assert parse_traceparent(value) is None


@given(st.binary(max_size=80))
def test_no_bytes_make_it_fail(value: bytes) -> None:
    parent = parse_traceparent(value)
    assert parent is None or value[3:35].decode() == parent.trace_id


@given(st.integers(0, 54), st.integers(0, 255))
def test_what_one_wrong_byte_leaves_is_never_misread(position: int, byte: int) -> None:
    value = bytearray(VALID)
    value[position] = byte
    parent = parse_traceparent(bytes(value))
    if parent is not None:
        assert parent.trace_id == value[3:35].decode()
        assert parent.span_id == value[36:52].decode()


def test_context_is_returned_unchanged_and_in_order() -> None:
    fields = [(b"tracestate", b"a=1"), (b"traceparent", VALID), (b"tracestate", b"b=2")]
    parent, forwarded = trace_context([(b"host", b"x"), *fields])
    assert parent == TraceParent(TRACE, SPAN, sampled=True)
    assert forwarded == fields


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"tracestate", b"a=1")],
        [(b"traceparent", b"nonsense"), (b"tracestate", b"a=1")],
        [(b"traceparent", VALID), (b"traceparent", VALID)],
    ],
)
def test_without_exactly_one_valid_parent_nothing_travels(
    headers: list[tuple[bytes, bytes]],
) -> None:
    assert trace_context(headers) == (None, [])
