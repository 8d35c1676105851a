"""The flags of `edge-agent run`: each is a key of the configuration, with dashes."""

import argparse


def add_run_flags(run: argparse.ArgumentParser) -> None:
    """Add every flag, in groups."""
    _add_what(run)
    _add_partition(run)
    _add_where(run)
    _add_how(run)
    _add_spool(run)
    _add_updates(run)


def _add_what(run: argparse.ArgumentParser) -> None:
    """Add the flags that say what runs."""
    group = run.add_argument_group("what runs")
    which = group.add_mutually_exclusive_group()
    which.add_argument("--bundle", metavar="FILE", help="bundle file to run")
    which.add_argument("--model", metavar="NAME", help="bundle to fetch from the fog")
    group.add_argument("--model-version", metavar="V", help="version to fetch; default: the newest")
    group.add_argument(
        "--point", metavar="auto|K", help="segments that run here; default: the bundle's"
    )
    group.add_argument(
        "--encoding",
        metavar="auto|NAME",
        help="float32, float16, int8 or int4; default: the bundle's",
    )
    group.add_argument("--key", metavar="FILE", help="key file to trust, beside those of --trust")
    group.add_argument(
        "--trust", metavar="DIR", help="folder of trusted public keys; default: this user's"
    )
    group.add_argument("--device-profile", metavar="NAME", help="prices computing")
    group.add_argument("--link-profile", metavar="NAME", help="prices sending")
    group.add_argument("--threads", type=int, metavar="N", help="onnxruntime threads; default: 1")
    group.add_argument("--state", metavar="DIR", help="folder of fetched bundles")


def _add_partition(run: argparse.ArgumentParser) -> None:
    """Add the flags that say whether and how the partition point changes."""
    group = run.add_argument_group("where the model is cut")
    group.add_argument(
        "--partition", choices=("fixed", "live"), help="once for all (default), or as the link is"
    )
    group.add_argument(
        "--partition-objective",
        choices=("latency", "edge_energy", "weighted", "deadline"),
        help="what is made least; default: latency",
    )
    group.add_argument(
        "--partition-latency-weight", type=float, metavar="W", help="of weighted; 0.5"
    )
    group.add_argument(
        "--partition-max-latency-s", type=float, metavar="S", help="to be kept; 0: any"
    )
    group.add_argument(
        "--partition-max-energy-j", type=float, metavar="J", help="to be kept; 0: any"
    )
    group.add_argument(
        "--partition-margin", type=float, metavar="R", help="least gain of a change; 0.02"
    )
    group.add_argument(
        "--partition-dwell-s", type=float, metavar="S", help="shortest stay with a plan"
    )
    group.add_argument(
        "--partition-probe-s", type=float, metavar="S", help="between calls to an idle fog"
    )


def _add_where(run: argparse.ArgumentParser) -> None:
    """Add the flags that say where windows come from and where results go."""
    group = run.add_argument_group("where from and to")
    group.add_argument(
        "--source", metavar="KIND:PATH", help="wfdb:RECORD, npz:FILE, images:DIR or stdin"
    )
    group.add_argument(
        "--sink", metavar="KIND:PATH", help="jsonl:FILE, sqlite:FILE or stdout (default)"
    )
    group.add_argument(
        "--existing",
        choices=("refuse", "append", "overwrite"),
        help="what to do with a sink's file that exists; default: refuse",
    )
    group.add_argument(
        "--fog", action="append", metavar="HOST:PORT", help="a fog server; repeat, best first"
    )
    group.add_argument("--tls-ca", metavar="FILE", help="authorities that fogs are trusted by")
    group.add_argument("--tls-cert", metavar="FILE", help="certificate of this agent")
    group.add_argument("--tls-key", metavar="FILE", help="private key of this agent")
    group.add_argument(
        "--insecure", action="store_true", help="allow plaintext to a fog on another machine"
    )
    group.add_argument("--metrics", metavar="HOST:PORT", help="serve a Prometheus page")
    group.add_argument("--agent", metavar="NAME", help="name to the fog; default: the host's")
    group.add_argument("--trace-endpoint", metavar="URL", help="collector of traces; none")
    group.add_argument("--trace-protocol", choices=("grpc", "http/protobuf"), help="spoken to it")
    group.add_argument("--trace-ratio", type=float, metavar="R", help="windows that are traced; 1")
    group.add_argument(
        "--capture-ratio", type=float, metavar="R", help="windows sent for the fog's sample; 0"
    )


def _add_how(run: argparse.ArgumentParser) -> None:
    """Add the flags that say how it runs."""
    group = run.add_argument_group("how")
    group.add_argument("--config", metavar="FILE", help="TOML with the same keys; flags win")
    group.add_argument(
        "--speed", metavar="N|max", help="pace of a record; 1 (default) is real time"
    )
    group.add_argument("--batch", type=int, metavar="N", help="windows of a message at most")
    group.add_argument("--in-flight", type=int, metavar="N", help="messages under way at most")
    group.add_argument(
        "--deadline-s", type=float, metavar="S", help="until the edge finishes a window itself"
    )
    group.add_argument(
        "--connect-s", type=float, metavar="S", help="longest attempt to reach the fog"
    )
    group.add_argument(
        "--reconnect-first-s", type=float, metavar="S", help="largest first delay between attempts"
    )
    group.add_argument(
        "--reconnect-cap-s", type=float, metavar="S", help="largest delay between attempts"
    )
    group.add_argument(
        "--max-misses", type=int, metavar="N", help="unanswered windows until a fog counts as away"
    )
    group.add_argument(
        "--dwell-s", type=float, metavar="S", help="shortest stay before going back to a better fog"
    )
    group.add_argument(
        "--keepalive-s", type=float, metavar="S", help="silence after which a fog is pinged"
    )
    group.add_argument("--view", choices=("auto", "off"), help="the live view on a terminal")
    group.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), help="default: info"
    )
    group.add_argument(
        "--log-format", choices=("text", "json"), help="lines for people (default) or machines"
    )


def _add_spool(run: argparse.ArgumentParser) -> None:
    """Add the flags that say what survives a crash."""
    group = run.add_argument_group("what survives a crash")
    group.add_argument(
        "--spool", metavar="FILE|off", help="keeps windows; default: beside a sink's file"
    )
    group.add_argument(
        "--spool-sync", choices=("full", "normal", "off"), help="full (default): power loss too"
    )
    group.add_argument("--spool-windows", type=int, metavar="N", help="of one commit at most")
    group.add_argument("--spool-delay-s", type=float, metavar="S", help="longest wait for a commit")
    group.add_argument("--spool-max-bytes", type=int, metavar="N", help="of windows kept")
    group.add_argument("--spool-max-age-s", type=float, metavar="S", help="of windows kept")
    group.add_argument(
        "--spool-when-full", choices=("stop", "drop"), help="the source, or the oldest windows"
    )


def _add_updates(run: argparse.ArgumentParser) -> None:
    """Add the flags that say whether and how the bundle is replaced."""
    group = run.add_argument_group("updates")
    group.add_argument(
        "--updates", choices=("off", "on"), help="whether the fog may replace the bundle; off"
    )
    group.add_argument(
        "--update-windows", type=int, metavar="N", help="first windows of a new one to watch"
    )
    group.add_argument(
        "--update-slow-ratio", type=float, metavar="X", help="times longer its head may take"
    )
    group.add_argument("--update-max-bytes", type=int, metavar="N", help="of a bundle fetched")
    group.add_argument(
        "--update-shadow-ratio",
        type=float,
        metavar="R",
        help="share to compare answers of, at most",
    )
