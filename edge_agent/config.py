"""The agent's configuration: one TOML file, whose keys the flags mirror one to one."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from headtail.config import read_toml
from headtail.errors import ConfigError

Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{0,64}$")]

REAL_TIME, AS_FAST_AS_POSSIBLE = 1.0, "max"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything `edge-agent run` can be told."""

    bundle: str = ""
    """Bundle file to run; exactly one of `bundle` and `model` is needed."""
    model: str = ""
    """Name of a bundle to fetch from the fog."""
    model_version: str = ""
    """Version to fetch; empty: the newest."""
    fog: str | tuple[str, ...] = ""
    """HOST:PORT of the fog server, or several in order of preference; none is needed where the
    whole model runs on the edge."""
    source: str = ""
    """wfdb:RECORD, npz:FILE, images:DIR or stdin."""
    sink: str = "stdout"
    """jsonl:PATH, sqlite:PATH or stdout."""
    existing: Literal["refuse", "append", "overwrite"] = "refuse"
    """What to do with a sink's file that exists."""
    point: str = "auto"
    """Partition point: the number of leading segments run here; auto: the manifest's default."""
    encoding: str = "auto"
    """How the activation travels: float32, float16, int8, int4; auto: the manifest's default."""
    partition: Literal["fixed", "live"] = "fixed"
    """Stay with `point` and `encoding`, or choose for every window anew, among all where these are
    auto."""
    partition_objective: Literal["latency", "edge_energy", "weighted", "deadline"] = "latency"
    """What the live choice makes least: a window's latency, the edge's energy, both, or the energy
    while `deadline_s` is kept."""
    partition_latency_weight: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    """Share of latency where the objective is weighted."""
    partition_max_latency_s: NotNegative = 0.0
    """Latency that the live choice keeps where it can; 0: any."""
    partition_max_energy_j: NotNegative = 0.0
    """Energy of a window that the live choice keeps where it can; 0: any."""
    partition_margin: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.02
    """Least gain of a change of plan, as a share of the cost."""
    partition_dwell_s: NotNegative = 1.0
    """Shortest stay with a plan while link and device stay as they are."""
    partition_probe_s: Seconds = 1.0
    """Least time between two empty calls to a fog that gets no windows."""
    key: str = ""
    """Key file to trust (PEM, the public half or the pair), beside those of `trust`."""
    trust: str = ""
    """Folder of trusted public keys (*.pub); empty: this user's own, unless `key` is named."""
    device_profile: str = ""
    """Prices computing: a name or a .toml file; empty: the profile the bundle was priced with."""
    link_profile: str = ""
    """Prices sending: a name or a .toml file; empty: the profile the bundle was priced with."""
    metrics: str = ""
    """HOST:PORT of the Prometheus page; empty: none."""
    speed: float | Literal["max"] = REAL_TIME
    """A record's pace: 1 is real time, max as fast as possible. Other sources never wait."""
    agent: Name = ""
    """This agent's name to the fog; empty: the certificate's with TLS, else the host's name."""
    batch: Positive = 8
    """Windows of one message at most; put together only where they have queued."""
    in_flight: Positive = 8
    """Messages under way at most; then the source waits."""
    deadline_s: Seconds = 1.0
    """From a window's arrival until the edge finishes it itself."""
    connect_s: Seconds = 1.0
    """Longest time of one attempt to reach the fog, and of the wait for the first."""
    reconnect_first_s: Seconds = 0.2
    """Largest first delay between attempts; it doubles, and each is drawn from zero to it."""
    reconnect_cap_s: Seconds = 5.0
    """Largest delay between attempts."""
    max_misses: Positive = 5
    """Windows in a row that a fog may leave without an answer; then it counts as away."""
    dwell_s: Seconds = 10.0
    """Shortest stay with a fog before going back to a more preferred one."""
    keepalive_s: Seconds = 30.0
    """Silence after which the fog is pinged; it hangs up on whoever pings more than it permits."""
    tls_ca: str = ""
    """PEM certificates of the authorities that fogs are trusted by; with it TLS is mutual."""
    tls_cert: str = ""
    """PEM certificate of this agent."""
    tls_key: str = ""
    """PEM private key of this agent."""
    insecure: bool = False
    """Allow plaintext to a fog that is not on this machine."""
    threads: Positive = 1
    """Threads of one onnxruntime operator; small models run fastest on one."""
    state: str = ""
    """Folder of fetched bundles; empty: ~/.local/state/headtail."""
    spool: str = ""
    """File that keeps windows until their results are in the sink, or off; empty: beside a sink's
    file, and off where the sink is standard output."""
    spool_sync: Literal["full", "normal", "off"] = "full"
    """What the spool survives: power loss (full), or only the end of the process."""
    spool_windows: Positive = 32
    """Windows that are committed together at most."""
    spool_delay_s: Seconds = 0.01
    """Longest wait of a window for others to be committed with."""
    spool_max_bytes: Positive = 256 << 20
    """Bytes of windows that the spool holds."""
    spool_max_age_s: NotNegative = 0.0
    """Age at which a window is dropped, where `spool_when_full` is drop; 0: never."""
    spool_when_full: Literal["stop", "drop"] = "stop"
    """Stop the source while the spool is full, or drop the oldest windows and count them."""
    updates: Literal["off", "on"] = "off"
    """Whether the fog may replace the bundle while the agent runs."""
    update_windows: Positive = 32
    """First windows of a new bundle that are watched; it is rolled back where they are not good."""
    update_slow_ratio: Annotated[float, msgspec.Meta(ge=1)] = 3.0
    """How many times longer than expected the head of a new bundle may take; 5 ms it always may."""
    update_max_bytes: Positive = 256 << 20
    """Largest bundle that is fetched as an update."""
    update_shadow_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    """Largest share of windows that another bundle runs too, where the fog asks for it; 0: none."""
    capture_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    """Share of the windows whose inputs are sent to the fog for its sample, where it captures any;
    0 sends none. At partition point 0 in float32 requests bring the inputs anyway."""
    trace_endpoint: str = ""
    """URL of an OpenTelemetry collector; empty: that of OTEL_EXPORTER_OTLP_ENDPOINT, or none."""
    trace_protocol: Literal["", "grpc", "http/protobuf"] = ""
    """How it is spoken to; empty: as OTEL_EXPORTER_OTLP_PROTOCOL says, or grpc."""
    trace_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    """Share of the windows that is traced; 1: all, or as OTEL_TRACES_SAMPLER says."""
    view: Literal["auto", "off"] = "auto"
    """The live view: auto shows it where standard output is a terminal and not the sink."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged."""
    log_format: Literal["text", "json"] = "text"
    """Log lines for people (text) or machines (json: an object a line)."""

    @property
    def pace(self) -> float | None:
        """How many times faster than real time; None: as fast as possible."""
        return None if self.speed == AS_FAST_AS_POSSIBLE else float(self.speed)

    @property
    def fogs(self) -> tuple[str, ...]:
        """The fogs, in order of preference."""
        listed = (self.fog,) if isinstance(self.fog, str) else self.fog
        return tuple(fog for fog in listed if fog)

    @property
    def agent_name(self) -> str:
        """The name to tell the fog; empty where a certificate tells it."""
        return self.agent or ("" if self.tls_cert else os.uname().nodename)


