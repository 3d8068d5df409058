"""``python -m alise_bench.sim``: the same as ``alise sim-engine``."""

import sys

from alise_bench.sim.cli import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
