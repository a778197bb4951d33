"""The house: packages and rooms import one way only, nothing is too long, and the library stands alone."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = {"efcnlib": ROOT, "efcnlab": ROOT, "efcnbook": ROOT / "book", "efcnbench": ROOT / "benchmarks"}
MAY_IMPORT = {
    "efcnlib": set(),
    "efcnlab": {"efcnlib"},
    "efcnbook": {"efcnlib", "efcnlab"},
    "efcnbench": {"efcnlib", "efcnlab"},
}
# From top to bottom: a room, a folder or a module beside it, imports only from rooms above it.
ROOMS = {
    "efcnlib": "errors settings resumable memory geometry data networks kernels projection embedding metrics training "
    "landscape",
    "efcnlab": "arguments console environment data config store run cli",
    "efcnbook": "statistics figures claims notebook_parameters notebook findings explorer playground training_page "
    "pages command",
    "efcnbench": "cost_model published_loop published_string variants correctness timing kernel_timing "
    "path_timing precision_agreement subjects command",
}
LIBRARY_LINES = 6_000
FILE_LINES = 300
CLASS_LINES = 150
# What the extras bring, and what of efcnlib uses it: data sets are fetched, Triton kernels are asked for by name.
OTHERS = ("pydantic", "tyro", "tqdm", "matplotlib", "scipy", "ray", "filelock", "platformdirs", "PIL", "sklearn")


def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name; a package under its own."""
    found = {}
    for package, folder in PACKAGES.items():
        for file in (folder / package).rglob("*.py"):
            found[".".join(file.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")] = file
    return found


MODULES = modules()


def imported(file: Path) -> set[str]:
    """Our modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else node.module)
    return {name for name in found if name in MODULES}


def place(module: str) -> tuple[str, int] | None:
    """A module's package, and how far down in it its room stands; None for the package's own ``__init__``."""
    package, _, rest = module.partition(".")
    return (package, ROOMS[package].split().index(rest.partition(".")[0])) if rest else None


def test_every_room_has_its_place():
    for package, rooms in ROOMS.items():
        there = {name.split(".")[1] for name in MODULES if name.startswith(f"{package}.")}
        assert there == set(rooms.split())


def test_imports_go_one_way():
    wrong = []
    for module, file in MODULES.items():
        here = place(module)
        for other in imported(file):
            there = place(other)
            if there and here and (there[1] > here[1] if there[0] == here[0] else there[0] not in MAY_IMPORT[here[0]]):
                wrong.append(f"{module} imports {other}")
    assert not wrong


def test_no_file_and_no_class_is_too_long():
    others = {
        str(file.relative_to(ROOT)): file
        for folder in ("tests", "benchmarks")
        for file in (ROOT / folder).rglob("*.py")
    }
    lengths = {name: len(file.read_text("utf-8").splitlines()) for name, file in (others | MODULES).items()}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}
    classes = {
        f"{name}.{node.name}": node.end_lineno - node.lineno + 1
        for name, file in MODULES.items()
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    assert {name: lines for name, lines in classes.items() if lines > CLASS_LINES} == {}
    assert sum(lines for name, lines in lengths.items() if name.startswith("efcnlib")) < LIBRARY_LINES


def test_the_library_stands_alone():
    script = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {(*OTHERS, "triton", "torchvision", "efcnlab", "efcnbook", "efcnbench")}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import torch, efcnlib
cnn = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(8, 2)).double()
efcn, x = efcnlib.embed(cnn, (1, 4, 4)), torch.rand(5, 1, 4, 4).double()
assert torch.allclose(cnn(x), efcn(x), atol=1e-12, rtol=0)
assert not [name for name in efcnlib.__all__ if not hasattr(efcnlib, name)]
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def without_encoding(source: str) -> list[int]:
    """The lines that open a file as text in the encoding of the machine, which Windows has another one of."""
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func).rpartition(".")
        words = [*call.args, *(word.value for word in call.keywords)]
        modes = [word.value for word in words if re.fullmatch("'[rwax][bt+]*'", ast.unparse(word))]
        is_text = {
            "read_text": not call.args,
            "write_text": len(call.args) < 2,
            "open": not any("b" in mode for mode in modes) and (modes or not name[0] or not call.args),
            "NamedTemporaryFile": any("b" not in mode for mode in modes),
        }.get(name[2])
        if is_text and name[0] != "tarfile" and "encoding" not in [word.arg for word in call.keywords]:
            found.append(call.lineno)
    return found


def test_every_text_file_has_an_encoding():
    files = [*MODULES.values(), *(ROOT / "benchmarks").rglob("*.py")]
    assert {file.name: lines for file in files if (lines := without_encoding(file.read_text("utf-8")))} == {}
    wrong = "open(f)\np.open()\np.open('w')\np.read_text()\np.write_text(t)\nNamedTemporaryFile('w')"
    assert without_encoding(wrong) == [1, 2, 3, 4, 5, 6]
    right = "open(f, 'rb')\nImage.open(f)\np.open('w', encoding=e)\np.read_text('utf-8')\np.write_text(t, 'utf-8')"
    assert without_encoding(right) == []


def test_tests_import_helpers_never_other_tests():
    imports = re.compile(r"^\s*(?:from|import) (test_\w+)", re.MULTILINE)
    files = (ROOT / "tests").rglob("*.py")
    assert {file.name: found for file in files if (found := imports.findall(file.read_text("utf-8")))} == {}
