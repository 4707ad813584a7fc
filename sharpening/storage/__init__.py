"""Where results are written, and nowhere else: the store of runs, journals of unfinished ones, sweeps over processes.

May import: numpy, joblib. Must not import: any layer.
"""
