"""Every protocol again in plain Python, one number at a time, straight from the formulas.

Written without a look at the arrays of the package: Yin 2020 (tail bounds), Lim 2014 eqs. 1-5 and
Rusca 2018 (decoys), Waks 2002 and Tamaki 2014 (single photons), and the receiver photon by photon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from qdchar.keyrate.decoy.attenuated_source import AttenuatedSource
from qdchar.keyrate.decoy.attenuated_source_finite import AttenuatorSettings, attenuator_key
from qdchar.keyrate.decoy.coherent_bounds import Intensities
from qdchar.keyrate.decoy.coherent_finite import CoherentSettings, coherent_key
from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.keyrate.receiver import live_shares, receive
from qdchar.keyrate.single_photon.rate import single_photon_key
from qdchar.link import Link

POINTS = 100
CLOCK_HZ = 80e6


@dataclass(frozen=True)
class Line:
    """A link in plain numbers."""

    eta: float
    dark: float  # per gate, one detector
    dark_x: float
    background: float  # per gate, all detectors
    e_mis: float
    q: float
    active: bool
    block: float
    sent: bool
    rigorous: bool
    dead_s: float
    gate_s: float
    f: float = 1.16
    eps_pe: float = 11 / 12 * 1e-10
    eps_pa: float = 1 / 24 * 1e-10
    eps_cor: float = 1e-15

    def link(self) -> Link:
        pair_z, pair_x = self.dark, self.dark_x
        total = 2 * (pair_z + pair_x)
        of_a_passive_receiver = {
            "detector_dark_shares": (
                pair_z / total,
                pair_z / total,
                pair_x / total,
                pair_x / total,
            ),
            "receiver_z_probability": self.q,
        }
        return Link.model_validate(
            {
                **({} if self.active else of_a_passive_receiver),
                "fiber_optics_efficiency": 1.0,
                "detector_efficiency": self.eta,
                "dark_count_rate": total / self.gate_s,
                "background_count_rate": self.background / self.gate_s,
                "gate_width": self.gate_s,
                "dead_time": self.dead_s,
                "misalignment": self.e_mis,
                "receiver": "active" if self.active else "passive",
                "block": self.block,
                "block_kind": "sent" if self.sent else "received",
                "security": "rigorous" if self.rigorous else "published",
            }
        )


def draw_line(rng: np.random.Generator) -> Line:
    dark = 10 ** rng.uniform(-8, -5.5)
    active = bool(rng.integers(2))
    return Line(
        eta=10 ** -rng.uniform(0.35, 2.2),
        dark=dark,
        dark_x=dark if active else 10 ** rng.uniform(-8, -5.5),
        background=10 ** rng.uniform(-8, -5.5),
        e_mis=rng.uniform(0.0, 0.03),
        q=rng.uniform(0.6, 0.95),
        active=active,
        block=10 ** rng.uniform(7.5, 11),
        sent=bool(rng.integers(2)),
        rigorous=bool(rng.integers(2)),
        dead_s=float(rng.choice([0.0, 20e-9, 100e-9])),
        gate_s=rng.uniform(1e-9, 12e-9),
    )


def arms(line: Line, light: float, wrong: float) -> dict[str, float]:
    """Clicks per pulse and Bob's choice: light as one event, then every pattern of dark counts."""
    found = dict.fromkeys(("z", "x", "wrong_z", "wrong_x"), 0.0)
    for basis in "zx":  # of Alice
        ways = {basis: 1.0} if line.active else {"z": line.q, "x": 1 - line.q}
        kinds = [("none", "", 1 - light)]
        kinds += [("right", b, (light - wrong) * p) for b, p in ways.items() if b == basis]
        kinds += [("wrong", b, wrong * p) for b, p in ways.items() if b == basis]
        for b, p in ways.items():
            if b != basis:
                kinds += [(side, b, light * p / 2) for side in ("right", "wrong")]
        places = [(b, side) for b in ways for side in ("right", "wrong")]
        for pattern in product((False, True), repeat=len(places)):
            chance = 1.0
            for (b, _), fired in zip(places, pattern, strict=True):
                p = line.dark if b == "z" else line.dark_x
                if line.active:  # two detectors, which hold the dark counts of all four
                    p = line.dark + line.dark_x
                chance *= p if fired else 1 - p
            for side, where, p in kinds:
                clicked = {place for place, fired in zip(places, pattern, strict=True) if fired}
                if side != "none":
                    clicked.add((where, side))
                bases = {b for b, _ in clicked}
                for b in bases:
                    sides = [s for c, s in clicked if c == b]
                    weight = chance * p / len(bases)
                    found_here = weight * sides.count("wrong") / len(sides)
                    if b == basis:
                        found[b] += weight
                        found["wrong_" + b] += found_here
    if not line.active:
        for b, p in (("z", line.q), ("x", 1 - line.q)):
            found[b] /= p
            found["wrong_" + b] /= p
    return found


