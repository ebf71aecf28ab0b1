"""Start the service; ``--help`` lists the flags."""

import sys
from pathlib import Path

# Started by path, from any folder: the packages are beside this folder.
sys.path.insert(0, str(Path(__file__).parents[1]))

# Every worker imports this file again and needs only the path.
if __name__ == "__main__":
    from service.launcher import main

    sys.exit(main())
