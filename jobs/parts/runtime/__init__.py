"""What every job needs: options, exit codes, logs, the Ray cluster, sandboxes, signals."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]  # the folder that holds jobs/, models/, imaging/ and datasets/