def default_state() -> Path:
    """Return where fetched bundles are kept where no folder is named."""
    return Path.home() / ".local" / "state" / "headtail"


def read_config(path: Path | None, flags: Mapping[str, Any]) -> Config:
    """Return the settings of a TOML file, if any, with flags over them.

    Args:
        path: The file.
        flags: Settings by key, only those given; `speed` is text.

    Raises:
        ConfigError: Naming the file and the key, or the flag.
    """
    config = Config() if path is None else read_toml(path, Config)
    settings = {**msgspec.structs.asdict(config), **flags}
    try:
        # Not strict: a flag is text where the file may hold a number.
        return msgspec.convert(settings, type=Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError("edge-agent run", _flag_text(str(error))) from error


def _flag_text(text: str) -> str:
    """Return msgspec's text with its path (`$.in_flight`) as the flag it is."""
    return re.sub(r"`\$\.(\w+)`", lambda m: "--" + m.group(1).replace("_", "-"), text)


def check(config: Config) -> None:
    """Raise unless the settings can make a run together.

    Raises:
        ConfigError: Naming the flag that is missing or too many.
    """
    if bool(config.bundle) == bool(config.model):
        raise ConfigError("--bundle, --model", "expected exactly one of them")
    if not config.source:
        raise ConfigError("--source", "expected wfdb:RECORD, npz:FILE, images:DIR or stdin")
    if config.model and not config.fogs:
        raise ConfigError("--fog", "needed to fetch --model from")
    if config.capture_ratio and not config.fogs:
        raise ConfigError("--fog", "needed to send inputs to, as --capture-ratio says")
    if config.pace is not None and not 0 < config.pace < float("inf"):
        raise ConfigError("--speed", f"expected a positive number or max, received {config.speed}")
