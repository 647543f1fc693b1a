"""What a process asks of S3, written down by boto3 itself: for tests of what a job needs to be allowed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import s3_calls


@dataclass(frozen=True)
class Request:
    """One call of the API. key: of the object, None where it is the bucket that is asked; prefix: of a listing."""

    operation: str
    bucket: str
    key: str | None
    prefix: str | None


def record(path: str) -> None:
    """From now on each call of this process's client, in its present environment, is a line of the file at `path`.

    Also to be called in a sandbox: its process has a client of its own.
    """

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        line = [model.name, params["Bucket"], params.get("Key"), params.get("Prefix")]
        with Path(path).open("a") as file:  # one short write: lines of several processes do not mix
            file.write(json.dumps(line) + "\n")

    events = s3_calls.shared_client().meta.events
    events.register("before-parameter-build.s3", note, unique_id=path)


def recorded(path: Path) -> set[Request]:
    return {Request(*json.loads(line)) for line in path.read_text().splitlines()}
