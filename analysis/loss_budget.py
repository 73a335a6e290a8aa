"""Loss budget: an efficiency as a chain of transmissions, compared with its end-to-end value.

Both can depend on the same certificates, and the etalon's transmission in the chain on the same
linewidth as the correction of the end-to-end value. Budgets name their error sources, so that
shared errors cancel in the comparison (GUM 5.2.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, stats

from qdchar.errors import InconclusiveError, UsageError
from qdchar.estimate import Contribution, Estimate, Uncertain, covariance, merge, propagate
from qdchar.fit import Curve, Fit, Result
from qdchar.quantities import is_known, quantity

from .models.lineshapes import airy_voigt
from .statistics.intervals import Interval
from .statistics.monte_carlo import linear_law_is_adequate, monte_carlo, with_monte_carlo_intervals

Array = NDArray[np.float64]

_MIN_P_VALUE = 0.01
"""Probability of the difference between chain and end-to-end value below which it is a problem."""

_TRANSMISSION: Interval = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Part(Uncertain):
    """The transmission of one part of a chain, and its name in messages."""

    name: str


@dataclass(frozen=True)
class Consistency:
    """Whether pairs of values for the same quantities agree.

    Attributes
    ----------
    chi2, dof
        Of the differences with their covariance, and its degrees of freedom.
    p_value
        Probability of a difference at least as large if the budgets are complete.
    """

    chi2: float
    dof: int
    p_value: float


def analyse(
    parts: Sequence[Part],
    measured: Estimate,
    rng: np.random.Generator,
    *,
    name: str,
) -> Result:
    """Multiply the parts of a chain and compare with the end-to-end efficiency.

    Parameters
    ----------
    parts
        Transmissions (or efficiencies) of all that is between the planes of `measured`.
    measured
        The same, end to end.
    rng
        For the Monte Carlo check.
    name
        Name of the product.

    Returns
    -------
    Result
        ``<name>``, the product. Its method states the comparison. Where the two differ with a
        probability below 1 %, a problem states the value of each part with which they would agree.

    Raises
    ------
    InconclusiveError
        If there is no part, or a value is not a possible transmission.

    Notes
    -----
    The test is on ln(product/measured): logarithms of the parts add, so that relative uncertainties
    of 10 % stay linear. Where the linear law is inadequate (GUM-S1 8.1), the probability is that of
    Monte Carlo.
    """
    chain = product(parts, rng, name=name, plane=measured.plane)
    same = consistency([chain], [measured])
    ratio = monte_carlo(
        lambda x: np.log(np.prod(x[:-1], axis=0) / x[-1]),
        [*parts, measured],
        rng,
        bounds=_bounds([*parts, measured]),
    )
    p_value, how = same.p_value, ""
    if not linear_law_is_adequate(_log_ratio(chain, measured), ratio):
        p_value = 2.0 * min(ratio.above_zero, 1.0 - ratio.above_zero)
        how = " by Monte Carlo"
    compared = (
        f"{chain.method}; {100.0 * (chain.value / measured.value - 1.0):+.2g} % against "
        f"{measured.name}, chi-square {same.chi2:.2g} for {same.dof} degree of freedom, "
        f"p = {p_value:.2g}{how}"
    )
    problems: tuple[str, ...] = ()
    if p_value < _MIN_P_VALUE:
        problems = (
            f"{name}: the parts make {chain.value:.4g} +- {chain.u:.2g}, end to end it is "
            f"{measured.value:.4g} +- {measured.u:.2g} (chi-square {same.chi2:.1f}, p = "
            f"{p_value:.1g}{how}): a loss is missing or a certificate is wrong. They would agree "
            "with "
            f"{_explanations(parts, measured.value / chain.value)}",
        )
    fit = _fit(parts, chain, measured, same)
    return Result((replace(chain, method=compared),), (fit,), problems)


def product(
    parts: Sequence[Part], rng: np.random.Generator, *, name: str, plane: str = ""
) -> Estimate:
    """Return the product of transmissions, with their shared errors.

    Parameters
    ----------
    parts
        Estimates in (0, 1].
    rng
        For the Monte Carlo check.
    name, plane
        Name of the product, and the plane where it holds.

    Notes
    -----
    Linear in the relative uncertainties, unless Monte Carlo with the parts between 0 and 1 gives
    another 95 % interval (GUM-S1 8.1); the intervals are then those of Monte Carlo.
    """
    if not parts:
        raise InconclusiveError(f"{name}: a loss budget needs at least one part")
    for part in parts:
        if not 0.0 < part.value <= 1.0:
            raise InconclusiveError(
                f"{name}: {part.name} is {part.value:g}; a transmission lies between 0 and 1"
            )
    value = math.prod(p.value for p in parts)
    linear = Estimate(
        name=name,
        value=value,
        method="product of its parts, shared error sources added with their signs",
        plane=plane,
        budget=propagate([(p, value / p.value) for p in parts]),
    )
    if linear.u == 0.0:
        return linear
    distribution = monte_carlo(
        lambda x: np.prod(x, axis=0), parts, rng, bounds=[_TRANSMISSION] * len(parts)
    )
    return with_monte_carlo_intervals(linear, distribution)


def consistency(chains: Sequence[Uncertain], measured: Sequence[Uncertain]) -> Consistency:
    """Test pairs of values of the same quantities, all above zero, for agreement.

    Parameters
    ----------
    chains, measured
        n estimates each, in the same order. Errors shared within a pair or between pairs are
        known from their budgets.

    Raises
    ------
    InconclusiveError
        If all of their uncertainty is shared, so that no difference is allowed at all.

    Notes
    -----
    ``chi2 = d^T C^-1 d`` with d = ln(chain/measured) and C the covariance of d.
    """
    differences = [_log_ratio(c, m) for c, m in zip(chains, measured, strict=True)]
    d = np.array([e.value for e in differences])
    try:
        factor = linalg.cho_factor(covariance(differences), lower=True)
    except linalg.LinAlgError:
        raise InconclusiveError(
            "loss budget: product and end-to-end value share all of their uncertainty; they cannot "
            "be compared"
        ) from None
    chi2 = float(d @ linalg.cho_solve(factor, d))
    return Consistency(chi2, len(d), float(stats.chi2.sf(chi2, len(d))))


def as_transmission(part: Estimate) -> Part:
    """Return a part of a chain as a transmission; one in decibels is a loss.

    Raises
    ------
    UsageError
        If it has another unit.
    """
    if part.unit == "1":
        return Part(part.value, part.budget, name=part.name)
    if part.unit != "dB":
        raise UsageError(f"{part.name}: unit is {part.unit!r}; a loss budget takes '1' or 'dB'")
    value = 10.0 ** (-0.1 * part.value)
    return Part(value, propagate([(part, -0.1 * math.log(10.0) * value)]), name=part.name)


def etalon_overlap(
    lorentz: Estimate,
    gauss: Estimate,
    etalon_fwhm: Estimate,
    etalon_fsr: Estimate,
    g2: Estimate | None = None,
) -> Estimate:
    """Return the share of the source's light that an etalon of peak transmission 1 passes.

    Parameters
    ----------
    lorentz, gauss
        Parts of the emission line, FWHM [Hz].
    etalon_fwhm, etalon_fsr
        Of the etalon [Hz].
    g2
        g2(0) in the fibre, which limits the share of leaked laser.

    Returns
    -------
    Estimate
        ``etalon_overlap``.

    Notes
    -----
    Airy function with a Voigt line in closed form; the loss of the etalon at its peak is a part of
    its own. Leaked laser is broader and is transmitted less. For each photon of the dot there are
    x <= g2/2 photons of the laser (g2 = (g0 + 2 x + x^2)/(1 + x)^2), of which the etalon transmits
    a share between none and that of the dot's photons. With g2 the overlap is therefore between
    1/(1 + g2/2) of that of the dot's line and all of it: the middle is used, with a rectangular
    distribution.
    """
    inputs = (lorentz, gauss, etalon_fwhm, etalon_fsr)

    def overlap(values: Sequence[float]) -> float:
        f_l, f_g, kappa, fsr = values
        return float(airy_voigt(0.0, kappa / fsr, f_l / fsr, f_g / fsr))

    at = [e.value for e in inputs]
    slopes = []
    for i, estimate in enumerate(inputs):
        step = max(1e-4 * estimate.value, 1e-4 * estimate.u)
        up, down = ([*at[:i], at[i] + s, *at[i + 1 :]] for s in (step, -step))
        slopes.append((overlap(up) - overlap(down)) / (2.0 * step))
    dot = overlap(at)
    budget = propagate(zip(inputs, slopes, strict=True))
    method = "Airy transmission of the Voigt line, closed form"
    if g2 is None:
        factor = 1.0
        method += "; leaked laser neglected"
    else:
        lost = 1.0 - 1.0 / (1.0 + 0.5 * g2.value)
        factor = 1.0 - 0.5 * lost
        slope = -0.25 * dot / (1.0 + 0.5 * g2.value) ** 2
        budget = merge(
            [
                *(c.times(factor) for c in budget),
                *propagate([(g2, slope)]),
                Contribution("leaked laser at the etalon", dot * lost / math.sqrt(12.0), "B"),
            ]
        )
        method += f"; leaked laser reduces it by 0 to {100.0 * lost:.2g} % (g2/2)"
    return Estimate(
        name="etalon_overlap",
        value=factor * dot,
        method=method,
        plane="fibre to transmitter output",
        budget=budget,
    )


def _log_ratio(chain: Uncertain, measured: Uncertain) -> Uncertain:
    return Uncertain(
        math.log(chain.value / measured.value),
        propagate([(chain, 1.0 / chain.value), (measured, -1.0 / measured.value)]),
    )


def _bounds(estimates: Sequence[Uncertain]) -> list[Interval]:
    return [_TRANSMISSION] * len(estimates)


def _explanations(parts: Sequence[Part], ratio: float) -> str:
    """Return the values of single parts with which both agree, the most probable first."""
    wanted = [
        (abs(p.value * (ratio - 1.0)) / p.u if p.u > 0 else math.inf, p.name, p.value * ratio)
        for p in parts
    ]
    best = [w for w in sorted(wanted) if w[2] <= 1.0][:3]
    if not best:
        return "no value of a single part"
    return " or ".join(f"{name} = {value:.4g} ({k:.1f} u)" for k, name, value in best)


def _words(name: str) -> str:
    """Name a part for people: ``transmitter_part_modulator`` is the modulator."""
    if is_known(name):
        return quantity(name).words
    return name.rpartition("part_")[2].replace("_", " ")


def _fit(parts: Sequence[Part], chain: Estimate, measured: Estimate, same: Consistency) -> Fit:
    """Draw the product part by part, beside the end-to-end value."""
    values = np.array([p.value for p in parts])
    cumulated = np.concatenate([np.cumprod(values), [measured.value]])
    u = [
        math.sqrt(sum(c.u**2 for c in propagate([(p, float(v) / p.value) for p in parts[: k + 1]])))
        for k, v in enumerate(cumulated[:-1])
    ]
    x = np.arange(1.0, len(cumulated) + 1.0)
    model = np.concatenate([cumulated[:-1], [chain.value]])
    curve = Curve(
        title="Loss budget, part by part",
        x_label="after this part",
        y_label="transmission up to there",
        x=x,
        y=cumulated,
        u_y=np.array([*u, measured.u]),
        model=model,
        residuals=np.zeros(0),
        x_line=x,
        y_line=model,
        line_label="product",
        quantities=(chain.name, measured.name),
        tick_labels=(*(_words(p.name) for p in parts), "end to end"),
    )
    return Fit(
        model="product of transmissions",
        names=(chain.name,),
        values=np.array([chain.value]),
        covariance=np.array([[chain.u**2]]),
        statistic="chi2",
        minimum=same.chi2,
        dof=same.dof,
        curves=(curve,),
    )
