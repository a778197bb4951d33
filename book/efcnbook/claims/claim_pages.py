"""A page for each claim, as Markdown: what the paper says and does not, and what every study has on it."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from efcnbook.claims import grid
from efcnbook.claims.claim_list import CLAIMS, FIGURES, TRANSFER, UNKNOWN, of_claim, verdict
from efcnbook.claims.grid import Findings
from efcnbook.claims.rules import RULES, last_change
from efcnbook.statistics.evidence import Evidence
from efcnbook.statistics.provenance import line
from efcnbook.statistics.wording import escaped
from efcnlab.config.studies import Study
from efcnlib.errors import enumerated

PAGE = "claim-{}.md"


def write(by_study: Findings, folder: Path) -> list[Path]:
    """Write a page for each claim into a folder; returns them."""
    pages = {folder / PAGE.format(number): page(number, by_study) for number in CLAIMS}
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in pages.items():
        path.write_text(text, "utf-8")
    return list(pages)


def page(number: int, by_study: Findings) -> str:
    """The page of one claim."""
    lines = [f"# Claim {number}: {CLAIMS[number]}", ""]
    if number in UNKNOWN:
        lines += [f"*What is not known:* {UNKNOWN[number]}", ""]
    names = grid.short_names(list(by_study))
    for study, found in by_study.items():
        if not of_claim(found, number):
            continue
        lines += [f"## {names[study]}", ""]
        lines += [f"**{verdict(found, number)}** · {escaped(study.title)}{_figure(study, number)}", ""]
        lines += _block(grid.parts(found, number) + grid.placebo_rows(found, number))
    if not any(of_claim(found, number) for found in by_study.values()):
        lines += ["No study in this book tests it.", ""]
    lines += [":::{dropdown} How it is judged", RULES, ":::", "", "All verdicts: [the claims](claims.ipynb)."]
    return "\n".join(lines) + "\n"


def precedence(evidence: Sequence[Evidence]) -> str:
    """Which commit has last changed the rules, and the records of which studies are older."""
    digits, date = last_change()
    if not digits:
        return "Outside of a clone it is not known when these rules were last changed."
    since = datetime.fromisoformat(date)
    older = {True: [], False: []}
    for one in evidence:
        times = [datetime.fromisoformat(time) for origin in one.origins for time in (origin.first, origin.last)]
        if times and min(times) < since:
            older[max(times) < since].append(one.study.name)
    words = [
        f"{many} records of {enumerated(older[every])}"
        for many, every in (("all", True), ("some", False))
        if older[every]
    ]
    told = f"Older are {' and '.join(words)}." if words else "No record is older."
    return f"These rules were last changed on {date[:10]}, in commit `{digits}`. {told}"


def setting(evidence: Evidence) -> list[str]:
    """A row on what a study is: name, title, seeds, epochs, where and when it was computed."""
    study = evidence.study
    numbers = [", ".join(map(str, evidence.seeds)), str(study.epochs), str(study.relax_epochs)]
    return [study.name, escaped(study.title), *numbers, line(evidence.origins)]


def _figure(study: Study, number: int) -> str:
    if number == TRANSFER or ("interpolation" in FIGURES[number] and not study.path_times):
        return ""
    return f" · [figure]({study.name}/{FIGURES[number]})"


def _block(text: str) -> Sequence[str]:
    """HTML that stands in Markdown as it is."""
    return ["```{raw} html", text, "```", ""]
