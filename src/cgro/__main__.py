"""`python -m cgro` is `cgro`."""

import sys

from cgro.cli import main

if __name__ == "__main__":
    sys.exit(main())
