"""`python -m sharpening`: the command line."""

import sys

from sharpening import cli

sys.exit(cli.main())
