"""The chosen point under every radio model: what sending the same payload costs over each link."""

from collections.abc import Sequence
from dataclasses import dataclass

from headtail.ble import marginal_energy_j
from headtail.bundle.profiles import find_link
from headtail.cost_model import BleLink
from headtail.energy import idle_power_w, predict_transmission
from headtail.profile import LinkProfile, list_link_profiles, read_link_profile
from optimizer.partition import Row
from optimizer.report.chart import Key, draw_keys
from optimizer.report.layers import within_memory
from optimizer.report.summary import RunSummary
from optimizer.report.svg import EDGE, MUTED, RADIO, Scale, Sheet, number
from optimizer.report.text import energy_unit, show_j

LINE, WIDTH, LEFT, RIGHT = 42.0, 940.0, 200.0, 190.0


@dataclass(frozen=True, slots=True)
class RadioRow:
    """What sending the chosen point's payload costs over one link."""

    link: str
    mode: str
    payload_bytes: int
    head_j: float
    """Computing the head, whatever the link."""
    radio_j: float
    marginal_j: float | None
    """What the message adds to a link that is kept anyway; None where the model has no such."""
    idle_w: float
    """Power of keeping the link, in no message's energy."""
    best_point: int
    """The point with the least edge energy within the bounds on memory, over this link."""
    best_encoding: str
    best_j: float

    @property
    def edge_j(self) -> float:
        """Edge energy of one window at the chosen point."""
        return self.head_j + self.radio_j


def radio_rows(summary: RunSummary) -> tuple[RadioRow, ...]:
    """Return the chosen point's payload priced over the run's link and every Bluetooth link."""
    own = find_link(summary.packed.manifest.profiles, summary.choice.cost.link_profile)
    names = [n for n in list_link_profiles() if n.startswith("ble-")]
    links = {link.name: link for link in (*map(read_link_profile, names), own)}
    ordered = sorted(links.values(), key=lambda link: (link.mode != "paper", link.name))
    return tuple(_radio_row(summary, link) for link in ordered)


def draw_radio(rows: Sequence[RadioRow]) -> str:
    """Draw computing and sending at the chosen point over every link."""
    height = 40 + LINE * len(rows) + 44
    sheet = Sheet(WIDTH, height, "cost of the chosen point by radio model")
    unit_j, unit = energy_unit(max(row.edge_j for row in rows))
    longest = max(row.edge_j for row in rows) / unit_j
    x, bottom = Scale(0, longest, LEFT, WIDTH - RIGHT), height - 42
    for value in x.ticks(6):
        sheet.line((x(value), 32), (x(value), bottom))
        sheet.text((x(value), bottom + 16), number(value), "middle", fill=MUTED, font_size=11)
    axis = f"modelled edge energy of one window, {unit}"
    sheet.text(((x.start + x.end) / 2, height - 8), axis, "middle")
    keys = [Key("computing the head", EDGE, "box"), Key("sending the message", RADIO, "box")]
    draw_keys(sheet, keys, (LEFT, 16))
    for i, row in enumerate(rows):
        y = 38 + LINE * i
        sheet.text((LEFT - 10, y + 14), row.link, "end")
        sheet.text((LEFT - 10, y + 28), f"mode {row.mode}", "end", fill=MUTED, font_size=11)
        head, end = x(row.head_j / unit_j), x(row.edge_j / unit_j)
        sheet.box((LEFT, y + 4), (head - LEFT, 24), EDGE, f"computing {show_j(row.head_j)}")
        radio = f"sending {row.payload_bytes} B: {show_j(row.radio_j)}"
        sheet.box((head, y + 4), (end - head, 24), RADIO, radio)
        sheet.text((end + 8, y + 21), show_j(row.edge_j))
    return sheet.svg()


def _radio_row(summary: RunSummary, link: LinkProfile) -> RadioRow:
    chosen, model = summary.chosen, link.model
    payload = summary.wire_bytes(chosen)

    def edge_j(row: Row) -> float:
        return row.cost.head_j + predict_transmission(link, summary.wire_bytes(row)).joules

    best = min(filter(within_memory, summary.rows), key=edge_j)
    marginal = marginal_energy_j(model, payload) if isinstance(model, BleLink) else None
    return RadioRow(
        link=link.name,
        mode=link.mode,
        payload_bytes=payload,
        head_j=chosen.cost.head_j,
        radio_j=predict_transmission(link, payload).joules,
        marginal_j=marginal,
        idle_w=idle_power_w(link),
        best_point=best.point,
        best_encoding=best.encoding.value,
        best_j=edge_j(best),
    )