def mixed(line: Line, lights: list[tuple[float, float]], shares: list[float], p_z: float) -> Any:
    """Counts per setting and pulses sent."""
    each = [arms(line, *light) for light in lights]
    p_bob = p_z if line.active else line.q
    z = sum(s * a["z"] for s, a in zip(shares, each, strict=True))
    x = sum(s * a["x"] for s, a in zip(shares, each, strict=True))
    between = 1 - line.gate_s * CLOCK_HZ
    outside_z = (line.dark + line.background * line.q / 2) / line.gate_s * between
    outside_x = (line.dark_x + line.background * (1 - line.q) / 2) / line.gate_s * between
    rate_z, rate_x = CLOCK_HZ * p_bob * z / 2, CLOCK_HZ * (1 - p_bob) * x / 2
    if line.active:
        rate_z = rate_x = CLOCK_HZ * (p_bob * z + (1 - p_bob) * x) / 2
        outside_z = outside_x = (
            (line.dark + line.dark_x + line.background / 2) / line.gate_s * between
        )
    live_z = 1 / (1 + line.dead_s * (rate_z + outside_z))
    live_x = 1 / (1 + line.dead_s * (rate_x + outside_x))
    gain = p_bob * z * live_z + (1 - p_bob) * x * live_x
    sent = line.block if line.sent else line.block / gain
    rows = []
    for s, a in zip(shares, each, strict=True):
        in_z = sent * s * p_z * p_bob * live_z
        in_x = sent * s * (1 - p_z) * (1 - p_bob) * live_x
        crossed = sent * s * p_z * (1 - p_bob) * live_x * a["x"]
        rows.append(
            {
                "z": in_z * a["z"],
                "wz": in_z * a["wrong_z"],
                "x": in_x * a["x"],
                "wx": in_x * a["wrong_x"],
                "c": crossed,
                "r": crossed / 2,
            }
        )
    return rows, sent


def h(x: float) -> float:
    if x <= 0:
        return 0.0
    x = min(x, 0.5)
    return -x * math.log2(x) - (1 - x) * math.log2(1 - x)


def up_observed(x: float, b: float) -> float:
    return x + b / 2 + math.sqrt(2 * b * x + b * b / 4)


def low_observed(x: float, b: float) -> float:
    return max(0.0, x - math.sqrt(2 * b * x))


def up_expected(x: float, b: float) -> float:
    return x + b + math.sqrt(2 * b * x + b * b)


def low_expected(x: float, b: float) -> float:
    return max(0.0, x - b / 2 - math.sqrt(2 * b * x + b * b / 4))


def sampling(n: float, k: float, rate: float, b: float, tail: bool) -> float:
    if n < 1 or k <= 2:
        return 0.5
    lam = min(max(rate, 1 / k), 0.5)
    a = max(n, k)
    g = 2 * b
    if not tail:
        g += math.log((n + k) / (2 * math.pi * n * k * lam * (1 - lam)))
    g *= (n + k) / (n * k)
    inside = (a * g / (n + k)) ** 2 + 4 * lam * (1 - lam) * g
    top = (1 - 2 * lam) * a * g / (n + k) + math.sqrt(inside)
    return top / (2 + 2 * a * a * g / (n + k) ** 2)


def plain_single(
    line: Line, n: float, g2: float, p_z: float, a: float, phase: str, accounting: str
) -> float:
    mean = a * n
    photons = mean * line.eta - g2 * mean**2 * line.eta**2 / 2
    light = 1 - (1 - line.background) * (1 - photons)
    wrong = (1 - line.background) * photons * line.e_mis + line.background / 2
    (c,), sent = mixed(line, [(light, wrong)], [1.0], p_z)
    p_bob = p_z if line.active else line.q
    bounds = 3 if phase == "eb" else {"alice": 7, "joint": 8}[accounting]
    b = -math.log(line.eps_pe / (bounds if line.rigorous else 1))
    bob_z, bob_x = (p_bob, 1 - p_bob) if accounting == "joint" else (1.0, 1.0)
    p2 = g2 * mean**2 / 2
    good = c["z"] - up_observed(sent * p_z * bob_z * p2, b)
    multi_x = up_observed(sent * (1 - p_z) * bob_x * p2, b)
    good_x = c["x"] - multi_x
    if good < 1 or good_x < 1:
        return 0.0
    if phase == "eb":
        error = c["wx"] / good_x
    else:
        in_x, in_z = sent * (1 - p_z) * (1 - p_bob), sent * p_z * (1 - p_bob)
        left = up_expected(c["wx"], b) / in_x
        right = low_expected(c["x"] - c["wx"], b) / in_x
        of_z = up_expected(c["r"], b) / in_z
        multi_z = up_observed(sent * p_z * bob_x * p2, b)
        single = 2 * (low_expected(c["c"], b) - multi_z) / in_z
        if single <= 0:
            return 0.0
        error = max(left + 2 * of_z - (right - multi_x / in_x), 0.0) / single
    error += sampling(good, good_x, error, b, line.rigorous)
    if error >= 0.5:
        return 0.0
    length = good * (1 - h(error)) - line.f * h(c["wz"] / c["z"]) * c["z"]
    length -= 2 * math.log2(1 / (2 * line.eps_pa)) + math.log2(2 / line.eps_cor)
    return max(length, 0.0) / sent


