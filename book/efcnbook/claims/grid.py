"""The grid of claims by studies as HTML: a coloured verdict with one number, which opens to what it rests on."""

import re
from collections.abc import Mapping, Sequence
from math import isfinite

from efcnbook.claims import forest
from efcnbook.claims.claim_list import (
    BEYOND,
    CLAIMS,
    FIGURES,
    SHORT,
    SHORT_BEYOND,
    explained,
    of_claim,
    placebos,
    verdict,
)
from efcnbook.claims.comparisons import WORDS
from efcnbook.claims.controls import decimal
from efcnbook.claims.finding import Finding
from efcnbook.claims.verdicts import NOT_TESTED
from efcnbook.statistics.intervals import signed
from efcnbook.statistics.wording import escaped
from efcnlab.config.studies import Study
from efcnlib.errors import enumerated

Findings = Mapping[Study, Sequence[Finding]]


def grid(by_study: Findings) -> str:
    """The table, and behind it what its cells open to."""
    keys = [*CLAIMS, *(key for key in BEYOND if any(of_claim(found, key) for found in by_study.values()))]
    names = short_names(list(by_study))
    head = "".join(f'<th scope="col">{escaped(names[study]).replace("CNN", "<wbr>CNN")}</th>' for study in by_study)
    lines, opened = [], []
    for key in keys:
        if key == next(iter(BEYOND)):
            lines.append(f'<tr class="beyond"><th colspan="{len(by_study) + 1}">Beyond the claims</th></tr>')
        cells = []
        for number, (study, found) in enumerate(by_study.items()):
            place = f"cell-{key}-{number}".replace(" ", "-")
            cells.append(_cell(place, found, key))
            if of_claim(found, key):
                opened.append(_opened(place, found, key, study, names[study]))
        lines.append(f'<tr><th scope="row">{_heading(key)}</th>{"".join(cells)}</tr>')
    columns = f"--studies: {len(by_study)}"
    table = f'<table class="claims" style="{columns}"><thead><tr><td></td>{head}</tr></thead>'
    return f"{table}<tbody>{''.join(lines)}</tbody></table>{''.join(opened)}"


def short_names(studies: Sequence[Study]) -> dict[Study, str]:
    """What tells the studies apart, as in "VanillaCNN 16, SGD at 0.03"; a study's own name where that is not enough."""
    kinds, rules = {"vanilla": "VanillaCNN", "alexnet": "AlexNet"}, {"sgd": "SGD", "adam": "Adam"}
    names = {}
    for study in studies:
        optimiser, kind = study.relax_optimiser or study.optimiser, kinds.get(study.network.architecture)
        rate = f"{rules[optimiser.name]} at {decimal(optimiser.lr)}"
        names[study] = f"{kind} {study.network.channels}, {rate}" if kind else study.name
    values = list(names.values())
    return {study: study.name if values.count(name) > 1 else name for study, name in names.items()}


def parts(found: Sequence[Finding], key: int | str, kind: str = "efcn") -> str:
    """The findings of one kind of network on a claim, with their plots, as HTML."""
    return "".join(_part(one) for one in of_claim(found, key, kind))


def placebo_rows(found: Sequence[Finding], key: int | str) -> str:
    """A table of what the same tests say of the controls; nothing where there are none."""
    kinds = placebos(found, key)
    if not kinds:
        return ""
    rows = []
    for kind in kinds:
        several = of_claim(found, key, kind)
        for one in several:
            words = f"{one.value}; {one.sides}" if one.sides else one.value or one.reason
            words = escaped(f"{_sentence(one.statistic)}: {words}" if len(several) > 1 else words)
            rows.append("".join(f"<td>{cell}</td>" for cell in (WORDS[kind], f"<b>{one.verdict}</b>", words)))
    table = f'<table class="placebo"><tr>{symbols("</tr><tr>".join(rows))}</tr></table>'
    return f"<p>The same test of the controls, as a placebo:</p>{table}"


def symbols(text: str) -> str:
    """Text with the paper's symbol for the relax time."""
    return re.sub(r"\btw\b", "<i>t</i><sub>w</sub>", text)


