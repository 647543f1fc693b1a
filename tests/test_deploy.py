"""The files in deploy/: KubeRay takes the manifests, the jobs take the commands, rights and addresses agree."""

import copy
import functools
import importlib
import json
import re
import shlex
from collections.abc import Callable
from typing import Any

import click
import jsonschema
import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer, get_nodes_for

from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.runtime import ROOT
from jobs.parts.train.config import TrainConfig
from jobs.parts.train.trainer import worker_resources

SCHEMA = json.loads((ROOT / "tests/rayjob.schema.json").read_text())
JOBS = {"colorize": ColorizeConfig, "train": TrainConfig}


@functools.cache
def manifest_text(job: str) -> str:
    return (ROOT / f"deploy/rayjob-{job}.yaml").read_text()


def manifest(job: str) -> dict[str, Any]:
    return yaml.safe_load(manifest_text(job))


def cluster_of(job: str) -> dict[str, Any]:
    return manifest(job)["spec"]["rayClusterSpec"]


def groups(job: str) -> dict[str, dict[str, Any]]:
    return {group["groupName"]: group for group in cluster_of(job)["workerGroupSpecs"]}


def pods(job: str) -> list[dict[str, Any]]:
    cluster = cluster_of(job)
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


# -- as KubeRay takes it


@pytest.mark.parametrize("job", JOBS)
def test_manifest_has_fields_that_kuberay_knows(job: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(manifest(job), SCHEMA)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda spec: spec.update(shutdownAfterJobFinished=True), "shutdownAfterJobFinished"),
        (lambda spec: spec.update(backoffLimit="2"), "integer"),
        (lambda spec: spec["rayClusterSpec"].update(enableInTreeAutoScaling=True), "enableInTreeAutoScaling"),
        (lambda spec: spec["rayClusterSpec"]["workerGroupSpecs"][0].update(minReplica=1), "minReplica"),
        (lambda spec: spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}), "string"),
        (
            lambda spec: spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"].update(serviceAccount="x"),
            "serviceAccount",
        ),
    ],
)
def test_a_typo_is_caught(spoil: Callable[[dict[str, Any]], None], told: str) -> None:
    spoiled = copy.deepcopy(manifest("colorize"))
    spoil(spoiled["spec"])
    with pytest.raises(jsonschema.ValidationError, match=told):
        jsonschema.validate(spoiled, SCHEMA)


# -- the command


def command_of(entrypoint: str) -> tuple[str, list[str]]:
    """(job, arguments) of `python /app/jobs/<job>.py ...`, with the path where Dockerfile puts the jobs."""
    python, script, *arguments = shlex.split(entrypoint)
    found = re.fullmatch(r"/app/jobs/(\w+)\.py", script)
    assert python == "python"
    assert found
    dockerfile = (ROOT / "Dockerfile").read_text().splitlines()
    assert {"WORKDIR /app", "COPY jobs jobs"} <= set(dockerfile)
    return found[1], arguments


def parse(entrypoint: str) -> Any:
    """The job's config, as its own command line makes it. Raises click.UsageError, BadUsageError."""
    job, arguments = command_of(entrypoint)
    command: click.Command = importlib.import_module(f"jobs.{job}").cli
    return JOBS[job](**command.make_context(job, arguments).params)


@pytest.mark.parametrize("job", JOBS)
def test_entrypoint_is_a_command_of_ours(job: str) -> None:
    assert isinstance(parse(manifest(job)["spec"]["entrypoint"]), JOBS[job])


def test_entrypoint_with_an_unknown_option_is_refused() -> None:
    entrypoint = manifest("colorize")["spec"]["entrypoint"]
    with pytest.raises(click.NoSuchOption, match="--origin"):
        parse(entrypoint.replace("--source", "--origin"))


def test_jobs_ask_for_as_many_gpus_as_they_may_have() -> None:
    """A cluster that starts with no nodes has no GPU to count."""
    colorize, train = (parse(manifest(job)["spec"]["entrypoint"]) for job in ("colorize", "train"))
    assert (colorize.device, train.device) == ("cuda", "cuda")
    assert colorize.num_actors == "auto"  # as many as there are
    assert int(train.num_workers) == groups("train")["train"]["maxReplicas"]


