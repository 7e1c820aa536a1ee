"""The colours of hits, misses and false positives, the same in figures and in thumbnails.

They lie over greys from black (CT) to white (an inverted PET), so none is as light as yellow; and they stay apart for
eyes without one of the three kinds of cones, which `tests/test_panel_figures.py` computes. Sky and orange are Wong's
(Nature Methods 2011), red is Tol's (Colour Schemes, 2021).
"""

from __future__ import annotations

from benchmark.scoring.projections import FALSE, HIT, MISS

WRONG = 4
"""Both masks have a label, of different regions; only where several regions are shown in one picture."""

ERRORS = {HIT: "#56B4E9", MISS: "#E69F00", FALSE: "#CC3311", WRONG: "#CC79A7"}
ERROR_NAMES = {
    HIT: "true positive",
    MISS: "missed (false negative)",
    FALSE: "false positive",
    WRONG: "another label",
}
