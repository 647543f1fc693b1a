"""The parts of jobs/desk.py: a page in the browser that shows what a job has published, and changes what it is told."""
