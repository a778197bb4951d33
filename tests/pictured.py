"""What a page offers to be saved below a figure, read back."""

import base64
import csv
import gzip
import io
import json
import re

LINK = re.compile(r'<a download="([^"]+)" aria-label="([^"]+)" href="data:([^;]+);base64,([^"]+)">(\w+)</a>')


def saved(html):
    """What each link of a figure saves: its format -> file name, label for screen readers, media type, bytes."""
    return {name: (file, label, kind, base64.b64decode(data)) for file, label, kind, data, name in LINK.findall(html)}


def columns(file):
    """Header and rows of a saved CSV."""
    name, _, _, content = file
    return list(csv.reader(io.StringIO((gzip.decompress(content) if name.endswith(".gz") else content).decode())))


def content(file):
    """What a saved JSON says."""
    name, _, _, text = file
    return json.loads(gzip.decompress(text) if name.endswith(".gz") else text)
