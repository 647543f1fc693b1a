"""The parts of jobs/evaluate.py."""
