"""Pictures of runs: curves, confusion matrices, misclassified images. They need matplotlib (the extra ``plot``)."""
