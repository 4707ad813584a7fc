"""The command line, from a clone and without installation: `python paper_repro.py COMMAND`."""

import sys

from sharpening.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
