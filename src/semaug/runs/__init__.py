"""A run on disk: its folder, files, checkpoint, rows of metrics and summary."""
