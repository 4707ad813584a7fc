"""The drawing layer: one function a figure, from rows of results to a Matplotlib figure."""
