"""Networks, losses, training steps: torch only; no Ray, no files."""
