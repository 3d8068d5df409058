import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from structlog.testing import capture_logs

from alise_core.errors import ConfigError, Unauthorized
from alise_core.service_class import ServiceClass
from alise_core.units import TenantId
from alise_gateway.domain.request import ANONYMOUS, RawHeaders, Tenant
from alise_gateway.domain.tenant_keys import TenantKeys
from alise_gateway.identity.authenticator import Authenticator, check_model_allowed
from alise_gateway.identity.keys import hash_key
from alise_gateway.settings import IdentitySettings
from fakes.clock import FakeClock
from fakes.issuer import AUDIENCE, ISSUER, FakeIssuer
from fakes.pacing import FakePacing

KEY_A = "sk-alise-" + "a" * 43
KEY_B = "sk-alise-" + "b" * 43


def write_keys(path: Path, **tenants: str) -> Path:
    entries = [{"id": name, "keys": [{"hash": hash_key(key)}]} for name, key in tenants.items()]
    path.write_text(yaml.safe_dump({"tenants": entries}))
    return path


def overwrite(path: Path, content: str | None) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_text(content)


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "keys.yaml", a=KEY_A, b=KEY_B)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def authenticator(keys_file: Path, clock: FakeClock) -> Authenticator:
    return Authenticator(IdentitySettings(keys_file=keys_file), clock)


def bearer(key: str) -> RawHeaders:
    return [(b"host", b"x"), (b"authorization", b"Bearer " + key.encode())]


def refusal(subject: Authenticator, headers: RawHeaders) -> Unauthorized:
    with pytest.raises(Unauthorized) as refused:
        subject.authenticate(headers)
    assert refused.value.status == 401
    for _, value in headers:
        for word in value.decode(errors="replace").split():
            assert len(word) < 20 or word not in refused.value.message
    return refused.value


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", f"Bearer {KEY_A}".encode())],
        [(b"authorization", f"bearer   {KEY_A} ".encode())],
        [(b"x-api-key", KEY_A.encode())],
        [(b"x-api-key", f" {KEY_A} ".encode())],
        [(b"x-api-key", KEY_A.encode()), (b"authorization", f"Bearer {KEY_A}".encode())],
    ],
)
def test_a_key_opens_its_tenant(authenticator: Authenticator, headers: RawHeaders) -> None:
    assert authenticator.authenticate([(b"host", b"x"), *headers]).id == "a"
    assert authenticator.enabled


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "missing_api_key"),
        ([(b"cookie", b"authorization=Bearer")], "missing_api_key"),
        ([(b"authorization", b"")], "invalid_authorization"),
        ([(b"authorization", b"Bearer")], "invalid_authorization"),
        ([(b"authorization", b"Bearer ")], "invalid_authorization"),
        ([(b"authorization", KEY_A.encode())], "invalid_authorization"),
        ([(b"authorization", f"Basic {KEY_A}".encode())], "invalid_authorization"),
        ([(b"authorization", f"Bearer {KEY_A} {KEY_A}".encode())], "invalid_authorization"),
        ([(b"authorization", f"Bearer{KEY_A}".encode())], "invalid_authorization"),
        ([(b"x-api-key", b" ")], "invalid_authorization"),
        ([(b"authorization", f"Bearer {KEY_A}x".encode())], "invalid_api_key"),
        ([(b"authorization", f"Bearer {KEY_A.upper()}".encode())], "invalid_api_key"),
        ([(b"authorization", b"Bearer \xff\x00")], "invalid_api_key"),
        ([(b"authorization", b"Bearer a.b.c")], "invalid_api_key"),
        ([(b"x-api-key", f"Bearer {KEY_A}".encode())], "invalid_api_key"),
        (bearer(KEY_A) + bearer(KEY_A), "conflicting_credentials"),
        ([(b"x-api-key", KEY_A.encode())] * 2, "conflicting_credentials"),
        ([*bearer(KEY_A), (b"x-api-key", KEY_B.encode())], "conflicting_credentials"),
    ],
)
def test_everything_else_is_refused_with_its_code(
    authenticator: Authenticator, headers: RawHeaders, code: str
) -> None:
    assert refusal(authenticator, headers).code == code


