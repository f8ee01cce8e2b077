"""The simulator held against measured end-to-end latencies: ``python -m figures.validation DATA_FOLDER``."""
