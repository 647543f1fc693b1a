"""The repository itself: the cluster's description, what is shipped to it, and names that must not collide."""

import copy
import functools
import importlib.metadata
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import botocore.session
import jsonschema
import pytest
import yaml
from botocore.validate import ParamValidator
from ray._private.ray_constants import get_runtime_env_default_excludes
from ray._private.runtime_env.packaging import create_package
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer, get_nodes_for
from ray.autoscaler._private.util import prepare_config, validate_config

from jobs.parts.runtime import ROOT
from jobs.parts.train.trainer import worker_resources

PACKAGES = ("jobs", "models", "datasets", "imaging")
BUNDLED = ("models/bundled/model.json", "models/bundled/model.safetensors")
MOST_LINES = 430  # about 400, and some room for tests that list cases


def shipped_sources() -> list[Path]:
    """Every module and template of our packages, relative to the root."""
    found = [p for name in PACKAGES for p in (ROOT / name).rglob("*") if p.suffix in {".py", ".j2"} and p.is_file()]
    return sorted(p.relative_to(ROOT) for p in found)


# --- cluster.yaml ---


@pytest.fixture
def cluster() -> dict:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@functools.cache
def ec2_model():
    return botocore.session.Session().get_service_model("ec2")


def validate_cluster(config: dict) -> dict:
    """Raise unless Ray's launcher and EC2's model (both offline) accept `config`. Returns it with Ray's defaults."""
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    instance_types = ec2_model().shape_for("InstanceType").enum
    run_instances = ec2_model().operation_model("RunInstances").input_shape
    for name, node_type in prepared["available_node_types"].items():
        node_config = node_type["node_config"]
        report = ParamValidator().validate({**node_config, "MinCount": 1, "MaxCount": 1}, run_instances)
        if report.has_errors():
            raise ValueError(f"{name}: {report.generate_report()}")
        if node_config["InstanceType"] not in instance_types:
            raise ValueError(f"{name}: EC2 has no instance type {node_config['InstanceType']!r}")
    return prepared


def test_cluster_is_valid(cluster):
    prepared = validate_cluster(cluster)
    assert prepared["setup_commands"] == [], "Ray's defaults would install a nightly Ray on each node"


def test_cluster_with_an_unknown_key_is_refused(cluster):
    cluster["available_node_types"]["colour"]["max_worker"] = 3
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        validate_cluster(cluster)


def test_cluster_with_an_unknown_instance_type_is_refused(cluster):
    cluster["available_node_types"]["colour"]["node_config"]["InstanceType"] = "g5.tiny"
    with pytest.raises(ValueError, match=r"colour: EC2 has no instance type 'g5.tiny'"):
        validate_cluster(cluster)


def test_cluster_with_an_unknown_node_setting_is_refused(cluster):
    cluster["available_node_types"]["train"]["node_config"]["InstanceMarket"] = "spot"
    with pytest.raises(ValueError, match="train: Unknown parameter"):
        validate_cluster(cluster)


def test_cluster_scales_from_a_head_that_runs_no_work(cluster):
    node_types = cluster["available_node_types"]
    assert node_types[cluster["head_node_type"]]["resources"] == {"CPU": 0, "on_demand": 1}
    assert cluster["idle_timeout_minutes"] > 0
    for name, node_type in node_types.items():
        assert "CPU" in node_type["resources"], f"{name}: state its resources"
        assert node_type.get("min_workers", 0) == 0, f"{name}: the cluster scales from zero"


def test_cluster_names_no_key_and_demands_the_token(cluster):
    text = (ROOT / "cluster.yaml").read_text().lower()
    assert "secret_access_key" not in text
    assert "access_key_id" not in text
    assert "--env RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]
    assert all("IamInstanceProfile" in t["node_config"] for t in cluster["available_node_types"].values())


@pytest.mark.parametrize(
    ("demand", "node_type"),
    [
        ({"CPU": 1}, "pages"),
        ({"GPU": 1}, "colour"),
        ({"CPU": 1, "GPU": 1}, "colour"),
        (worker_resources(1.0, on_gpu=True, offered={"CPU": 0, "on_demand": 1}), "train"),
        (worker_resources(1.0, on_gpu=False, offered={"CPU": 0, "on_demand": 1}), "pages"),
    ],
)
def test_each_kind_of_work_gets_its_kind_of_node(cluster, demand, node_type):
    prepared = prepare_config(cluster)
    scorer = functools.partial(_default_utilization_scorer, node_availability_summary=None)
    head = prepared["head_node_type"]
    added, unmet = get_nodes_for(prepared["available_node_types"], {head: 1}, head, 4, [demand], scorer)
    assert (added, unmet) == ({node_type: 1}, [])


def test_cluster_keeps_its_dashboard_to_itself_and_serves_metrics(cluster):
    (head,) = [line for line in cluster["head_start_ray_commands"] if "ray start" in line]
    (worker,) = [line for line in cluster["worker_start_ray_commands"] if "ray start" in line]
    assert "--dashboard-host=127.0.0.1" in head
    assert all("--metrics-export-port=8080" in line for line in (head, worker))


def test_only_colouring_is_on_spot_nodes(cluster):
    node_types = cluster["available_node_types"]
    spot = {
        name: node_type["node_config"].get("InstanceMarketOptions", {}).get("MarketType") == "spot"
        for name, node_type in node_types.items()
    }
    assert spot == {"head": False, "train": False, "colour": True, "pages": False}
    assert spot == {name: "on_demand" not in node_type["resources"] for name, node_type in node_types.items()}


