"""The fog in a cluster: the files are valid, and agree with one another and with the program."""

import copy
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import promql_parser as promql
import pytest
import yaml

from fog_server.cli import make_parser, read_config
from headtail.config import parse_address
from headtail.server.health import LIVENESS

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
BASE = FOLDER / "base"
# The oldest with all that is used (a pause before a pod stops), and the newest known here.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
FILES = sorted(path for path in BASE.glob("*.yaml") if path.name != "kustomization.yaml")
CUSTOM = {"ServiceMonitor"}
RESTRICTED = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def documents(text: str) -> list[dict]:
    """Return the objects of a YAML text."""
    return [document for document in yaml.safe_load_all(text) if document]


OBJECTS = {
    (document["kind"], document["metadata"]["name"]): document
    for path in FILES
    for document in documents(path.read_text())
}
POD = OBJECTS["Deployment", "fog"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
LABELS = POD["metadata"]["labels"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}


@pytest.fixture(scope="module")
def config():
    """Return the fog's configuration, as the program reads it with the pod's arguments."""
    arguments = [
        str(BASE / "fog-server.toml") if word == "/etc/headtail/fog-server.toml" else word
        for word in CONTAINER["args"]
    ]
    return read_config(make_parser().parse_args(arguments))


def validate(document: dict, version: str) -> None:
    """Check an object against Kubernetes' schema; a key it does not know is an error."""
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [n for n in OBJECTS if n[0] not in CUSTOM], ids="/".join)
def test_object_fits_the_schema(name, version):
    validate(OBJECTS[name], version)


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        (("Deployment", "fog"), ("spec", "replica"), 2),
        (("Deployment", "fog"), ("spec", "template", "spec", "containers"), "none"),
        (("HorizontalPodAutoscaler", "fog"), ("spec", "maxReplicas"), "eight"),
        (("NetworkPolicy", "fog"), ("spec", "egres"), []),
    ],
    ids=["key", "list", "number", "misspelt"],
)
def test_schema_finds_what_is_wrong(name, path, value):
    broken = copy.deepcopy(OBJECTS[name])
    place = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(broken, VERSIONS[-1])


