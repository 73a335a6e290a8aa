"""How a page writes symbols, numbers and names for people."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from qdchar.estimate import Estimate
from qdchar.keyrate.comparators import COMPARATORS
from qdchar.notation import interval_text, text

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_EXPONENT = re.compile(r"(?<=[\d)\]])e(-?\d+)\b")
_SIGNS = {"pi": "π", "phi": "φ", "kappa": "κ"}
_LIGHT = {
    "wcp-ideal": "coherent light, ideal",
    "wcp-infinite-decoy": "coherent light, infinitely many decoy states",
    "wcp-vacuum-weak-bb84": "coherent light, BB84 with vacuum and weak decoy",
    "wcp-vacuum-weak-three-state": "coherent light, three states with vacuum and weak decoy",
    "wcp-one-decoy-bb84": "coherent light, BB84 with one decoy state",
    "wcp-one-decoy-three-state": "coherent light, three states with one decoy state",
}
_PROTOCOLS = {
    "efficient-bb84": "efficient BB84",
    "three-state": "three-state protocol",
    "efficient-bb84-decoy": "efficient BB84 with decoy states",
    "three-state-decoy": "three-state protocol with decoy states",
}
_CODE_NAMES = re.compile("|".join(sorted(map(re.escape, COMPARATORS), key=len, reverse=True)))
_G2 = re.compile(r"\bg2\b")


def powers(written: str) -> str:
    """Write powers of ten as such.

    Examples
    --------
    >>> powers("1.30(12)e-3 at 14.6 dB"), powers("[1.2, 1.4]e-3")
    ('1.30(12)\u202f×\u202f10⁻³ at 14.6 dB', '[1.2, 1.4]\u202f×\u202f10⁻³')
    """
    return _EXPONENT.sub(lambda m: f"\u202f×\u202f10{m[1].translate(_SUPERSCRIPT)}", written)


def words(written: str) -> str:
    """Replace code names of coherent light in a sentence by words, and write powers as such."""
    return _G2.sub("g⁽²⁾", powers(_CODE_NAMES.sub(lambda m: light(m[0]), written)))


def sentence(written: str) -> str:
    """Write a text with a capital first letter, unless it begins with a symbol such as g2."""
    begins_with_word = re.match(r"[a-z]{2,}\b", written) is not None
    return words(written[:1].upper() + written[1:] if begins_with_word else written)


def light(name: str) -> str:
    """Name a protocol of coherent light in words."""
    return _LIGHT.get(name, name)


def protocol(name: str) -> str:
    """Name the source's protocol in words."""
    return _PROTOCOLS.get(name, name)


def value(estimate: Estimate) -> str:
    """Write an estimate with its unit and two digits of its uncertainty."""
    return powers(text(estimate))


def band(estimate: Estimate) -> str:
    """Write the 95 % interval of an estimate; empty if it is exact."""
    if estimate.interval_95 is not None:
        return powers(interval_text(estimate, estimate.interval_95))
    if "(" not in text(estimate):
        return ""  # exact, or known to more digits than are written
    ends = (estimate.value - 2 * estimate.u, estimate.value + 2 * estimate.u)
    return powers(interval_text(estimate, ends))


def symbol(written: str) -> Markup:
    """Write the symbol of a quantity with its indices.

    Examples
    --------
    >>> print(symbol("g2(0)_s,95"), symbol("T1"), symbol("<n>"))
    <i>g</i><sup>(2)</sup><sub>s,95</sub>(0) <i>T</i><sub>1</sub> ⟨<i>n</i>⟩
    >>> print(symbol("P_pi"), symbol("Δν/Δν_FL"))
    <i>P</i><sub>π</sub> <i>Δν</i>/<i>Δν</i><sub>FL</sub>
    """
    if written.startswith("<") and written.endswith(">"):
        return Markup("⟨<i>{}</i>⟩").format(written[1:-1])
    return Markup("/").join(map(_one_symbol, written.split("/")))


def _one_symbol(written: str) -> Markup:
    name, _, index = written.partition("_")
    index = _SIGNS.get(index, index)
    below = Markup("<sub>{}</sub>").format(index) if index else Markup("")
    if name == "g2(0)":
        return Markup("<i>g</i><sup>(2)</sup>{}(0)").format(below)
    if numbered := re.fullmatch(r"([A-Za-z])(\d)", name):
        return Markup("<i>{}</i><sub>{}</sub>").format(*numbered.groups())
    if " " in name:
        return escape(name)
    return Markup("<i>{}</i>{}").format(_SIGNS.get(name, name), below)