def test_an_expired_key_says_so(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "keys.yaml"
    key = {"hash": hash_key(KEY_A), "expires": "2025-06-15T16:00:00Z"}
    path.write_text(yaml.safe_dump({"tenants": [{"id": "a", "keys": [key]}]}))
    subject = Authenticator(IdentitySettings(keys_file=path), clock)
    clock.advance(1_750_003_200 - clock.unix() - 1)
    assert subject.authenticate(bearer(KEY_A)).id == "a"
    clock.advance(1)
    assert refusal(subject, bearer(KEY_A)).code == "expired_api_key"


def test_nothing_configured_is_an_error_that_tells_the_remedies(clock: FakeClock) -> None:
    with pytest.raises(ConfigError, match=r"keys_file.*jwt_issuer.*--insecure-no-auth"):
        Authenticator(IdentitySettings(), clock)


def test_without_authentication_whatever_is_presented_is_ignored(clock: FakeClock) -> None:
    subject = Authenticator(IdentitySettings(allow_anonymous=True), clock)
    assert not subject.enabled
    for headers in ([], bearer("EMPTY"), bearer(KEY_A) * 2, [(b"authorization", b"")]):
        assert subject.authenticate(headers) is ANONYMOUS


def test_anonymous_beside_keys_means_no_credential_at_all(
    keys_file: Path, clock: FakeClock
) -> None:
    subject = Authenticator(IdentitySettings(keys_file=keys_file, allow_anonymous=True), clock)
    assert subject.authenticate([]) is ANONYMOUS
    assert subject.authenticate(bearer(KEY_A)).id == "a"
    assert refusal(subject, bearer("EMPTY")).code == "invalid_api_key"
    assert refusal(subject, [(b"authorization", b"")]).code == "invalid_authorization"


@pytest.mark.parametrize("content", [None, "tenants: ["])
def test_an_unusable_file_stops_the_start(
    tmp_path: Path, clock: FakeClock, content: str | None
) -> None:
    path = tmp_path / "keys.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"keys\.yaml"):
        Authenticator(IdentitySettings(keys_file=path), clock)


async def test_a_changed_file_counts_after_the_next_look(
    authenticator: Authenticator, keys_file: Path
) -> None:
    write_keys(keys_file, a=KEY_B)
    assert authenticator.authenticate(bearer(KEY_A)).id == "a"
    with capture_logs() as logs:
        await authenticator.reload()
        await authenticator.reload()
    assert [entry["event"] for entry in logs] == ["keys_reloaded"]
    assert authenticator.authenticate(bearer(KEY_B)).id == "a"
    assert refusal(authenticator, bearer(KEY_A)).code == "invalid_api_key"


@pytest.mark.parametrize(
    "damage", ["tenants: [", "", f"tenants: [{{id: a, keys: [{KEY_A}]}}]", None]
)
async def test_a_wrong_new_file_changes_nothing_and_is_reported_once(
    authenticator: Authenticator, keys_file: Path, damage: str | None
) -> None:
    overwrite(keys_file, damage)
    with capture_logs() as logs:
        for _ in range(3):
            await authenticator.reload()
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("warning", "keys_file_rejected")
    ]
    assert KEY_A not in json.dumps(logs)
    assert authenticator.authenticate(bearer(KEY_A)).id == "a"
    write_keys(keys_file, c=KEY_A)
    await authenticator.reload()
    assert authenticator.authenticate(bearer(KEY_A)).id == "c"