def finish(
    line: Line, rows: Any, sent: float, vacuum: float, single: float, error: float, sample: float
) -> float:
    b = -math.log(line.eps_pe / (26 if line.rigorous else 22))
    if line.rigorous:
        vacuum, single = low_observed(vacuum, b), low_observed(single, b)
        error = up_observed(error * sample, b) / sample if sample >= 1 else 1.0
        sample = low_observed(sample, b)
    if single < 1 or sample < 1:
        return 0.0
    error += sampling(single, sample, error, b, line.rigorous)
    if error >= 0.5:
        return 0.0
    sifted, wrong = sum(r["z"] for r in rows), sum(r["wz"] for r in rows)
    length = vacuum + single * (1 - h(error)) - line.f * h(wrong / sifted) * sifted
    length -= 6 * math.log2(1 / line.eps_pa) + math.log2(2 / line.eps_cor)
    return max(length, 0.0) / sent


def plain_coherent(
    line: Line, means: list[float], shares: list[float], p_z: float, phase: str
) -> float:
    lights = []
    for mean in means:
        photons = 1 - math.exp(-mean * line.eta)
        light = 1 - (1 - line.background) * (1 - photons)
        lights.append((light, (1 - line.background) * photons * line.e_mis + line.background / 2))
    rows, sent = mixed(line, lights, shares, p_z)
    b = -math.log(line.eps_pe / (26 if line.rigorous else 22))
    scale = [math.exp(m) / s for m, s in zip(means, shares, strict=True)]
    t0 = sum(s * math.exp(-m) for m, s in zip(means, shares, strict=True))
    t1 = sum(s * math.exp(-m) * m for m, s in zip(means, shares, strict=True))
    mu, nu = means[0], means[1]
    two = len(means) == 3

    def ups(counts: list[float]) -> list[float]:
        return [k * up_expected(c, b) for k, c in zip(scale, counts, strict=True)]

    def lows(counts: list[float]) -> list[float]:
        return [k * low_expected(c, b) for k, c in zip(scale, counts, strict=True)]

    def dark_most(errors: list[float]) -> float:
        return 0.0 if two else 2 * up_expected(t0 * min(ups(errors)), b)

    def least(counts: list[float], most: float) -> tuple[float, float]:
        up, low = ups(counts), lows(counts)
        if two:
            vacuum = t0 * low[2]
            rest = low[1] - up[2] - (nu / mu) ** 2 * (up[0] - vacuum / t0)
        else:
            vacuum = t0 * max(mu * low[1] - nu * up[0], 0.0) / (mu - nu)
            rest = low[1] - (nu / mu) ** 2 * up[0] - (mu**2 - nu**2) / mu**2 * most / t0
        return vacuum, max(t1 * mu / (nu * (mu - nu)) * rest, 0.0)

    def most_single(counts: list[float]) -> float:
        up, low = ups(counts), lows(counts)
        value = t1 * (up[1] - low[2]) / nu if two else t1 * (up[0] - low[1]) / (mu - nu)
        return min(max(value, 0.0), sum(counts))

    def of(name: str) -> list[float]:
        return [r[name] for r in rows]

    vacuum, single = least(of("z"), dark_most(of("wz")))
    dark_x = dark_most(of("wx"))
    if phase == "eb":
        _, sample = least(of("x"), dark_x)
        error = most_single(of("wx")) / max(sample, 1.0)
    else:
        ratio = (1 - p_z) / p_z
        _, sample = least([r["x"] - r["wx"] for r in rows], dark_x / 2)
        _, crossed = least(of("c"), dark_x / ratio)
        if crossed <= 0:
            return 0.0
        wrong = most_single(of("wx")) + 2 * most_single(of("r")) * ratio - sample
        error = max(wrong, 0.0) / (2 * crossed * ratio)
    return finish(line, rows, sent, vacuum, single, error, sample)


