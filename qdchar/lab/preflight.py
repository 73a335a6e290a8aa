"""Checks before the first instrument is opened; all that is wrong is reported in one message."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdchar.certificates import ASSUMED
from qdchar.errors import QdcharError, RefusedError, UsageError
from qdchar.files import is_there
from qdchar.keyrate.comparators import comparators_for
from qdchar.link import Link
from qdchar.quantities import is_known, quantity
from qdchar.roles import ROLES

from .measurement import Measurement, Registry, provider
from .recipe import Recipe
from .station import Station

BYTES_PER_TAG = 4
"""Room on the disk for one time tag; the HDF5 store takes 2.8 to 3.6 bytes."""

KEY_RATE_NEEDS = ("mean_photon_number", "g2_zero")
"""Quantities without which there is no key rate."""

OF_THE_RECORD = ("p1", "p2")
"""Quantities that the record derives from those that were measured."""


@dataclass(frozen=True)
class Plan:
    """Measurements to make, in order, and those that are left out, with the reason."""

    measurements: tuple[str, ...]
    left_out: dict[str, str]


def closure(
    registry: Registry, name: str, known: Collection[str] = (), made: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return a measurement behind all those that must be made first, in order.

    Parameters
    ----------
    known
        Quantities that are known already.
    made
        Measurements that are made already.

    Raises
    ------
    UsageError
        If no measurement provides a quantity that is needed.
    """
    order: dict[str, None] = dict.fromkeys(made)
    before = len(order)
    open_: list[str] = []  # those whose needs are being added: a measurement may need its own needs

    def missing(quantities: Iterable[str]) -> Iterator[str]:
        found = {*known, *(q for m in order for q in registry[m].quantities)}
        return (q for q in quantities if q not in found)

    def add(measurement: Measurement[Any]) -> None:
        if measurement.name in order or measurement.name in open_:
            return
        open_.append(measurement.name)
        first = [q for q in measurement.all_needs if q not in measurement.needs_afterwards]
        for needed in first:
            for q in missing([needed]):
                add(registry[provider(registry, q)])
        for name in measurement.same_run:
            add(registry[name])
        order[measurement.name] = None
        for needed in measurement.needs_afterwards:
            for q in missing([needed]):
                add(registry[provider(registry, q)])

    add(registry[name])
    return tuple(order)[before:]


def lacks(station: Station, registry: Registry, measurement: Measurement[Any]) -> tuple[str, ...]:
    """Say which roles and certificates a station lacks for one measurement, and for its needs."""
    names = closure(registry, measurement.name)
    return tuple(dict.fromkeys(f for name in names for f in _lacks_itself(station, registry[name])))


def _lacks_itself(station: Station, measurement: Measurement[Any]) -> Iterator[str]:
    for role in measurement.all_roles:
        if fault := station.unfit(role, ROLES.get(role)):
            yield fault
    for name in measurement.all_certificates:
        if fault := station.no_certificate(name):
            yield fault


def refuse_unknown(registry: Registry, name: str, known: Collection[str], runs: Path) -> None:
    """Refuse a measurement that is to be made alone if something that it needs is not known.

    Raises
    ------
    UsageError
        Names everything that is missing, and the measurements that provide it.
    """
    measurement = registry[name]
    missing = [
        f"{quantity} (from {provider(registry, quantity)})"
        for quantity in measurement.all_needs
        if quantity not in known
    ]
    missing += [f"the recording of {other}, in the same run" for other in measurement.same_run]
    if missing:
        raise UsageError(
            f"measure {name} --alone: no run of this station in {runs} that is still valid knows "
            f"{', '.join(missing)}; leave --alone out to measure these first"
        )


def plan_calibration(station: Station, registry: Registry, recipe: Recipe) -> Plan:
    """Choose the measurements of a calibration: optional ones where the station can make them.

    Raises
    ------
    UsageError
        If the recipe leaves out a measurement that another one or the key rate needs, or one that
        no calibration makes.
    """
    chosen: list[str] = []
    left_out: dict[str, str] = {}
    for measurement in registry.values():
        if measurement.calibration == "on request":
            continue
        if measurement.name in recipe.leave_out:
            left_out[measurement.name] = "by the recipe"
            continue
        missing = tuple(_lacks_itself(station, measurement))
        if missing and measurement.calibration == "if possible":
            left_out[measurement.name] = "; ".join(missing)
            continue
        chosen.extend(closure(registry, measurement.name, made=chosen))
    if faults := list(_left_out_in_vain(registry, recipe, chosen)):
        raise UsageError(f"{recipe.origin}: nothing was opened or moved: {'; '.join(faults)}")
    return Plan(tuple(chosen), left_out)


def _left_out_in_vain(registry: Registry, recipe: Recipe, chosen: Collection[str]) -> Iterator[str]:
    for name in recipe.leave_out:
        others = [other for other in chosen if other != name]
        found = {q for other in others for q in registry[other].quantities}
        for_key = [q for q in registry[name].quantities if q in KEY_RATE_NEEDS and q not in found]
        needed_by = [other for other in others if name in closure(registry, other)]
        if for_key:
            yield f"leave_out: {name} cannot be left out: the key rate needs its {for_key[0]}"
        elif needed_by and name in chosen:
            yield f"leave_out: {name} cannot be left out: {needed_by[0]} needs it"
        elif registry[name].calibration == "on request":
            yield f"leave_out: {name} is not part of a calibration: remove it from the list"


