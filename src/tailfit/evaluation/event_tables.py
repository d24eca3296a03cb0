"""Events and alarms as a table for terminals, and as rows for pages."""

from typing import Any

from rich.table import Table
from rich.text import Text

from tailfit.evaluation.event_figures import DAY, EventClass, EventFigures
from tailfit.evaluation.group_intervals import FEW_GROUPS
from tailfit.evaluation.group_notes import MARK
from tailfit.evaluation.metrics import Figure
from tailfit.evaluation.tables import UNDEFINED
from tailfit.names import shown

__all__ = ["duration_text", "event_notes", "event_rows", "events_table", "rate_text"]

_SHOWN = 50  # classes
_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


def events_table(events: EventFigures) -> Table:
    """Return the figures of events as a table for `rich.print`."""
    table = Table(
        title=f"Events in {events.recordings:,} recordings",
        title_justify="left",
        title_style="bold",
        caption=Text(" ".join(event_notes(events))),
        caption_justify="left",
        show_edge=False,
        pad_edge=False,
        header_style="bold",
    )
    table.add_column("class", no_wrap=True, overflow="ellipsis", max_width=24)
    for heading in ("events", "groups", "found", "delay", "alarms", "right", "wrong class", "false"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = event_rows(events)
    for place, row in enumerate(rows):
        # Without the intervals of delay and precision, which the page shows, a row fits on one line.
        short = [row[key].partition(" [")[0] for key in ("delay", "alarms", "precision", "wrong", "false")]
        cells = [row["events"], row["groups"], row["recall"], *short]
        table.add_row(Text(row["name"]), *cells, end_section=place >= len(rows) - 2)
    return table


def event_rows(events: EventFigures) -> list[dict[str, Any]]:
    """Return the texts of a table: one row for each class with events or alarms, and one for all classes."""
    names = shown([of_class.name for of_class in events.classes])
    rows = [
        _row(names[k], of_class, events)
        for k, of_class in enumerate(events.classes)
        if of_class.events or of_class.alarms
    ]
    counts = {
        key: sum(getattr(each, key) for each in events.classes)
        for key in ("events", "found", "alarms", "right", "wrong_class", "false")
    }
    figures = {key: getattr(events, key) for key in ("recall", "delay", "precision")}
    every = EventClass(name="all", groups=events.events["group"].n_unique(), **counts, **figures)
    return [*rows[:_SHOWN], _row(every.name, every, events)]


def _row(name: str, of_class: EventClass, events: EventFigures) -> dict[str, Any]:
    return {
        "name": name,
        "events": f"{of_class.events:,}",
        "groups": f"{of_class.groups:,}",
        "recall": _share(of_class.recall) + ("" if of_class.trusted else f" {MARK}"),
        "delay": _delay(of_class.delay, events),
        "alarms": f"{of_class.alarms:,}",
        "precision": _share(of_class.precision),
        "wrong": f"{of_class.wrong_class:,}",
        "false": f"{of_class.false:,}",
    }


def rate_text(events: EventFigures) -> str:
    """Describe the rate of false alarms, with its interval and the time behind it."""
    rate, unit = events.false_alarms, events.rate_unit
    if rate != rate:
        return "No normal operation in these recordings: no rate of false alarms."
    if events.step_seconds is None:
        time = f"{events.normal_time:,.3g} thousand steps"
    else:
        time = duration_text(events.normal_time * DAY, "s")
    doubt = "" if sum(steps > 0 for steps in events.normal_steps.values()) >= FEW_GROUPS else f" {MARK}"
    return f"False alarms: {rate:.2f} [{rate.low:.2f}, {rate.high:.2f}]{doubt} {unit} of normal operation ({time})."


def event_notes(events: EventFigures) -> list[str]:
    """Return the sentences below the table."""
    after = "" if events.alarm_after == 1 else f" An alarm needs {events.alarm_after} windows in a row."
    doubt = any(not of_class.trusted for of_class in events.classes)
    return [
        rate_text(events),
        f"Everything but {shown([events.normal])[0]!r} is an event. found: share of the events with an alarm of their "
        "class between onset and end. delay: median over the found ones. right: share of the alarms during an event "
        f"of their class.{after}",
        *([f"{MARK} fewer than {FEW_GROUPS} groups: not enough for a trustworthy interval."] if doubt else []),
    ]


def duration_text(value: float, unit: str) -> str:
    """Format a time with two or three digits.

    >>> duration_text(90, "s"), duration_text(0, "s"), duration_text(7200, "s"), duration_text(12, "steps")
    ('1.5 min', '0 s', '2 h', '12 steps')
    """
    if unit == "steps":
        return f"{value:,.3g} steps"
    size, name = next(((size, name) for size, name in _UNITS if value >= size), (1.0, "s"))
    return f"{float(f'{value / size:.3g}'):g} {name}"


def _share(figure: Figure) -> str:
    return UNDEFINED if figure != figure else str(figure)


def _delay(figure: Figure, events: EventFigures) -> str:
    if figure != figure:
        return UNDEFINED
    low, high = (duration_text(value, events.unit) for value in (figure.low, figure.high))
    return f"{duration_text(figure, events.unit)} [{low}, {high}]"