async def test_the_background_task_reloads_and_ends(keys_file: Path, clock: FakeClock) -> None:
    before = asyncio.all_tasks()
    pacing = FakePacing()
    settings = IdentitySettings(keys_file=keys_file, reload_seconds=7)
    subject = Authenticator(settings, clock, sleep=pacing.sleep)
    await subject.start()
    await subject.start()
    await pacing.until_asleep()
    write_keys(keys_file, c=KEY_A)
    pacing.wake()
    await pacing.until_asleep()
    assert subject.authenticate(bearer(KEY_A)).id == "c"
    assert pacing.asked == [7, 7]
    await subject.stop()
    await subject.stop()
    assert asyncio.all_tasks() == before


async def test_the_background_task_outlives_a_crash(
    keys_file: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pacing = FakePacing()
    subject = Authenticator(IdentitySettings(keys_file=keys_file), clock, sleep=pacing.sleep)
    await subject.start()
    await pacing.until_asleep()

    def crash(*_: object) -> None:
        raise RuntimeError("broken")

    with capture_logs() as logs, monkeypatch.context() as patched:
        patched.setattr(Authenticator, "_read_keys", staticmethod(crash))
        pacing.wake()
        await pacing.until_asleep()
    assert [entry["event"] for entry in logs] == ["identity_reload_failed"]
    write_keys(keys_file, c=KEY_A)
    pacing.wake()
    await pacing.until_asleep()
    assert subject.authenticate(bearer(KEY_A)).id == "c"
    await subject.stop()


def jwt_settings(jwks: Path, keys_file: Path | None = None) -> IdentitySettings:
    return IdentitySettings(
        jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwks_file=jwks, keys_file=keys_file
    )


async def test_tokens_and_keys_side_by_side(
    tmp_path: Path, keys_file: Path, clock: FakeClock
) -> None:
    issuer, jwks = FakeIssuer(), tmp_path / "jwks.json"
    jwks.write_bytes(issuer.jwks())
    subject = Authenticator(jwt_settings(jwks, keys_file), clock)
    token = issuer.token(clock.unix() + 60, sub="svc").decode()
    assert subject.authenticate(bearer(token)) == Tenant(TenantId("svc"))
    assert subject.authenticate([(b"x-api-key", token.encode())]).id == "svc"
    assert subject.authenticate(bearer(KEY_A)).id == "a"
    assert refusal(subject, bearer("a.b.c")).code == "invalid_token"
    assert refusal(subject, bearer("nonsense")).code == "invalid_api_key"


async def test_a_tokens_tenant_has_the_limits_of_the_keys_file(
    tmp_path: Path, clock: FakeClock
) -> None:
    issuer, jwks, keys = FakeIssuer(), tmp_path / "jwks.json", tmp_path / "keys.yaml"
    jwks.write_bytes(issuer.jwks())
    keys.write_text("tenants: [{id: svc, allowed_models: [small]}]")
    subject = Authenticator(jwt_settings(jwks, keys), clock)
    headers = bearer(issuer.token(clock.unix() + 60, sub="svc").decode())
    assert subject.authenticate(headers).allowed_models == frozenset({"small"})
    keys.write_text(
        "tenants: [{id: svc, allowed_models: [large], weight: 3, highest_class: scale}]"
    )
    await subject.reload()
    tenant = subject.authenticate(headers)
    assert tenant.allowed_models == frozenset({"large"})
    assert (tenant.weight, tenant.highest_class) == (3, ServiceClass.SCALE)


async def test_a_changed_jwks_file_counts_and_a_wrong_one_does_not(
    tmp_path: Path, clock: FakeClock
) -> None:
    old, new, jwks = FakeIssuer("old"), FakeIssuer("new"), tmp_path / "jwks.json"
    jwks.write_bytes(old.jwks())
    subject = Authenticator(jwt_settings(jwks), clock)
    jwks.write_bytes(b"{")
    with capture_logs() as logs:
        await subject.reload()
        await subject.reload()
    assert [entry["event"] for entry in logs] == ["jwks_rejected"]
    old_token = bearer(old.token(clock.unix() + 60).decode())
    assert subject.authenticate(old_token).id == "team-a"
    jwks.write_bytes(new.jwks())
    await subject.reload()
    assert refusal(subject, old_token).code == "invalid_token"
    assert subject.authenticate(bearer(new.token(clock.unix() + 60).decode())).id == "team-a"


async def test_credentials_never_reach_logs(
    tmp_path: Path, keys_file: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    issuer, jwks = FakeIssuer(), tmp_path / "jwks.json"
    jwks.write_bytes(issuer.jwks())
    token = FakeIssuer("other").token(clock.unix() + 60).decode()
    with capture_logs() as logs:
        subject = Authenticator(jwt_settings(jwks, keys_file), clock, sleep=FakePacing().sleep)
        await subject.start()
        subject.authenticate(bearer(KEY_A))
        for key in (token, KEY_A + "x", f"{KEY_A} {KEY_B}"):
            refusal(subject, bearer(key))
        write_keys(keys_file, a=KEY_B)
        await subject.reload()
        overwrite(keys_file, KEY_A)
        await subject.reload()
        jwks.write_text(token)
        await subject.reload()
        await subject.stop()
    written = json.dumps(logs) + caplog.text
    assert len(logs) == 3
    for secret in (KEY_A, KEY_B, token, hash_key(KEY_A), token.split(".")[2]):
        assert secret not in written
        assert secret not in repr(vars(subject))


def test_models_outside_the_list_are_forbidden() -> None:
    check_model_allowed(ANONYMOUS, "anything")
    tenant = Tenant(TenantId("a"), frozenset({"small"}))
    check_model_allowed(tenant, "small")
    with pytest.raises(Unauthorized) as refused:
        check_model_allowed(tenant, "large")
    error = refused.value
    assert (error.status, error.code, error.param) == (403, "model_not_allowed", "model")


def test_key_files_do_without_the_token_library() -> None:
    unwanted = "{'jwt', 'cryptography', 'opentelemetry.sdk', 'uvicorn'}"
    code = f"import sys, alise_gateway.app; sys.exit(len({unwanted} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603


def tenant_keys(name: str, *keys: str) -> TenantKeys:
    digests = tuple(bytes.fromhex(hash_key(key).removeprefix("sha256:")) for key in keys)
    return TenantKeys(Tenant(TenantId(name), weight=2.0), digests)


def test_tenants_of_a_cluster_are_enough_to_start() -> None:
    subject = Authenticator(IdentitySettings(), FakeClock(), expects_tenants=True)

    with pytest.raises(Unauthorized):
        subject.authenticate(bearer("key-one"))
    subject.set_tenants([tenant_keys("team-a", "key-one")])
    assert subject.authenticate(bearer("key-one")).id == "team-a"
    subject.set_tenants([tenant_keys("team-a", "key-two")])
    assert subject.authenticate(bearer("key-two")).weight == 2.0
    with pytest.raises(Unauthorized):
        subject.authenticate(bearer("key-one"))
    subject.set_tenants([])
    with pytest.raises(Unauthorized):
        subject.authenticate([])


def test_where_everybody_may_call_keys_are_checked_once_somebody_has_one() -> None:
    settings = IdentitySettings(allow_anonymous=True)
    subject = Authenticator(settings, FakeClock(), expects_tenants=True)

    assert subject.authenticate(bearer("anything")) == ANONYMOUS
    subject.set_tenants([tenant_keys("team-a", "key-one")])
    with pytest.raises(Unauthorized):
        subject.authenticate(bearer("anything"))
    assert subject.authenticate([]) == ANONYMOUS


def test_the_keys_file_comes_first(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    entry = {"id": "of-file", "keys": [{"hash": hash_key(KEY_A)}]}
    file.write_text(yaml.safe_dump({"tenants": [entry]}))
    subject = Authenticator(IdentitySettings(keys_file=file), FakeClock(), expects_tenants=True)

    subject.set_tenants([tenant_keys("of-cluster", KEY_A, KEY_B)])

    assert subject.authenticate(bearer(KEY_A)).id == "of-file"
    assert subject.authenticate(bearer(KEY_B)).id == "of-cluster"