def plain_attenuator(
    line: Line, n: float, g2: float, a: float, shares: list[float], p_z: float, phase: str
) -> float:
    p2, p1 = g2 * n * n / 2, n - g2 * n * n
    p0 = 1 - p1 - p2
    p = [
        (p0 + (1 - t) * p1 + (1 - t) ** 2 * p2, t * p1 + 2 * t * (1 - t) * p2, t * t * p2)
        for t in (1.0, a, 0.0)
    ]
    lights = []
    for row in p:
        photons = sum(pk * (1 - (1 - line.eta) ** k) for k, pk in enumerate(row))
        light = 1 - (1 - line.background) * (1 - photons)
        lights.append((light, (1 - line.background) * photons * line.e_mis + line.background / 2))
    rows, sent = mixed(line, lights, shares, p_z)
    b = -math.log(line.eps_pe / (26 if line.rigorous else 22))
    t0 = sum(s * row[0] for s, row in zip(shares, p, strict=True))
    t1 = sum(s * row[1] for s, row in zip(shares, p, strict=True))

    def gains(counts: list[float], pulses: float) -> tuple[list[float], list[float]]:
        per = [pulses * s for s in shares]
        up = [up_expected(c, b) / m for c, m in zip(counts, per, strict=True)]
        return up, [low_expected(c, b) / m for c, m in zip(counts, per, strict=True)]

    def least(counts: list[float], pulses: float) -> tuple[float, float]:
        up, low = gains(counts, pulses)
        y1 = low[1] - a * a * up[0] - (p[1][0] - a * a * p[0][0]) * up[2]
        found = [y1 / (a * (1 - a) * n)]
        found += [(low[j] - p[j][0] * up[2] - p[j][2]) / p[j][1] for j in (0, 1)]
        return pulses * t0 * low[2], pulses * t1 * max(*found, 0.0)

    def most_single(counts: list[float], pulses: float) -> float:
        up, low = gains(counts, pulses)
        y1 = up[1] - a * a * low[0] - (p[1][0] - a * a * p[0][0]) * low[2]
        found = [y1 / (a * (1 - a) * n)]
        found += [(up[j] - p[j][0] * low[2]) / p[j][1] for j in (0, 1)]
        return min(pulses * t1 * min(max(min(found), 0.0), 1.0), sum(counts))

    def of(name: str) -> list[float]:
        return [r[name] for r in rows]

    in_z, in_x = sent * p_z, sent * (1 - p_z)
    vacuum, single = least(of("z"), in_z)
    if phase == "eb":
        _, sample = least(of("x"), in_x)
        error = most_single(of("wx"), in_x) / max(sample, 1.0)
    else:
        ratio = (1 - p_z) / p_z
        _, sample = least([r["x"] - r["wx"] for r in rows], in_x)
        _, crossed = least(of("c"), in_z)
        if crossed <= 0:
            return 0.0
        wrong = most_single(of("wx"), in_x) + 2 * most_single(of("r"), in_z) * ratio - sample
        error = max(wrong, 0.0) / (2 * crossed * ratio)
    return finish(line, rows, sent, vacuum, single, error, sample)


def given_of(line: Line) -> LinkParameters:
    return LinkParameters.from_link(line.link(), 0.0, CLOCK_HZ)


def compare(pairs: list[tuple[float, float]], least_keys: int) -> None:
    ours, theirs = np.array(pairs).T
    assert np.count_nonzero(theirs > 0) >= least_keys
    # a key is a small difference of two large numbers: 1e-9 of the rate, or of 1e-6 per pulse
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("phase", ["eb", "lt"])
@pytest.mark.parametrize("accounting", ["alice", "joint"])
def test_single_photons(phase: Any, accounting: Any) -> None:
    rng = np.random.default_rng([51, len(accounting), phase == "lt"])
    pairs = []
    for _ in range(POINTS):
        line = draw_line(rng)
        n, g2 = rng.uniform(0.1, 0.9), 10 ** rng.uniform(-4, -2)
        p_z, a = rng.uniform(0.6, 0.97), rng.uniform(0.2, 1)
        key = single_photon_key(n, g2, p_z, a, given_of(line), phase, accounting)
        expected = plain_single(line, n, g2, p_z, a, phase, accounting)
        pairs.append((float(key.rate), expected))
    compare(pairs, 50)


