"""`python -m truss.cli`: the `truss` command where its script is not on the path."""

import sys

from truss.cli import main

sys.exit(main())
