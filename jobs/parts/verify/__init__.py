"""The parts of jobs/verify.py."""