def check(
    station: Station,
    registry: Registry,
    recipe: Recipe,
    measurements: Iterable[str],
    *,
    folder: Path,
    link: Link | None = None,
) -> None:
    """Refuse measurements that cannot be made, before any instrument is opened.

    Parameters
    ----------
    measurements
        All that will be made.
    folder
        Where raw data will be written.
    link
        Where the recipe's demands on a key rate are judged; none for a single measurement.

    Raises
    ------
    UsageError
        Names everything that is missing or unknown.
    RefusedError
        If ranges beyond the limits of the station are the only faults.
    """
    chosen = [registry[name] for name in measurements]
    faults = [
        *station_faults(station, registry),
        *dict.fromkeys(f for m in chosen for f in _lacks_itself(station, m)),
        *(_unknown_demands(recipe, chosen, link) if link is not None else ()),
        *_too_full(recipe, chosen, folder),
    ]
    ranges = [fault for m in chosen for fault in _beyond(station, recipe, m)]
    text = f"{station.origin}: nothing was opened or moved: " + "; ".join([*faults, *ranges])
    if faults:
        raise UsageError(text)
    if ranges:
        raise RefusedError(text)


def station_faults(station: Station, registry: Registry) -> Iterator[str]:
    """Name the roles and certificates of the station file that no measurement knows."""
    measurements = registry.values()
    roles = dict.fromkeys([*ROLES, *(r for m in measurements for r in m.roles)])
    for name in station.file.roles:
        if name not in roles:
            yield f"[roles.{name}]: no measurement uses this role; known are {', '.join(roles)}"
    for name in station.file.calibrations:
        if not any(m.takes_certificate(name) for m in measurements):
            known = dict.fromkeys(
                c for m in measurements for c in (*m.all_certificates, *m.all_optional_certificates)
            )
            yield (
                f"[calibrations.{name}]: no measurement uses this certificate; known are "
                f"{', '.join(known)}"
            )


def assumed_certificates(
    station: Station, measurements: Iterable[Measurement[Any]]
) -> Iterator[str]:
    """Say what was assumed where the station has no certificate, one sentence each."""
    used = {c for m in measurements for c in (*m.all_certificates, *m.all_optional_certificates)}
    for name, assumed in ASSUMED.items():
        if name in used and name not in station.file.calibrations:
            meaning = quantity(name)
            value = f"{assumed.value:g} +- {assumed.u:g} {meaning.unit}".removesuffix(" 1")
            yield (
                f"No certificate: {meaning.words} ({name}) is taken to be {value}: {assumed.why}."
            )


def _unknown_demands(
    recipe: Recipe, chosen: Iterable[Measurement[Any]], link: Link
) -> Iterator[str]:
    found = {*OF_THE_RECORD, *(q for m in chosen for q in m.quantities)}
    for name in recipe.limits:
        if not is_known(name):
            yield (
                f"{recipe.origin}: limits.{name}: not a known quantity; qdchar/quantities.py "
                "lists them"
            )
        elif name not in found:
            yield f"{recipe.origin}: limits.{name}: no measurement of this calibration provides it"
    comparators = comparators_for(link.block_kind)
    for name in recipe.min_advantage_dB:
        if name not in comparators:
            yield (
                f"{recipe.origin}: min_advantage_dB: {name!r} is not a comparator on this link; "
                f"it has {', '.join(comparators)}"
            )


def _beyond(station: Station, recipe: Recipe, measurement: Measurement[Any]) -> Iterator[str]:
    for role, sweep in measurement.ranges.items():
        if role not in station.file.roles:
            continue  # a missing role is reported elsewhere
        axis = station.look(role, ROLES[role])
        limits = station.limits(role)
        try:
            axis.check(*sweep(recipe.settings_of(measurement), limits))  # type: ignore[attr-defined]
        except QdcharError as error:
            yield f"{measurement.name}: {error}"


def _too_full(recipe: Recipe, chosen: Iterable[Measurement[Any]], folder: Path) -> Iterator[str]:
    seconds = sum(m.tags_s(recipe.settings_of(m)) for m in chosen if m.tags_s is not None)
    needed = seconds * recipe.tag_rate_Hz * BYTES_PER_TAG
    there = next(f for f in (folder, *folder.absolute().parents) if is_there(f))
    free = shutil.disk_usage(there).free
    if free < needed:
        yield (
            f"{folder}: {1e-9 * free:.2g} GB free, {1e-9 * needed:.2g} GB needed for {seconds:.3g} "
            f"s of time tags at {1e-6 * recipe.tag_rate_Hz:.3g} M/s ({recipe.origin}); free some "
            "room, give another --out, or lower tag_rate_Hz in the recipe if the source is fainter"
        )
