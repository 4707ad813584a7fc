"""`python -m sharpening`, and what the console command and `paper_repro.py` call: the command line, and Ctrl-C."""

import sys

from sharpening import stop


def main() -> int:
    """Runs one command; the exit status. Ctrl-C is one line from here on."""
    stop.at_once()
    try:
        from sharpening import cli

        return cli.main()
    except KeyboardInterrupt:
        return stop.end()


if __name__ == "__main__":
    sys.exit(main())
