"""What is measured along paths, as a table, and what it says of each path: its barrier, and its best point.

A table of paths has a row for each point of each path: ``method``, ``tw``, ``seed``, ``alpha``, and what was measured
there; ``length`` and ``straight``, the Euclidean lengths of the path and of the straight line between its ends, are the
same in all rows of a path. Where paths to controls are asked for too, a column ``kind`` says which each leads to.

The best point of a path is chosen among the inner ones on images that it is not then reported on
("held" and "report"); choosing on the reported ones, as on a test set, is "cheating": there to be compared with.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from efcnbook.statistics.tables import mean
from efcnlab.run.study_results import History, StudyResults

PATH = ["method", "tw", "seed"]
OWN = "efcn"  # the kind of a study's own paths, which lead to the eFCN if it does not say otherwise


def tidy(histories: Mapping[tuple[str, int, int], History]) -> pd.DataFrame:
    """The table of path runs' histories by method, relax time and seed.

    >>> from efcnbook.statistics.path_profiles import tidy
    >>> print(tidy({("linear", 5, 0): {"alpha": [0, 1], "delta": [0.0, 0.5], "length": 2.0}}).to_string(index=False))
    method  tw  seed  alpha  delta  length
    linear   5     0      0    0.0     2.0
    linear   5     0      1    0.5     2.0
    """
    frames = []
    for (method, tw, seed), history in histories.items():
        steps = f"{method}_"  # of what is measured at each step of its relaxation
        columns = {name: values for name, values in history.items() if not name.startswith(steps)}
        frames.append(pd.DataFrame({"method": method, "tw": tw, "seed": seed} | columns))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*PATH, "alpha"])


def of_results(
    results: Iterable[StudyResults], methods: Sequence[str] | None = None, kinds: Sequence[str] | None = None
) -> pd.DataFrame:
    """The paths of a study by these methods, or by all of its own; ``results`` are of one seed each.

    With ``kinds``, "efcn" for the study's own paths and the names of controls for those from the CNN to these, a first
    column ``kind`` says which each is; those that are not there are left out.
    """
    results, found = list(results), []
    for kind in kinds or (OWN,):
        ways = [(one, *way) for one in results for way in _ways(one, kind) if methods is None or way[0] in methods]
        of = tidy({(method, tw, one.seed): one.path(method, tw, one.seed, kind).history for one, method, tw in ways})
        found.append(of.assign(kind=kind)[["kind", *of.columns]] if kinds else of)
    return pd.concat([of for of in found if not of.empty] or found[:1], ignore_index=True)


def _ways(one: StudyResults, kind: str) -> list[tuple[str, int]]:
    """Method and relax time of each path to this kind of network."""
    if kind == OWN:
        return list(one.study.paths)
    return [(method, tw) for method, tw, control in one.study.control_paths if control == kind]


def _keys(paths: pd.DataFrame) -> list[str]:
    """The columns that tell one path of a table from the next."""
    return ["kind", *PATH] if "kind" in paths else PATH


def stable(paths: pd.DataFrame) -> pd.DataFrame:
    """Without the relax times at which the losses of a method's path are no numbers, in one seed at least."""
    if paths.empty:
        return paths
    finite = np.isfinite(paths["train_loss"]).groupby([paths[name] for name in _keys(paths)[:-1]]).transform("all")
    return paths[finite]


def profiles(paths: pd.DataFrame) -> pd.DataFrame:
    r"""A row for each path, by method, tw and seed, and before these by kind where there is one: what its points say.

    - ``barrier``: :math:`\max_{0 < i < n - 1} L(x_i) - \max(L(x_0), L(x_{n-1}))`, the largest train loss inside the
      path minus that of the higher end, in nats; negative where there is none;
    - ``above_chord``: :math:`\max_{0 < i < n - 1} L(x_i) - (1 - \alpha_i) L(x_0) - \alpha_i L(x_{n-1})`, another
      measure of a barrier, which takes a path that bulges between a high and a low end for one;
    - ``level``: the mean train loss inside the path;
    - ``alpha``, ``accuracy``, ``gain``: the best point, its accuracy on the reported images, and that minus that of the
      better end, ``ends``; ``cheated`` is the highest accuracy inside the path on the reported images themselves;
    - ``probability_gain``: of a path in output space, the gain where probabilities are averaged instead of logits;
    - ``test_accuracy`` and ``delta`` of the best point, ``end_delta``: the larger delta of both ends, and ``longer``:
      by how much the path is longer than the straight line, as a fraction of it.

    >>> from efcnbook.statistics.path_profiles import profiles, tidy
    >>> path = {"alpha": [0, 0.25, 0.75, 1], "train_loss": [0.25, 1.5, 0.75, 0.5]}
    >>> path |= {"held_accuracy": [0.6, 0.7, 0.8, 0.6], "report_accuracy": [0.6, 0.9, 0.7, 0.5]}
    >>> profiles(tidy({("linear", 5, 0): path})).iloc[0][["barrier", "alpha", "accuracy", "ends", "cheated"]].to_dict()
    {'barrier': 1.0, 'alpha': 0.75, 'accuracy': 0.7, 'ends': 0.6, 'cheated': 0.9}
    """
    rows = {key: _profile(of.reset_index(drop=True)) for key, of in paths.groupby(_keys(paths))}
    return pd.DataFrame(rows.values(), index=pd.MultiIndex.from_tuples(rows, names=_keys(paths))).sort_index()


def _profile(path: pd.DataFrame) -> dict[str, float]:
    inner, (start, *_, end) = path.iloc[1:-1], path.index
    found = {}
    if "train_loss" in path:
        loss, alpha = path["train_loss"], path["alpha"]
        found["barrier"] = inner["train_loss"].max(skipna=False) - max(loss[start], loss[end])
        found["above_chord"] = (loss - (1 - alpha) * loss[start] - alpha * loss[end])[inner.index].max(skipna=False)
        found["level"] = inner["train_loss"].mean(skipna=False)
    if "held_accuracy" in path:
        chosen, reported = inner["held_accuracy"].idxmax(), path["report_accuracy"]
        accuracy, ends = reported[chosen], max(reported[start], reported[end])
        found |= {"alpha": path["alpha"][chosen], "accuracy": accuracy, "ends": ends, "gain": accuracy - ends}
        found["cheated"] = inner["report_accuracy"].max()
        found |= {name: path[name][chosen] for name in ("test_accuracy", "delta") if name in path}
    if "probability_held_accuracy" in path and path["probability_held_accuracy"].notna().all():
        reported = path["probability_report_accuracy"]
        accuracy = reported[inner["probability_held_accuracy"].idxmax()]
        found["probability_gain"] = accuracy - max(reported[start], reported[end])
    if "delta" in path:
        found["end_delta"] = max(path["delta"][start], path["delta"][end])
    if "length" in path:
        found["longer"] = path["length"][start] / path["straight"][start] - 1
    return found


def risen(profiles: pd.DataFrame) -> dict[int, tuple[float, float]]:
    """The tw whose strings lie above the straight line they started from: mean train loss inside of string and line.

    Such a string did not relax: its steps were too long for where it lay, and its barrier is of its own making. Means
    are over the seeds that have both; ``profiles`` are those of `profiles`.
    """
    if not {"linear", "string"} <= set(profiles.index.unique("method")):
        return {}
    both = pd.DataFrame({method: profiles.loc[method, "level"] for method in ("string", "linear")}).dropna()
    levels = mean(both)
    return {
        tw: (float(of["string"]), float(of["linear"])) for tw, of in levels.iterrows() if of["string"] > of["linear"]
    }
