"""Drop from a compiled requirements file what the training environment gets otherwise.

Usage: ``python tools/lock_train.py < compiled > requirements/train.txt``. The resolver sees the
torch of PyPI, which asks for CUDA libraries; training uses a CPU wheel (``tools/train_env.py``).
"""

import re
import sys

OTHERWISE = re.compile(r"(torch|triton|nvidia-[a-z0-9-]*|cuda-[a-z0-9-]*)==")


def main() -> int:
    """Filter standard input; returns the exit code."""
    print(without_torch(sys.stdin.read()))
    return 0


def without_torch(compiled: str) -> str:
    """The requirements less torch and the libraries of its CUDA build."""
    blocks = re.split(r"\n(?=\S)", compiled.strip())
    return "\n".join(block for block in blocks if not OTHERWISE.match(block))


if __name__ == "__main__":
    sys.exit(main())
