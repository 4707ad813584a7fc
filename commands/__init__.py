"""What each command of `paper_repro.py` reads, prints and writes: one module a command."""
