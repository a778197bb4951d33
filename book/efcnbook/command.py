"""The command `efcn book`."""

from efcnlab.arguments import DataRoot, Device, StudyNames


def book(studies: StudyNames = (), device: Device = "cpu", data_root: DataRoot = None) -> None:
    """Compute studies, run the notebooks on them and build the book. What is there already is not done again."""
    from efcnbook.pages.build_book import build

    build(studies, device=device, data_root=data_root)
