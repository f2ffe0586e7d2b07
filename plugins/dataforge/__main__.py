"""`python -m dataforge`: the command line."""

import sys

from dataforge.cli import main

sys.exit(main())