def test_policy_is_of_the_addresses_in_the_entrypoint() -> None:
    config = parse(manifest("colorize")["spec"]["entrypoint"])
    policy = json.loads((ROOT / "deploy/iam-policy.json").read_text())
    by_action: dict[str, set[str]] = {}
    for statement in policy["Statement"]:
        for action in statement["Action"]:
            by_action.setdefault(action, set()).update(statement["Resource"])
    source, model, out = (
        f"arn:aws:s3:::{uri.removeprefix('s3://')}/*" for uri in (config.source, config.model, config.out)
    )
    assert by_action["s3:GetObject"] == {source, model, out}
    assert by_action["s3:PutObject"] == {out}


# -- the cluster


@pytest.mark.parametrize("job", JOBS)
def test_cluster_scales_from_a_head_that_runs_no_work(job: str) -> None:
    spec, cluster = manifest(job)["spec"], cluster_of(job)
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["idleTimeoutSeconds"] > 0
    assert [(group["minReplicas"], group["replicas"]) for group in groups(job).values()] == [(0, 0)] * len(groups(job))
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["backoffLimit"] > 0


@pytest.mark.parametrize("job", JOBS)
def test_cluster_demands_the_token_and_names_no_key(job: str) -> None:
    assert cluster_of(job)["authOptions"] == {"mode": "token"}
    assert cluster_of(job)["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert not re.search(r"secret_?access|access_?key|AKIA|auth_token", manifest_text(job), re.IGNORECASE)
    assert {pod["serviceAccountName"] for pod in pods(job)} == {f"mangahue-{job}"}


@pytest.mark.parametrize("job", JOBS)
def test_every_node_runs_the_image_of_cluster_yaml(job: str) -> None:
    containers = [container for pod in pods(job) for container in pod["containers"]]
    launched = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    assert {container["image"] for container in containers} == {launched["docker"]["image"]}
    ray_version = re.search(r"ARG RAY_VERSION=(\S+)", (ROOT / "Dockerfile").read_text())
    assert ray_version
    assert cluster_of(job)["rayVersion"] == ray_version[1]
    assert all({"name": "PYTHONPATH", "value": "/app"} in container["env"] for container in containers)


def test_colouring_is_on_spot_nodes_and_training_is_not() -> None:
    capacity = {
        name: group["template"]["spec"]["nodeSelector"]["eks.amazonaws.com/capacityType"]
        for job in JOBS
        for name, group in groups(job).items()
    }
    assert capacity == {"colour": "SPOT", "pages": "ON_DEMAND", "train": "ON_DEMAND"}


@pytest.mark.parametrize(
    ("job", "demand", "group"),
    [
        ("colorize", {"CPU": 1}, "pages"),
        ("colorize", {"CPU": 0.9, "GPU": 1}, "colour"),
        ("train", worker_resources(1.0, on_gpu=True, offered={"on_demand": 1.0}), "train"),
    ],
)
def test_each_kind_of_work_gets_its_group(job: str, demand: dict[str, float], group: str) -> None:
    """Uses the same code with which Ray's autoscaler reads the manifest."""
    resource = {"metadata": {"name": job, "namespace": "mangahue"}, "spec": cluster_of(job)}
    config = _derive_autoscaling_config_from_ray_cr(resource)
    scorer = functools.partial(_default_utilization_scorer, node_availability_summary=None)
    head = config["head_node_type"]
    added, unmet = get_nodes_for(config["available_node_types"], {head: 1}, head, 4, [demand], scorer)
    assert (added, unmet) == ({group: 1}, [])


def test_training_sees_from_the_head_alone_that_there_are_on_demand_nodes() -> None:
    config = _derive_autoscaling_config_from_ray_cr(
        {"metadata": {"name": "train", "namespace": "mangahue"}, "spec": cluster_of("train")}
    )
    offered = config["available_node_types"][config["head_node_type"]]["resources"]
    assert worker_resources(1.0, on_gpu=True, offered=offered) == {"CPU": 1.0, "GPU": 1, "on_demand": 0.001}
