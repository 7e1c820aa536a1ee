"""Scripts and styles of the page. Libraries come from the installed packages that ship them, never from a network.

DataTables: from `itables` (MIT, with jQuery, MIT). Plotly.js: from `plotly` (MIT).
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files

from benchmark.vocabulary import BenchError

OWN = files("reports.page") / "assets"
STYLES = ("page.css",)
EARLY = ("theme.js",)
"""Before anything is drawn, so that a dark page does not begin white."""
SCRIPTS = ("data.js", "tables.js", "plots.js", "cell.js", "several.js", "failures.js", "routes.js")
_EXPORTS = re.compile(r"\bexport\{([^{}]*)\};?")
_IMPORT = re.compile(r"(?:^|[;}\n])import\b")


@dataclass(frozen=True)
class Asset:
    """A script or style: its name in the page's folder, and its text."""

    name: str
    text: str

    @property
    def inline(self) -> str:
        """The text as it can stand inside its element."""
        return re.sub(r"</(?=script|style)", r"<\\/", self.text, flags=re.IGNORECASE)

    @property
    def digest(self) -> str:
        """What a content security policy calls it where it stands inside the page."""
        return f"'sha256-{b64encode(sha256(self.inline.encode()).digest()).decode()}'"


def own(name: str) -> Asset:
    return Asset(name, (OWN / name).read_text(encoding="utf-8"))


def datatables() -> tuple[Asset, Asset]:
    """DataTables with its extensions and jQuery: script and style."""
    folder = files("itables") / "html"
    module = (folder / "dt_bundle.js").read_text(encoding="utf-8")
    style = (folder / "dt_bundle.css").read_text(encoding="utf-8")
    return Asset("datatables.js", classic_script(module, {"default": "DataTable"})), Asset(
        "datatables.css", style
    )


def plotly() -> Asset:
    """Plotly.js, the whole of it; the page loads it when the first plot is looked at."""
    text = (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    return Asset("plotly.js", text)


def classic_script(module: str, wanted: dict[str, str]) -> str:
    """An ES module as a classic script that sets globals: browsers refuse modules from file:// addresses.

    `wanted`: global names by the names that the module exports.
    """
    found = list(_EXPORTS.finditer(module))
    exported = {}
    if len(found) == 1:
        pairs = (part.split(" as ") for part in found[0].group(1).split(","))
        exported = {names[-1].strip(): names[0].strip() for names in pairs}
    if len(found) != 1 or not set(wanted) <= set(exported) or _IMPORT.search(module):
        raise BenchError(
            f"The script that itables {version('itables')} ships has another form than this suite knows. "
            "Install the version that requirements.lock names."
        )
    begin, end = found[0].span()
    globals_ = "".join(f"window.{name}={exported[export]};" for export, name in wanted.items())
    return f'(function(){{"use strict";{module[:begin]}{globals_}{module[end:]}\n}})();\n'
