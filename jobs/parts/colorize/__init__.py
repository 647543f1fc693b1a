"""The parts of jobs/colorize.py."""
