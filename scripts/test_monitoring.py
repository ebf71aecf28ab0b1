"""Walk through a running service and check its answers; ``--help`` says how."""

import sys
from pathlib import Path

# Started by path, from any folder: the packages are beside this folder.
sys.path.insert(0, str(Path(__file__).parents[1]))

from service.smoke import main

if __name__ == "__main__":
    sys.exit(main())
