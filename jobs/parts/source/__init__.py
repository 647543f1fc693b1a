"""Chapters from outside, read through a sandbox. All jobs that read a library share this."""
