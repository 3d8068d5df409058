"""Run in a pod: exit code 0 when the pod is confined as the chart says; standard library only."""

import ctypes
import errno
import os
import sys
from pathlib import Path

STATUS = {
    "Uid": "65532\t65532\t65532\t65532",
    "CapEff": "0" * 16,
    "CapBnd": "0" * 16,
    "NoNewPrivs": "1",
    # 2 is a filter: the runtime's own profile.
    "Seccomp": "2",
}
NEW_USER_NAMESPACE = 0x10000000


def main() -> int:
    """Try what must fail; print what did not."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
    problems = [
        f"{key} is {found[key]}, not {wanted}"
        for key, wanted in STATUS.items()
        if found[key] != wanted
    ]
    for place in ("/", "/opt/alise", "/usr/bin", "/etc"):
        try:
            Path(place, "written").touch()
        except OSError as error:
            if error.errno != errno.EROFS:
                problems.append(f"{place}: {error}")
        else:
            problems.append(f"{place} is written to")
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(NEW_USER_NAMESPACE) == 0 or ctypes.get_errno() != errno.EPERM:
        problems.append(f"a namespace is made: {os.strerror(ctypes.get_errno())}")
    print("\n".join(problems) or "confined")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
