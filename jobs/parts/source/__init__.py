"""Chapters from outside, read through a sandbox: what every verb that reads a library shares."""