def test_monitor_has_the_operators_form():
    """By hand, from the operator's documentation: no package here carries its schema."""
    monitor = OBJECTS["ServiceMonitor", "fog"]
    assert "monitoring.coreos.com/v1" == monitor["apiVersion"]
    assert {"selector", "endpoints"} == monitor["spec"].keys()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert {"port", "interval", "relabelings"} == endpoint.keys()
    assert re.fullmatch(r"\d+s", endpoint["interval"])
    for rule in endpoint["relabelings"]:
        assert {"action", "targetLabel"} <= rule.keys()
        assert rule.keys() <= {"action", "targetLabel", "replacement", "sourceLabels"}
    service = OBJECTS["Service", "fog-metrics"]
    wanted = monitor["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= service["metadata"]["labels"].items()
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_ports_are_those_that_the_fog_opens(config):
    addresses = {"grpc": config.listen, "health": config.health, "metrics": config.metrics}
    assert PORTS == {name: parse_address(a, name)[1] for name, a in addresses.items()}
    assert not config.insecure
    for name in ("fog", "fog-metrics"):
        for port in OBJECTS["Service", name]["spec"]["ports"]:
            assert PORTS[port["targetPort"]] == port["port"]


def test_probes_ask_what_the_fog_answers():
    probes = {kind: CONTAINER[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")}
    assert {PORTS["health"]} == {probe["grpc"]["port"] for probe in probes.values()}
    assert LIVENESS == probes["liveness"]["grpc"]["service"]
    assert not any("service" in probes[kind]["grpc"] for kind in ("startup", "readiness"))


def test_every_file_that_the_fog_reads_is_mounted(config):
    mounts = {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]}
    assert set(mounts.values()) == {volume["name"] for volume in POD["spec"]["volumes"]}
    tls = config.tls
    for path in (config.bundles, config.trust, tls.ca, tls.cert, tls.key, tls.allow):
        inside = {path, *map(str, Path(path).parents)}
        assert inside & mounts.keys(), path
    writable = {m["mountPath"] for m in CONTAINER["volumeMounts"] if not m.get("readOnly")}
    assert {"/var/lib/fog-server", "/tmp"} == writable


def test_pod_may_do_nothing_it_need_not():
    assert RESTRICTED.items() <= POD["spec"]["securityContext"].items()
    context = CONTAINER["securityContext"]
    assert (False, True, {"drop": ["ALL"]}) == (
        context["allowPrivilegeEscalation"],
        context["readOnlyRootFilesystem"],
        context["capabilities"],
    )
    assert POD["spec"]["automountServiceAccountToken"] is False


def test_pod_is_given_the_time_it_needs_to_stop(config):
    sleep_s = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    given_s = POD["spec"]["terminationGracePeriodSeconds"]
    assert given_s > sleep_s + config.wire.drain_s + 2 * config.wire.settle_s


def test_as_many_requests_run_as_the_pod_has_cores(config):
    assert config.inference.max_running == int(CONTAINER["resources"]["requests"]["cpu"])


def test_everything_selects_the_same_pods():
    selectors = [
        OBJECTS["Deployment", "fog"]["spec"]["selector"]["matchLabels"],
        OBJECTS["PodDisruptionBudget", "fog"]["spec"]["selector"]["matchLabels"],
        OBJECTS["NetworkPolicy", "fog"]["spec"]["podSelector"]["matchLabels"],
        OBJECTS["Service", "fog"]["spec"]["selector"],
        OBJECTS["Service", "fog-metrics"]["spec"]["selector"],
        POD["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ]
    assert all(LABELS == selector for selector in selectors)
    target = OBJECTS["HorizontalPodAutoscaler", "fog"]["spec"]["scaleTargetRef"]
    assert ("Deployment", target["name"]) in OBJECTS


def test_policy_lets_in_agents_and_prometheus_and_nothing_out():
    spec = OBJECTS["NetworkPolicy", "fog"]["spec"]
    assert {"Ingress", "Egress"} == set(spec["policyTypes"])
    assert [] == spec["egress"]
    everybody, prometheus = spec["ingress"]
    assert ([PORTS["grpc"]], False) == (
        [PORTS[p["port"]] for p in everybody["ports"]],
        "from" in everybody,
    )
    assert ([PORTS["metrics"]], True) == (
        [PORTS[p["port"]] for p in prometheus["ports"]],
        "from" in prometheus,
    )


def test_autoscaler_goes_by_the_metric_that_the_adapter_makes():
    adapter = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text())
    (rule,) = adapter["rules"]["custom"]
    metrics = OBJECTS["HorizontalPodAutoscaler", "fog"]["spec"]["metrics"]
    (pods,) = (m["pods"] for m in metrics if m["type"] == "Pods")
    assert rule["name"]["as"] == pods["metric"]["name"]
    query = rule["metricsQuery"].replace("<<.GroupBy>>", "pod")
    promql.parse(query.replace("<<.LabelMatchers>>", 'pod="a"'))
    promql.parse(rule["seriesQuery"])
    assert {"fog_request_duration_seconds"} == {
        re.sub(r"_(sum|count)$", "", name) for name in re.findall(r"fog_\w+", query)
    }


def test_kustomization_names_every_file():
    for folder in (BASE, FOLDER / "gpu"):
        text = yaml.safe_load((folder / "kustomization.yaml").read_text())
        named = [name for name in text["resources"] if name != "../base"]
        named += [patch["path"] for patch in text.get("patches", [])]
        named += [f for g in text.get("configMapGenerator", []) for f in g["files"]]
        assert {*named, "kustomization.yaml"} == {path.name for path in folder.iterdir()}
    assert CONTAINER["image"] in {image["name"] for image in text["images"]}


@pytest.mark.skipif(not shutil.which("kubectl"), reason="needs kubectl")
@pytest.mark.parametrize("name", ["base", "gpu"])
def test_what_kustomize_makes_fits_the_schemas(name):
    done = subprocess.run(
        ["kubectl", "kustomize", FOLDER / name], capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    made = documents(done.stdout)
    assert {*OBJECTS} <= {(d["kind"], d["metadata"]["name"]) for d in made}
    for document in made:
        if document["kind"] not in CUSTOM:
            validate(document, VERSIONS[-1])
    (fog,) = (d for d in made if d["kind"] == "Deployment")
    (container,) = fog["spec"]["template"]["spec"]["containers"]
    make_parser().parse_args(container["args"])
    assert (name == "gpu") == ("nvidia.com/gpu" in container["resources"]["limits"])
    assert container["startupProbe"]["grpc"] == CONTAINER["startupProbe"]["grpc"]
