"""The files that people start clusters with: well-formed, of the versions that are tested, and shut to strangers."""

import copy
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from kuberay import RAY_JOB

from genreray import __version__, parsing

ROOT = Path(__file__).parent.parent
CLUSTER = ROOT / "cluster.yaml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
RAY_JOBS = sorted(path for path in (ROOT / "deploy" / "kuberay").glob("*.yaml") if path.stem != "network-policy")
DEPLOY = sorted(path for path in (ROOT / "deploy").rglob("*") if path.is_file())
SHIPPED = [CLUSTER, *DEPLOY, *sorted((ROOT / "jobs").glob("*.py"))]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split("\n") if "==" in line[1:])


SECRETS = [
    r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
    r"(secret|passw(or)?d|token|access_key)\w*\s*[=:]\s*['\"]?[A-Za-z0-9/+_-]{12,}",
    r"PRIVATE KEY",
    r"://[^/\s]+:[^/\s]+@",
]


def load(path: Path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def validated(config):
    """As `ray up` does before it asks AWS for anything."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


def test_the_cluster_is_one_that_ray_up_takes():
    prepared = validated(load(CLUSTER))
    # What is left out comes from Ray's defaults, which install a nightly build and open the dashboard to all.
    for name in ("setup_commands", "head_setup_commands", "worker_setup_commands"):
        assert load(CLUSTER)[name] == [] == prepared[name]
    assert all("nightly" not in str(value) and "wheels" not in str(value) for value in prepared.values())


@pytest.mark.parametrize(
    "path",
    [
        ["idle_timeout_minuts"],
        ["available_node_types", "cpu", "resorces"],
        ["available_node_types", "gpu", "max_worker"],
        ["docker", "imgae"],
        ["auth", "ssh_usr"],
    ],
)
def test_a_mistyped_key_of_the_cluster_is_caught(path):
    config = load(CLUSTER)
    owner = config
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = 1
    with pytest.raises(jsonschema.ValidationError, match=path[-1]):
        validated(config)


def test_a_head_that_is_no_node_type_is_caught():
    with pytest.raises(ValueError, match="head_node_type"):
        validated({**load(CLUSTER), "head_node_type": "haed"})


def test_the_head_runs_no_tasks_and_workers_are_spot_from_none():
    config = load(CLUSTER)
    types = config["available_node_types"]
    head = types[config["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert head["max_workers"] == 0
    assert "--num-cpus=0" in " ".join(config["head_start_ray_commands"])
    assert "InstanceMarketOptions" not in head["node_config"]
    workers = {name: kind for name, kind in types.items() if name != config["head_node_type"]}
    assert workers.keys() == {"cpu", "gpu"}
    for kind in workers.values():
        assert kind["min_workers"] == 0 < kind["max_workers"] <= config["max_workers"]
        assert kind["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert workers["gpu"]["resources"] == {"CPU": 0}  # or the autoscaler takes them for extraction too


@pytest.fixture(scope="module")
def instance():
    """What EC2 takes for the start of an instance, as its client knows it."""
    import botocore.session

    return botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


def faults_of(instance, config: dict) -> str:
    from botocore.validate import ParamValidator

    return ParamValidator().validate({**config, "MinCount": 1, "MaxCount": 1}, instance).generate_report()


@pytest.mark.parametrize("kind", ["head", "cpu", "gpu"])
def test_nodes_are_ones_that_aws_can_start(instance, kind):
    config = load(CLUSTER)["available_node_types"][kind]["node_config"]
    assert faults_of(instance, config) == ""
    assert config["InstanceType"] in instance.members["InstanceType"].enum
    assert 'Unknown parameter in input: "InstanceTyp"' in faults_of(instance, {**config, "InstanceTyp": "t3.nano"})
    profiles = re.findall(r"# (IamInstanceProfile: .*)", CLUSTER.read_text())  # as somebody will have them
    assert len(profiles) == 3
    for profile in profiles:
        assert faults_of(instance, {**config, **yaml.safe_load(profile)}) == ""


def test_all_nodes_have_the_machine_image_that_is_named():
    """Left out, Ray takes one from a list of its own, which is years old."""
    types = load(CLUSTER)["available_node_types"].values()
    (image,) = {kind["node_config"]["ImageId"] for kind in types}
    assert re.fullmatch(r"ami-[0-9a-f]{17}", image)


def test_every_version_is_the_one_that_is_tested():
    ray = PINS["ray"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = (line for line in project["dependencies"] if line.startswith("ray["))
    low, high = re.findall(r"[\d.]+", wanted.split("]")[1])
    assert tuple(map(int, low.split("."))) <= tuple(map(int, ray.split("."))) < tuple(map(int, high.split(".")))
    images = re.findall(r"genreray:([\w.-]+)", "\n".join(path.read_text() for path in SHIPPED))
    assert len(images) >= 6
    assert {image.rsplit("-", 1)[0] for image in images} == {f"{__version__}-ray{ray}"}
    assert {image.rsplit("-", 1)[1] for image in images} <= {"cpu", "cuda"}
    assert [load(path)["spec"]["rayClusterSpec"]["rayVersion"] for path in RAY_JOBS] == [ray] * 3


@pytest.mark.parametrize("path", RAY_JOBS, ids=lambda path: path.stem)
def test_a_ray_job_is_one_that_kuberay_takes(path):
    job = load(path)
    jsonschema.Draft202012Validator(RAY_JOB).validate(job)
    spec = job["spec"]
    assert spec["shutdownAfterJobFinishes"]
    cluster = spec["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    kept = cluster["headGroupSpec"]["template"]["metadata"]["annotations"]  # the job ends with its head
    assert kept["karpenter.sh/do-not-disrupt"] == "true"
    assert kept["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] == group["replicas"] == 0 < group["maxReplicas"]
    python, script, *argv = shlex.split(spec["entrypoint"])
    assert (python, script) == ("python", f"jobs/{path.stem}.py")
    asked = parsing.parse([path.stem, *argv])
    assert getattr(asked, asked.output).startswith("s3://")
    gpus = sum("nvidia.com/gpu" in str(group) for group in cluster["workerGroupSpecs"])
    assert (getattr(asked, "gpu", "auto") == "yes") == bool(gpus)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["spec", "shutdownAfterJobFinish"], True),
        (["spec", "ttlSecondsAfterFinished"], "600"),
        (["spec", "rayClusterSpec", "authOptions", "mode"], "disabled"),
        (["spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "container"], []),
        (["spec", "rayClusterSpec", "workerGroupSpecs", 0, "maxReplica"], 3),
        (["spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "containers", 0, "image"], "genreray:latest"),
    ],
)
def test_a_mistake_in_a_ray_job_is_caught(path, value):
    job = load(RAY_JOBS[0])
    owner = job
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(RAY_JOB).validate(job)


def test_there_are_ray_jobs_for_extract_train_and_tag():
    assert [path.stem for path in RAY_JOBS] == ["extract", "tag", "train"]


def test_the_policy_lets_only_our_pods_and_the_operator_in():
    policy = load(ROOT / "deploy" / "kuberay" / "network-policy.yaml")
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    label = policy["spec"]["podSelector"]["matchLabels"]
    for path in RAY_JOBS:
        spec = load(path)["spec"]
        groups = [spec["rayClusterSpec"]["headGroupSpec"], *spec["rayClusterSpec"]["workerGroupSpecs"]]
        for template in (spec["submitterPodTemplate"], *(group["template"] for group in groups)):
            assert label.items() <= template["metadata"]["labels"].items()


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile with their arguments, continued lines joined and comments left out."""
    lines = [line for line in DOCKERFILE.read_text().split("\n") if not line.lstrip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], " ".join(line.split()[1:])) for line in text.split("\n") if line.strip()]


