"""The parts of jobs/ingest.py."""
