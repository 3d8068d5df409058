"""``python -m alise_cli``: the ``alise`` command where only the sources are at hand."""

import sys

from alise_cli import main

sys.exit(main())
