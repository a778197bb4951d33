"""The table of contents: _toc.yml for the studies that a book shows, and the pages that come from notebooks."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from efcnbook.claims.grid import short_names
from efcnbook.pages.shown_studies import DEFAULT, FALLBACK, has, shown
from efcnlab.config import studies
from efcnlab.store.chosen_rates import load_with_chosen_rates as found_study
from efcnlab.store.recorded_study import readable_studies
from efcnlab.store.run_store import Store


def contents(template: dict, given: Mapping[str, str]) -> dict:
    """The table of contents for the studies ``given``, a file or preset for each name: {study} is repeated for each.

    A part whose caption holds it is repeated as a whole; elsewhere single chapters are. A chapter that ``needs`` an
    attribute of its study is left out where that is None or empty; of a long study, of what is recorded of it.
    """
    parts, store, names = [], Store(None, readable_studies()), readable(given)
    there = {name: shown(found_study(path, store), store) for name, path in given.items()}
    for part in template["parts"]:
        for whole in _for_each(part, given) if "{study}" in part["caption"] else [part]:
            chapters = [copy for chapter in whole["chapters"] for copy in _for_each(chapter, given)]
            caption = re.sub(r"\{name of (.+)\}", lambda found: names[found[1]], whole["caption"])
            chapters = [chapter for chapter in chapters if _is_met(chapter, there)]
            parts.append({**whole, "caption": caption, "chapters": chapters})
    return {**template, "parts": parts}


def readable(given: Mapping[str, str]) -> dict[str, str]:
    """How readers know the studies ``given``, by name: "VanillaCNN 16, SGD at 0.03"; a small one is a smoke test."""
    store = Store(None, readable_studies())
    names = short_names([found_study(path, store) for path in given.values()])
    small = {DEFAULT: " (smoke test)", FALLBACK: " (smoke test)"}
    return {study.name: name + small.get(study.name, "") for study, name in names.items()}


def executed(toc: dict) -> dict[str, str | None]:
    """The pages that come from notebooks, each with its study, if it has one."""
    files = [Path(chapter["file"]) for part in toc["parts"] for chapter in part["chapters"]]
    run = [file for file in files if file.parts[0] == "executed"]
    return {str(file): file.parts[1] if len(file.parts) == 3 else None for file in run}


def needs(toc: dict) -> dict[str, str]:
    """What pages need of the study that they show, by page, where they need anything."""
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    return {chapter["file"]: chapter["needs"] for chapter in chapters if "needs" in chapter}


def single_claims(toc: dict) -> list[str]:
    """The pages that stand below that of the claims."""
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    return [section["file"] for chapter in chapters for section in chapter.get("sections", ())]


def plain(toc: dict) -> dict:
    """The table of contents as Jupyter Book knows it."""

    def known(part: dict) -> dict:
        chapters = [{key: of for key, of in chapter.items() if key != "needs"} for chapter in part["chapters"]]
        return {**part, "chapters": chapters}

    return {**toc, "parts": list(map(known, toc["parts"]))}


def _is_met(chapter: dict, there: Mapping[str, studies.Study | None]) -> bool:
    """Whether what is shown of a chapter's study, or of any, has what the chapter needs."""
    if "needs" not in chapter:
        return True
    _, *folder, _ = Path(chapter["file"]).parts
    return any(has(there[name], chapter["needs"]) for name in folder or there)


def _for_each(entry: dict, names: Iterable[str]) -> list[dict]:
    """``entry`` once for each name if it holds {study} anywhere, else once."""
    text = yaml.safe_dump(entry)
    return [yaml.safe_load(text.replace("{study}", name)) for name in names] if "{study}" in text else [entry]
