"""``python -m strata``: the command line."""

import sys

from strata._cli import main

sys.exit(main())
