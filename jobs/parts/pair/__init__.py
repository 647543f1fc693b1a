"""The parts of jobs/pair.py."""
