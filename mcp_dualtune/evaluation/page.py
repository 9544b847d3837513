"""A report as one HTML page that needs nothing but itself: no scripts, no fonts, no requests.

Owns wording and looks. All text from servers, requests and files is escaped, and the page forbids whatever it does not
hold itself. Refuses to compute: `standing` and `score` do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import Path

from mcp_dualtune.evaluation.plots import Span, bars, calibration, milliseconds, spans
from mcp_dualtune.evaluation.score import Rate, Rates
from mcp_dualtune.evaluation.standing import Standing

KINDS = {
    "request": "requests for one call",
    "missing": "requests that leave a needed value out",
    "chain": "requests for two steps",
    "refusal": "requests that no tool serves",
    "own": "your own examples",
}
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
LONGEST = 220
"""Characters of one request in a table."""
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
Cell = str | tuple[str, str]
"""Text, or (class, text)."""


def page(standing: Standing) -> str:
    """The whole page."""
    sections = (
        _head(standing),
        _compared(standing),
        _stages(standing),
        _servers(standing),
        _confusions(standing),
        _calibration(standing),
        _speed(standing),
        _tokens(standing),
        _adapters(standing),
        _unasked(standing),
        _method(standing),
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>How your MCP servers are served</title><style>{_style()}</style></head>\n<body>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body></html>\n"
    )


def _style() -> str:
    return resources.files("mcp_dualtune.evaluation").joinpath("page.css").read_text(encoding="utf-8")


def _head(standing: Standing) -> str:
    score, tokens = standing.score, standing.tokens
    tools = sum(standing.servers.values())
    told = (
        f"{_count(len(standing.servers), 'server')}, {_count(tools, 'tool')}, "
        f"{_count(sum(standing.kinds.values()), 'request')} from {_file(standing.source)}; {standing.at}, "
        f"seed {standing.seed}, model {_file(standing.model)} ({standing.model_digest[:12]})."
    )
    tiles = (
        ("right server", _percent(score.rates.server), _interval(score.rates.server)),
        ("right tool", _percent(score.rates.tool), _interval(score.rates.tool)),
        ("full call right", _percent(score.rates.full_call), _interval(score.rates.full_call)),
        ("a decision takes", milliseconds(score.p50_ms), f"95 % within {milliseconds(score.p95_ms)}"),
        ("tokens saved per request", f"{tokens.saved:,}", f"of {tokens.all:,} for all tools"),
    )
    shown = "".join(
        f'<div class="tile"><span class="soft">{_t(name)}</span><b>{_t(value)}</b>'
        f'<span class="soft">{_t(more)}</span></div>'
        for name, value, more in tiles
    )
    return (
        f'<h1>How your MCP servers are served</h1><p class="soft">{_t(told)}</p><div class="tiles">{shown}</div>'
        + _missing_servers(standing)
    )


def _missing_servers(standing: Standing) -> str:
    if not standing.unavailable:
        return ""
    return "<h2>Servers that gave no tools</h2>" + _table(("server", "why"), list(standing.unavailable.items()))


def _compared(standing: Standing) -> str:
    measured = [(way, found) for way in standing.ways if (found := way.score) is not None]
    shown = [(way.name, found.rates, way is standing.in_use) for way, found in measured]
    calling = [row for row, (way, _) in zip(shown, measured, strict=True) if way.fills]
    figures = "".join(
        _figure(bars(f"{title}, by way to decide", [(name, pick(rates), strong) for name, rates, strong in rows]))
        for title, pick, rows in (("Right tool", _tool, shown), ("Full call right", _full, calling))
    )
    rows: list[Sequence[Cell]] = []
    for way in standing.ways:
        found = way.score
        if found is None:
            rows.append((way.name, *[("n", "-")] * 5, way.note))
            continue
        same = standing.in_use.first(len(way.cases))
        compared = "" if way is standing.in_use or same is None else f"{_percent(same.rates.tool)}"
        call = _percent(found.rates.full_call) if way.fills else "-"
        cells = (_percent(found.rates.server), _percent(found.rates.tool), compared, call)
        rows.append((way.name, *(("n", cell) for cell in cells), ("n", str(len(way.cases))), way.note))
    titles: tuple[Cell, ...] = (
        "way to decide", ("n", "server"), ("n", "tool"), ("n", "in use, same requests"), ("n", "full call"),
        ("n", "requests"), "",
    )  # fmt: skip
    said = "".join(f"<li><b>{_t(way.name)}</b>: {_t(way.about)}</li>" for way in standing.ways)
    return (
        f'<h2>What is in use, against other ways</h2><div class="plots">{figures}</div>{_table(titles, rows)}'
        f"<ul>{said}</ul>"
    )


def _stages(standing: Standing) -> str:
    stages = standing.score.stages
    named = (
        ("server", "of the requests that need one", stages.route),
        ("tool", "where the server was right", stages.select),
        ("arguments", "where the tool was right", stages.arguments),
    )
    plot = bars("Right by stage", [(name, rate, True) for name, _, rate in named])
    rows = [(name, about, *_rate_cells(rate)) for name, about, rate in named]
    kinds = [(KINDS.get(kind, kind), *_rates_cells(rates)) for kind, rates in standing.score.by_kind.items()]
    return (
        f"<h2>By stage</h2>{_figure(plot)}"
        + _table(("stage", "counted", ("n", "right"), ("n", "95 % interval"), ("n", "cases")), rows)
        + "<h2>By kind of request</h2>"
        + _table(("kind", *_RATES), kinds)
    )


def _servers(standing: Standing) -> str:
    groups = standing.score.by_server
    plots = "".join(
        _figure(bars(f"{title}, by server", [(name, pick(rates), True) for name, rates in groups.items()]))
        for title, pick in (("Right tool", _tool), ("Full call right", _full))
    )
    rows = [(name, *_rates_cells(rates)) for name, rates in groups.items()]
    tools = sorted(standing.score.by_tool.items(), key=lambda item: (item[1].decision.value or 0.0, item[0]))
    by_tool = [(("", name), *_rates_cells(rates)) for name, rates in tools]
    return (
        f'<h2>By server</h2><div class="plots">{plots}</div>{_table(("server", *_RATES), rows)}'
        f"<h2>By tool, the worst first</h2>{_table(('tool', *_RATES), by_tool)}"
    )


def _confusions(standing: Standing) -> str:
    rows = [
        (one.expected, one.decided, ("n", str(one.count)), ("q", _short(one.example))) for one in standing.confusions
    ]
    titles = ("right would be", "decided", ("n", "times"), "for example")
    return "<h2>Worst confusions</h2>" + (_table(titles, rows) if rows else "<p>There is none.</p>")


def _calibration(standing: Standing) -> str:
    score = standing.score
    if score.calibration_error is None:
        return ""
    words = (
        f"Expected calibration error {score.calibration_error:.3f}: the mean gap between how sure a decision was and "
        "how often such decisions are right. Dots above the line are too modest, dots below it too sure; a larger dot "
        "counts more decisions."
    )
    rows = [(("n", f"{one.confidence:.0%}"), *_rate_cells(one.right)) for one in score.bins]
    titles = (("n", "confidence, mean"), ("n", "right"), ("n", "95 % interval"), ("n", "decisions"))
    plot = calibration("Confidence against what was right", score.bins)
    return f'<h2>Calibration</h2><p>{words}</p><div class="plots">{_figure(plot)}{_table(titles, rows)}</div>'


def _speed(standing: Standing) -> str:
    measured = [(way, found) for way in standing.ways if (found := way.score) is not None]
    plot = spans("Time of a decision", [Span(w.name, s.p50_ms, s.p95_ms, w is standing.in_use) for w, s in measured])
    rows = [(way.name, ("n", milliseconds(s.p50_ms)), ("n", milliseconds(s.p95_ms))) for way, s in measured]
    peak = standing.peak_megabytes
    memory = "" if peak is None else f" Peak memory of the process with what is in use: {peak:,.0f} MB."
    words = (
        f"The models were loaded in {standing.load_seconds:.1f} s.{memory} The whole report took "
        f"{standing.seconds:.0f} s."
    )
    return (
        f"<h2>Time and memory</h2>{_figure(plot, 'From the median (dot) to the 95th percentile.')}"
        f"{_table(('way to decide', ('n', 'median'), ('n', '95th percentile')), rows)}<p>{_t(words)}</p>"
    )


def _tokens(standing: Standing) -> str:
    tokens = standing.tokens
    rows: list[Sequence[Cell]] = [(name, ("n", f"{count:,}")) for name, count in tokens.by_server.items()]
    rows += [("all tools", ("n", f"{tokens.all:,}")), ("our own three tools", ("n", f"{tokens.own:,}"))]
    words = (
        "A client that has all your tools sends their definitions to its model with every request: "
        f"{tokens.all:,} tokens. With the gateway in their place it sends {tokens.own:,}: {abs(tokens.saved):,} "
        f"{'fewer' if tokens.saved >= 0 else 'more'}. Counted with the tokenizer of {tokens.tokenizer}; that of your "
        "client's model will count somewhat differently."
    )
    return f"<h2>Tokens saved</h2><p>{_t(words)}</p>{_table(('definitions of', ('n', 'tokens')), rows)}"


def _adapters(standing: Standing) -> str:
    rows = [(name, ("n", str(count))) for name, count in standing.speakers.items()]
    return (
        "<h2>Which adapters spoke</h2><p>By how many decisions each had a part in; <code>base</code> is a model "
        f"without an adapter.</p>{_table(('adapter', ('n', 'decisions')), rows)}"
    )


def _unasked(standing: Standing) -> str:
    rows = [(f"{server}/{tool}", why) for server, tools in standing.unasked.items() for tool, why in tools.items()]
    if not rows:
        return ""
    return (
        "<h2>Tools that could not be asked for</h2><p>Nothing above says how these are served. Your own examples fill "
        f"the gap: <code>dualtune report --examples FILE</code>.</p>{_table(('tool', 'why'), rows)}"
    )


def _method(standing: Standing) -> str:
    kinds = "; ".join(f"{count} {KINDS.get(kind, kind)}" for kind, count in standing.kinds.items())
    words = (
        f"Asked were {kinds}. Requests are made from the names, descriptions and schemas of your tools, in wordings "
        "that training never uses, with slips of the keys. Where two of your tools do the same, only the one that a "
        "request was made for counts as right, so the numbers are rather too low. No tool was called. Real people ask "
        "differently: your own examples say more."
    )
    return f"<h2>How this was measured</h2><p>{_t(words)}</p>"


_RATES: tuple[Cell, ...] = (
    ("n", "server"), ("n", "tool"), ("n", "full call"), ("n", "decision"), ("n", "95 % interval"), ("n", "cases"),
)  # fmt: skip


def _rates_cells(rates: Rates) -> list[Cell]:
    shares = (rates.server, rates.tool, rates.full_call, rates.decision)
    cells: list[Cell] = [("n", _percent(rate)) for rate in shares]
    return [*cells, ("n", _interval(rates.decision)), ("n", str(rates.decision.total))]


def _rate_cells(rate: Rate) -> list[Cell]:
    return [("n", _percent(rate)), ("n", _interval(rate)), ("n", f"{rate.right}/{rate.total}")]


def _tool(rates: Rates) -> Rate:
    return rates.tool


def _full(rates: Rates) -> Rate:
    return rates.full_call


def _table(titles: Iterable[Cell], rows: Iterable[Sequence[Cell]]) -> str:
    head = "".join(_cell("th", cell) for cell in titles)
    body = "".join("<tr>" + "".join(_cell("td", cell) for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(tag: str, cell: Cell) -> str:
    kind, text = ("", cell) if isinstance(cell, str) else cell
    return f'<{tag} class="{kind}">{_t(text)}</{tag}>' if kind else f"<{tag}>{_t(text)}</{tag}>"


def _figure(plot: str, caption: str = "") -> str:
    title = re.search(r"<title>(.*?)</title>", plot)
    words = caption or (title[1] if title else "")
    return f"<figure>{plot}<figcaption>{words}</figcaption></figure>"


def _percent(rate: Rate) -> str:
    return "-" if rate.value is None else f"{rate.value:.1%}"


def _interval(rate: Rate) -> str:
    return "-" if rate.interval is None else f"{rate.interval[0]:.1%} to {rate.interval[1]:.1%}"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _file(name: str) -> str:
    """A path without its folders: a page may be handed on, and these tell of the machine it was made on."""
    return Path(name).name if Path(name).is_absolute() else name


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _t(text: str) -> str:
    """Text for the page: escaped, and without characters that cannot be seen or turn others around."""
    return escape(_UNSEEN.sub("\ufffd", text))
