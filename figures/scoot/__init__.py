"""SCOOT against what it is compared with, on four services."""
