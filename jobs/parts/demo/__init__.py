"""The parts of jobs/demo.py."""
