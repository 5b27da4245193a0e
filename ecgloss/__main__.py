"""``python -m ecgloss`` is ``ecgloss``."""

import sys

from ecgloss.cli import main

if __name__ == "__main__":
    sys.exit(main())
