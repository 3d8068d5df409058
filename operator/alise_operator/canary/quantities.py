"""Kubernetes' quantities of memory. Pure.

Source: Kubernetes ``apimachinery/pkg/api/resource/quantity.go``.
"""

import re
from decimal import Decimal
from math import ceil

from alise_operator.canary.words import Refused

_QUANTITY = re.compile(r"(\d{1,20}(?:\.\d{0,9})?)(?:([KMGTPE]i)|([mkMGTPE])|[eE](\d{1,2}))?")
_BINARY = {f"{unit}i": 1024**power for power, unit in enumerate("KMGTPE", 1)}
_DECIMAL = {"m": Decimal("0.001"), **{unit: 1000**p for p, unit in enumerate("kMGTPE", 1)}}
_MIB = 1024**2


def bytes_of(quantity: object) -> int:
    """Bytes, rounded up.

    Raises:
        Refused: It is no quantity.
    """
    found = _QUANTITY.fullmatch(str(quantity))
    if found is None:
        raise Refused(f"{str(quantity)[:40]!r} is not a quantity of memory: write it as in '64Gi'")
    number, binary, decimal, exponent = found.groups()
    factor: Decimal | int = 1
    if binary:
        factor = _BINARY[binary]
    elif decimal:
        factor = _DECIMAL[decimal]
    elif exponent:
        factor = 10 ** int(exponent)
    return ceil(Decimal(number) * factor)


def quantity_of(size_bytes: int) -> str:
    """The same in whole MiB, rounded up, in the form that the API server gives back."""
    mebibytes, unit = -(-size_bytes // _MIB), 0
    while mebibytes and mebibytes % 1024 == 0:
        mebibytes, unit = mebibytes // 1024, unit + 1
    return f"{mebibytes}{('Mi', 'Gi', 'Ti', 'Pi')[unit]}"