def test_the_image_has_a_fixed_base_and_the_pinned_versions():
    found = instructions()
    (base,) = (words for name, words in found if name == "FROM")
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base)
    installs = re.findall(r"pip install [^&;\n]*", "\n".join(words for name, words in found if name == "RUN"))
    assert len(installs) == 3
    for command in installs:
        assert "-c constraints.txt" in command or "--no-deps --force-reinstall ." in command
        assert "==" not in command  # versions stand in constraints.txt alone
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"\.\[(\w+)\]", installs[1])
    extras = [need for name in named for need in project["optional-dependencies"][name]]
    assert extras
    for need in [*project["dependencies"], *extras]:
        assert re.split(r"[^\w-]", need)[0].lower() in {name.lower() for name in PINS}


@pytest.mark.parametrize(
    ("arguments", "index"),
    [
        ({}, "https://download.pytorch.org/whl/cpu"),
        ({"DEVICE": "cuda"}, "https://pypi.org/simple"),
        ({"DEVICE": "cuda", "PIP_INDEX_URL": "https://mirror.example/simple"}, "https://mirror.example/simple"),
        ({"TORCH_INDEX_URL": "https://mirror.example/torch"}, "https://mirror.example/torch"),
        ({"DEVICE": "gpu"}, None),
    ],
)
def test_torch_comes_from_the_index_of_its_device_or_the_one_given(arguments, index, tmp_path):
    """The shell's line of the Dockerfile itself, with a pip that only tells what it is asked for."""
    for name in ("python", "pip"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
    given = dict(words.partition("=")[::2] for name, words in instructions() if name == "ARG")
    assert given.keys() == {"DEVICE", "PIP_INDEX_URL", "TORCH_INDEX_URL"}
    (line,) = (words for name, words in instructions() if name == "RUN" and "python -m venv" in words)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", **given, **arguments}
    done = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True)
    if index is None:
        assert done.returncode == 2
        assert done.stderr == "DEVICE is gpu: give cpu or cuda\n"
    else:
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == f"pip install --no-deps --index-url {index} -c constraints.txt torch"


