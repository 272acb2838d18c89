"""`python -m latentpath`."""

import sys

from latentpath.cli import main

if __name__ == "__main__":
    sys.exit(main())