def _heading(key: int | str) -> str:
    if key in CLAIMS:
        return f'<a href="claim-{key}.html" title="{escaped(CLAIMS[key])}">{key}</a> {escaped(row_name(key))}'
    return escaped(row_name(key))


def row_name(key: int | str) -> str:
    """What a row of the grid is called, as in "above control"."""
    way, _, kind = str(key).rpartition(" ")
    return SHORT[key] if key in CLAIMS else f"{SHORT_BEYOND[way]} {WORDS[kind]}"


def _cell(place: str, found: Sequence[Finding], key: int | str) -> str:
    name = verdict(found, key)
    if not name:
        return '<td class="none">–</td>'
    shown = min(of_claim(found, key), key=lambda one: (one.verdict == NOT_TESTED, one.interval is None))
    beside = explained(found, key)
    also = f"<small>so {'does' if len(beside) == 1 else 'do'} {enumerated(WORDS[kind] for kind in beside)}</small>"
    label = name.replace(" ", "-")
    return (
        f'<td class="{label}"><button type="button" popovertarget="{place}"><b>{name}</b>'
        f"<span>{escaped(_short(shown))}</span>{also if beside else ''}</button></td>"
    )


def _short(one: Finding) -> str:
    """One number with its interval, as short as can be."""
    if one.interval is None:
        return one.number.split(" ")[0] if one.number and one.claim != 12 else ""
    digits = 1 if one.scale.factor == 100 else 2
    half = one.interval.half
    width = f" ± {one.scale.factor * half:.{digits}f}" if isfinite(half) else ""
    return signed(one.scale.factor * one.interval.mean, digits) + width


def _opened(place: str, found: Sequence[Finding], key: int | str, study: Study, name: str) -> str:
    title = escaped(f"Claim {key}: {CLAIMS[key]}" if key in CLAIMS else BEYOND[key])
    links = []
    if key in FIGURES and (study.path_times or "interpolation" not in FIGURES[key]):
        links.append(f'<a href="{escaped(study.name)}/{FIGURES[key].replace(".ipynb", ".html")}">the figure</a>')
    if key in CLAIMS:
        links.append(f'<a href="claim-{key}.html">this claim in all studies</a>')
    below = f"<p>{' · '.join(links)}</p>" if links else ""
    said = name if name == study.name else f"{name} ({study.name})"
    close = (
        f'<button type="button" popovertarget="{place}" popovertargetaction="hide" aria-label="Close" autofocus>'
        "×</button>"
    )
    return (
        f'<div id="{place}" class="claim-opened" popover>{close}<h4>{title}</h4><p><small>{escaped(said)}</small>'
        f"</p>{parts(found, key)}{placebo_rows(found, key)}{below}</div>"
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] if text[0].isascii() else text


def _part(one: Finding) -> str:
    """One finding: what is compared, the verdict, the plot, what is left out."""
    number = one.value if one.effects is None else ""
    left_out, reason = one.left_out, one.reason
    if one.verdict == NOT_TESTED:
        left_out, reason = "", left_out or reason
    plot, below = "", ""
    lines = [f"<p>{escaped(_sentence(one.statistic))}:" if one.statistic else "<p>"]
    lines.append(f" <b>{one.verdict}</b>{f' ({escaped(reason)})' if reason else ''}.")
    lines.append(f" {escaped(number)}.</p>" if number else "</p>")
    if one.effects is not None:
        plotted = forest.rows(one.effects)
        plot = forest.svg(plotted, one.scale, f"{one.statistic}: {one.sides}")
        level = 100 * next(iter(one.effects.intervals.values())).level
        several = max(row.interval.n for row in plotted)
        if several > 1:
            below = f"<p><small>{several} seeds; intervals at {level:.1f} %.</small></p>"
    said = [one.seeds_needed, f"Not tested at {left_out}." if left_out else "", *one.notes]
    listed = "".join(f"<li>{escaped(text)}</li>" for text in said if text)
    return symbols("".join(lines)) + plot + below + symbols(f"<ul>{listed}</ul>" if listed else "")