@pytest.mark.parametrize("phase", ["eb", "lt"])
@pytest.mark.parametrize("decoys", [1, 2])
def test_coherent_light(phase: Any, decoys: int) -> None:
    rng = np.random.default_rng([52, decoys, phase == "lt"])
    pairs = []
    for _ in range(POINTS):
        line = draw_line(rng)
        if phase == "lt":  # has a key in a corner of the settings only
            line = replace(line, e_mis=line.e_mis / 10, block=line.block * 100)
        mu, p_z = rng.uniform(0.3, 0.7), rng.uniform(0.6, 0.95)
        means, shares = [mu, mu * rng.uniform(0.05, 0.4)], [0.7, 0.3]
        if decoys == 2:
            means, shares = [*means, 0.0], [0.6, 0.3, 0.1]
        settings = CoherentSettings(np.asarray(p_z), Intensities(np.array(means), np.array(shares)))
        expected = plain_coherent(line, means, shares, p_z, phase)
        pairs.append((float(coherent_key(settings, given_of(line), phase).rate), expected))
    compare(pairs, 15)


@pytest.mark.parametrize("phase", ["eb", "lt"])
def test_single_photons_with_decoy(phase: Any) -> None:
    rng = np.random.default_rng([53, phase == "lt"])
    pairs = []
    for _ in range(POINTS):
        line = draw_line(rng)
        n, g2, a = rng.uniform(0.1, 0.9), 10 ** rng.uniform(-4, -1.5), rng.uniform(0.2, 0.7)
        p_z, shares = rng.uniform(0.6, 0.95), [0.8, 0.15, 0.05]
        source = AttenuatedSource(
            np.asarray(n), np.asarray(g2), np.array([1.0, a, 0.0]), np.array(shares), np.asarray(0)
        )
        key = attenuator_key(AttenuatorSettings(np.asarray(p_z), source), given_of(line), phase)
        expected = plain_attenuator(line, n, g2, a, shares, p_z, phase)
        pairs.append((float(key.rate), expected))
    compare(pairs, 40)


def test_two_photons_one_by_one() -> None:
    """Each photon takes its own way; a coin picks the basis, then the outcome."""
    rng = np.random.default_rng(54)
    for _ in range(20):
        line = replace(draw_line(rng), active=False, dark=0.0, dark_x=0.0, background=0.0)
        p1, p2 = rng.uniform(0, 0.4, 2)
        ways = [
            ("z", "right", line.eta * line.q * (1 - line.e_mis)),
            ("z", "wrong", line.eta * line.q * line.e_mis),
            ("x", "-", line.eta * (1 - line.q)),
            ("", "", 1 - line.eta),
        ]
        z = wrong_z = 0.0
        for photons, weight in ((1, p1), (2, p2)):
            for taken in product(ways, repeat=photons):
                chance = weight * math.prod(w[2] for w in taken)
                bases = {w[0] for w in taken} - {""}
                sides = {w[1] for w in taken if w[0] == "z"}
                if "z" in bases:
                    z += chance / len(bases)
                    wrong_z += chance / len(bases) * ("wrong" in sides) / len(sides)
        detected = p1 * line.eta + p2 * (1 - (1 - line.eta) ** 2)
        given = LinkParameters.from_link(
            Link.model_validate({"receiver_z_probability": line.q, "dark_count_rate": 0.0}),
            0.0,
        )
        clicks = receive(np.asarray(detected), np.asarray(line.e_mis * detected), given)
        assert line.q * float(clicks.z) == pytest.approx(z, rel=1e-12)
        assert line.q * float(clicks.wrong_z) == pytest.approx(wrong_z, rel=1e-12)


def test_dead_time_by_simulation() -> None:
    """One detector, clicks at random: what is left of 2e6 of them."""
    rng = np.random.default_rng(55)
    dead_s, rate_hz = 40e-9, 8e6
    at = np.cumsum(rng.exponential(1 / rate_hz, 2_000_000))
    last, kept = -1.0, 0
    for t in at:
        if t - last >= dead_s:
            last, kept = t, kept + 1
    gain = 2 * rate_hz / CLOCK_HZ / 0.9  # of one of two detectors, at 90 % of the light
    given = LinkParameters.from_link(
        Link.model_validate({"dead_time": dead_s, "dark_count_rate": 0.0}), 0.0, CLOCK_HZ
    )
    clicks = receive(np.asarray(gain), np.asarray(0.0), given)
    live, _ = live_shares(clicks, np.asarray(0.9), given)
    assert float(live) == pytest.approx(kept / len(at), rel=2e-3)  # 1.5e6 counts
