"""`python -m twelvefold` runs the console script."""

import sys

from twelvefold.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
