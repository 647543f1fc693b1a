"""The parts of jobs/train.py."""