def test_the_image_does_not_run_as_root_and_copies_only_what_it_needs():
    found = instructions()
    users = [words for name, words in found if name == "USER"]
    assert users
    assert all(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) for user in users)
    after = [name for name, _ in found[[name for name, _ in found].index("USER") :]]
    assert "COPY" in after
    assert not [words for name, words in found if name == "ADD" or "sudo" in words or "curl" in words]
    copied = {source for name, words in found if name == "COPY" for source in words.split()[1:-1]}
    ignore = (ROOT / ".dockerignore").read_text().split()
    assert {line[1:] for line in ignore if line.startswith("!")} == copied
    assert all((ROOT / source).exists() for source in copied)
    assert ignore[ignore.index("*") :][0] == "*"


def test_layers_come_from_what_changes_least_to_what_changes_most():
    order = [words for name, words in instructions() if name in ("COPY", "RUN")]
    places = [
        next(i for i, words in enumerate(order) if part in words) for part in ("torch", ".[aws]", "genreray genreray")
    ]
    assert places == sorted(places)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_opens_a_door(path):
    text = path.read_text(encoding="utf-8")
    code = "\n".join(re.sub(r"(^|\s)#.*", "", line) for line in text.split("\n"))
    assert not re.search(r"AUTH_MODE[=:\s\"']+disabled|mode:\s*disabled", code, re.IGNORECASE)
    assert "0.0.0.0" not in code
    assert not re.search(r"privileged:\s*true|hostNetwork|hostPath|runAsUser:\s*0\b", code)
    for secret in SECRETS:  # in comments too
        assert not re.search(secret, text, re.IGNORECASE)


def test_authentication_is_on_in_the_cluster_and_the_image():
    config = load(CLUSTER)
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert "--dashboard-host=127.0.0.1" in " ".join(config["head_start_ray_commands"])
    assert config["file_mounts"] == {"/home/ray/.ray/auth_token": "~/.ray/auth_token"}
    assert any(name == "ENV" and "RAY_AUTH_MODE=token" in words for name, words in instructions())
