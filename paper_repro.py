"""The command line, from a clone and without installation: `python paper_repro.py COMMAND`."""

import sys

from sharpening import cli

if __name__ == "__main__":
    sys.exit(cli.main())
