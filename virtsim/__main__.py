"""``python -m virtsim`` is the command ``virtsim``."""

from __future__ import annotations

import sys

from virtsim.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
