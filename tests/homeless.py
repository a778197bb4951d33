"""Processes of a user id that no entry and no home folder belong to, as containers give them."""

import os
import subprocess

import pytest

USER = 12345
# It may read what this user may, such as a Python in a private folder, and write nothing of it.
READ = "+dac_read_search"


def homeless() -> list[str]:
    """What starts a command as such a user, with the variables NAME=VALUE that stand before it alone; or skip."""
    kept = [f"--{option}=-all,{READ}" for option in ("bounding-set", "inh-caps", "ambient-caps")]
    options = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *kept]
    prefix = ["setpriv", *options, "env", "-i", f"PATH={os.environ['PATH']}"]
    try:
        tried = subprocess.run([*prefix, "bash", "-c", "id --user && echo ~"], capture_output=True, text=True)
    except OSError:
        tried = None
    if tried is None or tried.stdout.split()[:1] != [str(USER)]:
        pytest.skip("not allowed to become another user here")
    return prefix
