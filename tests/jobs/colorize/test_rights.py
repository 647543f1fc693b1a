"""A colouring job with only the rights of deploy/iam-policy.json, on a server that enforces them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from datasets import storage_s3
from datasets.errors import AccessDeniedError, ObjectNotFoundError
from datasets.storage import open_storage
from jobs.parts.colorize.conclude import conclude
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.plan import plan
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.stages import Stages
from jobs.parts.colorize.tasks import CHUNK_MEMBERS, ChapterTask
from jobs.parts.ledger.ledger import HOME, Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.model.folder import load_model
from jobs.parts.runtime import ROOT
from jobs.parts.runtime.outcome import Exit
from jobs.parts.runtime.sandbox import sandbox
from models.variant import Variant
from tests.archives import zipped
from tests.jobs.colorize.chapters import color_chapter, gray_page
from tests.s3_recording import Request, record, recorded
from tests.s3_server import LAB, Identity, SeaweedFS
from tests.untrained import publish_untrained

POLICY = json.loads((ROOT / "deploy/iam-policy.json").read_text())
# The names that the policy uses.
BUCKET = "mangahue"
SOURCE, OUT, MODEL = (f"s3://{BUCKET}/{place}" for place in ("library", "coloured", "runs/first/model"))
JOB = Identity("job", "jobkey", "jobsecret", policy=POLICY)
NARROW = Identity(  # the same as SeaweedFS's own actions, which do not separate delete from write
    "narrow",
    "narrowkey",
    "narrowsecret",
    actions=(
        *(f"{action}:{BUCKET}/library/*" for action in ("Read", "List")),
        *(f"{action}:{BUCKET}/coloured/*" for action in ("Read", "List", "Write")),
        f"Read:{BUCKET}/runs/first/model/*",
    ),
)
ACTION_OF = {  # from AWS's reference of S3 API operations and the permissions they need
    "HeadObject": "s3:GetObject",
    "GetObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObject": "s3:DeleteObject",
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
}


@pytest.fixture(scope="module")
def server() -> Iterator[SeaweedFS]:
    with SeaweedFS(bucket=BUCKET, identities=[JOB, NARROW]) as running:
        yield running


def become(identity: Identity, server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on the environment is that of `identity`, in the sandbox too."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in server.environment(identity).items():
        monkeypatch.setenv(name, value)
    sandbox().close()


@pytest.fixture
def library(server: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A model and three chapters: an archive, a folder and a long one. The output is empty. An identity with all rights
    puts them.
    """
    become(LAB, server, monkeypatch)
    everything = open_storage(f"s3://{BUCKET}")
    for entry in list(everything.list()):
        everything.delete(entry.key)
    publish_untrained(tmp_path / "model", base_channels=4, image_size=32)
    for file in (tmp_path / "model").iterdir():
        open_storage(MODEL).put(file.name, file)
    source = open_storage(SOURCE)
    source.put("a/short.cbz", zipped({"1.png": gray_page(1), "2.png": gray_page(2)}))
    source.put("a/folder/1.png", gray_page(3))
    source.put("long.cbz", zipped({f"{number}.png": gray_page(number) for number in range(CHUNK_MEMBERS + 2)}))
    yield
    sandbox().close()  # the next test has another environment


def chapter(task: ChapterTask, ledger: Ledger, job_settings: JobSettings, variant: Variant) -> Manifest:
    """All stages of a chapter, without Ray."""
    return color_chapter(task, Stages(ledger, job_settings.pages, job_settings.image_size), Predictor(variant, 8))


def colorize() -> tuple[Exit, int]:
    """What jobs/colorize.py does, without Ray. Returns its exit code and the number of chapters it coloured."""
    job_settings = JobSettings.of(ColorizeConfig(model=MODEL, source=SOURCE, out=OUT))
    ledger = Ledger(OUT, job_settings.fingerprint)
    state = plan(SOURCE, ledger, job_settings, replace=False)
    variant = load_model(job_settings.model)
    for task in state.tasks:
        state.record(chapter(task, ledger, job_settings, variant))
    return conclude(state, ledger, job_settings), len(state.computed)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("identity", [JOB, NARROW], ids=lambda who: who.name)
def test_a_job_needs_no_more(server: SeaweedFS, monkeypatch: pytest.MonkeyPatch, identity: Identity) -> None:
    become(identity, server, monkeypatch)
    assert colorize() == (Exit.DONE, 3)
    published = {entry.key for entry in open_storage(OUT).list() if not entry.key.startswith(HOME)}
    assert published == {"a/short.cbz", "a/folder/1.jpg", "long.cbz", "_SUCCESS"}
    assert colorize() == (Exit.DONE, 0)


