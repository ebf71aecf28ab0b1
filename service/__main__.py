"""`python -m service`: serve the trained models."""

import sys

from service.launcher import main

sys.exit(main())
