"""`python -m service`: serve the trained models."""

import sys

from service.launcher import main

if __name__ == "__main__":
    sys.exit(main())