@pytest.mark.usefixtures("library")
def test_a_chapter_that_changed_is_replaced(server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first manifest can't be deleted, and counts for nothing."""
    become(JOB, server, monkeypatch)
    assert colorize() == (Exit.DONE, 3)
    become(LAB, server, monkeypatch)
    open_storage(SOURCE).put("a/short.cbz", zipped({"1.png": gray_page(77)}))
    become(JOB, server, monkeypatch)
    assert colorize() == (Exit.DONE, 1)
    log = [
        entry.key for entry in open_storage(OUT).list(HOME) if "short.cbz" in entry.key and "previews" not in entry.key
    ]
    assert log == [f"{HOME}/chapters/a/short.cbz.json", f"{HOME}/revisions/a/short.cbz/2.json"]
    assert colorize() == (Exit.DONE, 0)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("identity", [JOB, NARROW], ids=lambda who: who.name)
def test_a_job_can_do_no_more(server: SeaweedFS, monkeypatch: pytest.MonkeyPatch, identity: Identity) -> None:
    become(identity, server, monkeypatch)
    bucket = open_storage(f"s3://{BUCKET}")
    for key in ("library/a/short.cbz", "library/new.cbz", "runs/first/model/model.json", "coloured-2/x.cbz", "x.cbz"):
        with pytest.raises(AccessDeniedError):
            bucket.put(key, b"not meant")
        with pytest.raises(AccessDeniedError):
            bucket.put(key, b"not meant", if_absent=True)
        with pytest.raises(AccessDeniedError):
            bucket.delete(key)
    for prefix in ("", "runs/", "coloured-2/"):
        with pytest.raises(AccessDeniedError):
            list(bucket.list(prefix))
    with pytest.raises(AccessDeniedError):
        bucket.read("coloured-2/x.cbz")
    become(LAB, server, monkeypatch)
    assert open_storage(SOURCE).read("a/short.cbz").startswith(b"PK")  # it is still there


@pytest.mark.usefixtures("library")
def test_a_job_can_not_delete_what_it_has_published(server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> None:
    become(JOB, server, monkeypatch)
    assert colorize() == (Exit.DONE, 3)
    for key in ("long.cbz", f"{HOME}/job.json", f"{HOME}/chapters/long.cbz.json"):
        with pytest.raises(AccessDeniedError):
            open_storage(OUT).delete(key)
        assert open_storage(OUT).stat(key) is not None


@pytest.mark.usefixtures("library")
def test_a_missing_object_is_told_from_a_refusal(server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> None:
    become(JOB, server, monkeypatch)
    assert open_storage(OUT).stat("nothing.cbz") is None
    with pytest.raises(ObjectNotFoundError):
        open_storage(SOURCE).read("nothing.cbz")


# -- the policy, compared with what a run really asks for


@dataclass(frozen=True)
class Grant:
    """One permission of the policy.

    prefix: of a listing; None where the permission has no such condition.
    """

    action: str
    resource: str
    prefix: str | None

    def covers(self, request: Request) -> bool:
        arn = f"arn:aws:s3:::{request.bucket}" + (f"/{request.key}" if request.key is not None else "")
        asked = self.prefix is None or (request.prefix is not None and like(self.prefix, request.prefix))
        return self.action == ACTION_OF[request.operation] and like(self.resource, arn) and asked


def like(pattern: str, text: str) -> bool:
    """Match as IAM does: '*' is any text, '/' included."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


def grants(policy: dict[str, Any]) -> list[Grant]:
    found = []
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
        condition = statement.get("Condition", {"StringLike": {"s3:prefix": [None]}})
        assert [*condition, *condition["StringLike"]] == ["StringLike", "s3:prefix"]
        found += [
            Grant(action, resource, prefix)
            for action in statement["Action"]
            for resource in statement["Resource"]
            for prefix in condition["StringLike"]["s3:prefix"]
        ]
    return found


def test_no_grant_is_wider_than_a_prefix() -> None:
    for grant in grants(POLICY):
        assert "*" not in grant.action
        if grant.action == "s3:ListBucketMultipartUploads":  # lists uploads; AWS has no condition for it
            continue
        place = grant.prefix if grant.action.startswith("s3:List") else grant.resource.partition(f":::{BUCKET}/")[2]
        assert place, f"{grant} is of the whole bucket"
        assert re.fullmatch(r"[^*?]+/\*|[^*?]+", place), grant


@pytest.mark.usefixtures("library")
def test_the_policy_grants_what_a_run_asks_and_nothing_else(
    server: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "requests"
    become(JOB, server, monkeypatch)
    record(str(log))
    sandbox().call(record, str(log), seconds=60)  # chapters are read there
    assert colorize() == (Exit.DONE, 3)
    # A second run, whose puts go in parts, as for large archives. A put that finds its key taken is aborted.
    monkeypatch.setattr(storage_s3, "MULTIPART_ABOVE", 0)
    keys = {"aws_access_key_id": LAB.access_key, "aws_secret_access_key": LAB.secret_key}
    client = boto3.session.Session().client("s3", endpoint_url=server.endpoint, region_name="us-east-1", **keys)
    client.put_object(Bucket=BUCKET, Key="library/b.cbz", Body=zipped({"1.png": gray_page(9)}))
    assert colorize() == (Exit.DONE, 1)

    asked = recorded(log)
    assert {"PutObject", "CompleteMultipartUpload", "AbortMultipartUpload"} <= {request.operation for request in asked}
    assert any(request.operation == "GetObject" and request.key == "library/long.cbz" for request in asked)
    granted = grants(POLICY)
    assert [request for request in asked if not any(grant.covers(request) for grant in granted)] == []
    assert [grant for grant in granted if not any(grant.covers(request) for request in asked)] == []
