"""`python -m truss.cli`: the command line of this interpreter, whatever is on the path."""

import sys

from truss.cli import main

sys.exit(main())
