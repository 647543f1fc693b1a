"""The parts of jobs/import_weights.py."""
