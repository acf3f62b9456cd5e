"""python -m recipe_core ..."""

import sys

from recipe_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
