"""Detection and instance segmentation: detectors, their data, their loop and their scores."""
