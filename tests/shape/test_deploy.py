"""The files of deploy/ agree with each other, and the check that says so can fail."""

import copy
import importlib.machinery
import importlib.util
import subprocess

import pytest
import yaml
from support.paths import ROOT

COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())


@pytest.fixture(scope="module")
def check():
    loader = importlib.machinery.SourceFileLoader("deploy_check", str(ROOT / "deploy/check"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def image(check):
    return check.final_stage(check.parse_dockerfile((ROOT / "deploy/Dockerfile").read_text()))


def test_the_files_agree():
    subprocess.run([ROOT / "deploy/check", "--files"], check=True)


def test_the_image_copies_all_that_its_build_needs(check, tmp_path):
    """What its last RUN configures and would compile, where only that is there."""
    steps = check.parse_dockerfile((ROOT / "deploy/Dockerfile").read_text())
    ends = [name for name, _ in steps].index("FROM", 1)
    stage = check.Stage(tmp_path)
    for name, argument in steps[:ends]:
        if name == "WORKDIR":
            stage.folder = argument
        elif name == "COPY":
            stage.copy(argument.split(), {})
    configure, build = steps[ends - 1][1].split(" && ")
    assert configure.startswith("cmake --preset") and build.startswith("cmake --build")
    for command in (configure, f"{build} -- -n"):
        subprocess.run(command.split(), cwd=stage.inside("."), check=True)


def spoil_listen(compose):
    compose["services"]["engine"]["environment"]["LISTEN"] = "0.0.0.0:8000"


def spoil_port(compose):
    compose["services"]["postgres"]["ports"] = ["5432:5432"]


def spoil_password(compose):
    compose["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"] = "other"


def spoil_volume(compose):
    del compose["volumes"]["engine-data"]


def spoil_dependency(compose):
    del compose["services"]["postgres"]["healthcheck"]


@pytest.mark.parametrize(
    "spoil", [spoil_listen, spoil_port, spoil_password, spoil_volume, spoil_dependency]
)
def test_a_compose_file_that_would_not_work_is_found(check, image, spoil):
    compose = copy.deepcopy(COMPOSE)
    assert check.compose_faults(compose, image) == []
    spoil(compose)
    assert check.compose_faults(compose, image) != []


def test_an_image_that_runs_as_root_is_found(check, image):
    assert check.image_faults(image) == []
    assert check.image_faults(image | {"USER": "root"}) != []


def test_continued_lines_and_comments_are_read_as_docker_reads_them(check):
    steps = check.parse_dockerfile("# one\nFROM a AS b\nRUN x \\\n    # two\n    && y\nUSER z\n")
    assert steps == [("FROM", "a AS b"), ("RUN", "x && y"), ("USER", "z")]


def test_an_instruction_that_cannot_be_carried_out_is_found(check):
    with pytest.raises(check.Fault, match="ADD"):
        check.parse_dockerfile("FROM a\nADD x y\n")
