"""A tenant with the keys that name it, as another source than the keys file knows them."""

from dataclasses import dataclass, field

from alise_gateway.domain.request import Tenant


@dataclass(frozen=True, slots=True)
class TenantKeys:
    """One tenant.

    Attributes:
        tenant: Who pays.
        digests: SHA-256 of each of its keys.
    """

    tenant: Tenant
    digests: tuple[bytes, ...] = field(default=(), repr=False)
