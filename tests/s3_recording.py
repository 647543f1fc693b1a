"""Records, with boto3 itself, what a process asks of S3. Tests use it to see which rights a job needs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import s3_calls


@dataclass(frozen=True)
class Request:
    """One call of the API.

    key: of the object; None where the call is about the bucket.
    prefix: of a listing.
    """

    operation: str
    bucket: str
    key: str | None
    prefix: str | None


def record(path: str) -> None:
    """From now on, write each call of this process's client as a line of the file at `path`.

    Call it in a sandbox too, because its process has its own client.
    """

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        line = [model.name, params["Bucket"], params.get("Key"), params.get("Prefix")]
        with Path(path).open("a") as file:  # one short write, so that lines of several processes do not mix
            file.write(json.dumps(line) + "\n")

    events = s3_calls.shared_client().meta.events
    events.register("before-parameter-build.s3", note, unique_id=path)


def recorded(path: Path) -> set[Request]:
    return {Request(*json.loads(line)) for line in path.read_text().splitlines()}