def test_training_asks_for_on_demand_nodes_where_there_are_any():
    assert worker_resources(0.5, on_gpu=False, offered={"CPU": 4.0}) == {"CPU": 0.5}
    assert worker_resources(0.5, on_gpu=False, offered={"on_demand": 0.0}) == {"CPU": 0.5}
    assert worker_resources(1.0, on_gpu=True, offered={"on_demand": 2.0}) == {"CPU": 1.0, "GPU": 1, "on_demand": 0.001}


# --- the image ---


def test_every_package_is_in_the_image(cluster):
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert {f"COPY {name} {name}" for name in PACKAGES} <= set(dockerfile.splitlines())
    assert "PYTHONPATH=/app" in dockerfile
    assert "--env PYTHONPATH=/app" in cluster["docker"]["run_options"]


# --- what `ray job submit --working-dir .` ships ---


def package(folder: Path, target: Path, *, include_gitignore: bool = True) -> set[str]:
    """The names in the zip that Ray makes of `folder` as a working directory."""
    excludes = get_runtime_env_default_excludes()
    create_package(str(folder), target, include_gitignore=include_gitignore, excludes=excludes)
    with zipfile.ZipFile(target) as zipped:
        return set(zipped.namelist())


# .gitignore is not read where RAY_RUNTIME_ENV_IGNORE_GITIGNORE is set.
@pytest.mark.parametrize("include_gitignore", [True, False])
def test_every_source_is_shipped(tmp_path, include_gitignore):
    shipped = package(ROOT, tmp_path / "package.zip", include_gitignore=include_gitignore)
    missing = {p.as_posix() for p in shipped_sources()} - shipped
    assert not missing, "dropped by .gitignore or .rayignore"
    assert not [name for name in shipped if name.startswith((".git/", ".venv/", "out/", "build/"))]


@pytest.fixture
def checkout(tmp_path):
    """Our packages, with the files of a bundled model, and what says which of them are shipped and installed."""
    folder = tmp_path / "checkout"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".gitignore", ".rayignore", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    for name in BUNDLED:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("include_gitignore", [True, False])
def test_nothing_but_sources_is_shipped(tmp_path, checkout, include_gitignore):
    sources = {p.relative_to(checkout).as_posix() for p in checkout.rglob("*") if p.is_file()}
    for name in (
        ".git/objects/pack/pack-0.pack",
        ".venv/lib/torch.so",
        ".mypy_cache/3.11/cache.json",
        "build/bench/result.json",
        "jobs/__pycache__/train.cpython-311.pyc",
        "mangahue.egg-info/PKG-INFO",
        "out/demo/chapter.cbz",
        "tests/data/page.png",
        "tests/datasets/data/volume.cbz",
    ):
        planted = checkout / name
        planted.parent.mkdir(parents=True, exist_ok=True)
        planted.touch()
    shipped = package(checkout, tmp_path / "package.zip", include_gitignore=include_gitignore)
    assert {name for name in shipped if not name.endswith("/")} == sources
    assert set(BUNDLED) <= sources


def test_what_is_installed_holds_the_bundled_model_and_the_templates(checkout):
    code = (
        "from setuptools.dist import Distribution; made = Distribution({'script_name': '-'}); "
        "made.parse_config_files(); step = made.get_command_obj('build_py'); step.ensure_finalized(); "
        "print(*step.get_outputs(), sep='\\n')"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    installed = {name.removeprefix("build/lib/") for name in told.stdout.splitlines()}
    sources = {p.relative_to(checkout).as_posix() for p in checkout.rglob("*") if p.suffix in {".py", ".j2"}}
    assert {*sources, *BUNDLED} <= installed


def test_git_ignores_no_source(tmp_path):
    git = shutil.which("git")
    if git is None:
        pytest.skip("no git here")
    # A repository of its own, so that neither the user's excludes nor files tracked already matter.
    subprocess.run([git, "init", "-q", "--bare", tmp_path / "git"], check=True)
    sources = "\n".join(p.as_posix() for p in shipped_sources())
    repository = [f"--git-dir={tmp_path / 'git'}", f"--work-tree={ROOT}", "-c", "core.bare=false"]
    done = subprocess.run(
        [git, *repository, "-c", "core.excludesFile=", "check-ignore", "--no-index", "--verbose", "--stdin"],
        input=sources,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr  # 1: none is ignored


# --- names ---


@functools.cache
def owners() -> dict[str, set[str]]:
    """For each top-level import name, the installed distributions that provide it, other than ours."""
    found: dict[str, set[str]] = {}
    for distribution in importlib.metadata.distributions():
        owner = distribution.metadata["Name"]
        declared = (distribution.read_text("top_level.txt") or "").split()
        recorded = {f.parts[0] for f in distribution.files or () if f.suffix in {".py", ".so"}}
        for name in {*declared, *recorded}:
            if owner != "mangahue":
                found.setdefault(name.partition(".")[0], set()).add(owner)
    return found


def test_no_installed_distribution_has_our_names():
    assert "ray" in owners(), "the distributions' records were not read"
    assert {name: owners()[name] for name in PACKAGES if name in owners()} == {}


def test_no_module_is_named_like_a_library():
    # jobs/ itself is on the path when a job runs as a script, so `import queue` would find a jobs/queue.py.
    taken = sys.stdlib_module_names | owners().keys()
    names = [(p, p.parent.name if p.stem == "__init__" else p.stem) for p in shipped_sources() if len(p.parts) > 1]
    assert [str(path) for path, name in names if name in taken] == []


def test_every_package_folder_is_a_package():
    folders = {folder for p in shipped_sources() if p.suffix == ".py" for folder in p.parents if folder != Path()}
    assert {Path(name) for name in PACKAGES} <= folders
    assert [str(folder) for folder in sorted(folders) if not (ROOT / folder / "__init__.py").is_file()] == []


def test_files_stay_short():
    lengths = {str(p): len((ROOT / p).read_text().splitlines()) for p in shipped_sources()}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}
