"""What each number means: one definition of name, unit, symbol, words and meaning.

`Estimate`, record, report, history and ``--json`` take a quantity's unit and definition from here
and from nowhere else. A lab adds quantities of its own with `define`.
"""

from __future__ import annotations

from .certificates import CERTIFICATES
from .quantity import Quantity as Quantity

_BUILT_IN = (
    # the source
    Quantity("clock_rate", "Hz", "R", "clock rate", "excitation pulses per second", low=0.0),
    Quantity("pulse_period", "s", "T", "pulse period", "time between excitation pulses", low=0.0),
    Quantity(
        "lifetime",
        "s",
        "T1",
        "lifetime",
        "1/e decay time of the emission, detector response removed",
        low=0.0,
    ),
    Quantity(
        "rise_time",
        "s",
        "t_rise",
        "rise time",
        "1/e time in which the emitting state is filled from another one",
        low=0.0,
    ),
    Quantity(
        "fine_structure_splitting",
        "Hz",
        "δ_FSS",
        "fine-structure splitting",
        "frequency of the beat in the decay",
        low=0.0,
    ),
    Quantity(
        "temporal_fwhm",
        "s",
        "t_FWHM",
        "temporal width",
        "full width at half maximum of the emitted intensity, detector response removed",
        low=0.0,
    ),
    Quantity(
        "response_fwhm",
        "s",
        "t_IRF",
        "response width",
        "full width at half maximum of the instrument response",
        low=0.0,
    ),
    Quantity(
        "linewidth",
        "Hz",
        "Δν",
        "linewidth",
        "full width at half maximum of the emission line, time-averaged, etalon removed",
        low=0.0,
    ),
    Quantity(
        "linewidth_lorentz",
        "Hz",
        "f_L",
        "Lorentzian linewidth",
        "full width at half maximum of the line's Lorentzian part, time-averaged, etalon removed",
        low=0.0,
    ),
    Quantity(
        "linewidth_gauss",
        "Hz",
        "f_G",
        "Gaussian linewidth",
        "full width at half maximum of the line's Gaussian part, time-averaged, etalon removed",
        low=0.0,
    ),
    Quantity(
        "line_splitting",
        "Hz",
        "δ",
        "splitting of the line",
        "distance of the two lines of the emission, where its etalon scan shows two",
        low=0.0,
    ),
    Quantity(
        "fourier_linewidth",
        "Hz",
        "Δν_FL",
        "Fourier-limited linewidth",
        "1/(2 pi T1), with T1 the 1/e lifetime",
        low=0.0,
    ),
    Quantity(
        "linewidth_ratio",
        "1",
        "Δν/Δν_FL",
        "linewidth over Fourier limit",
        "linewidth divided by its Fourier limit",
        low=0.0,
    ),
    Quantity(
        "collection_efficiency",
        "1",
        "η_QD",
        "source efficiency",
        "mean photon number per pulse in the single-mode fibre, no multi-photon correction",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "mean_photon_number",
        "1",
        "<n>",
        "mean photon number <n>",
        "mean photon number per pulse at the stated plane, no multi-photon correction",
        low=0.0,
    ),
    Quantity("p1", "1", "p1", "single-photon probability", "<n> - 2 p2: a lower bound of P(1)"),
    Quantity(
        "p2",
        "1",
        "p2",
        "multi-photon probability",
        "g2(0) <n>^2 / 2: an upper bound of P(n >= 2)",
        low=0.0,
    ),
    # second-order correlation
    Quantity(
        "g2_zero",
        "1",
        "g2(0)",
        "g2(0)",
        "coincidences in one pulse over those of independent photons; raw, time-averaged",
        low=0.0,
    ),
    Quantity(
        "g2_zero_source",
        "1",
        "g2(0)_s",
        "g2(0) in the fibre",
        "g2(0) in the source's fibre, before the transmitter; raw, time-averaged",
        low=0.0,
    ),
    Quantity(
        "g2_zero_upper",
        "1",
        "g2(0)_95",
        "upper limit of g2(0)",
        "one-sided 95 % upper limit of g2_zero; it carries no uncertainty of its own",
        low=0.0,
    ),
    Quantity(
        "g2_zero_source_upper",
        "1",
        "g2(0)_s,95",
        "upper limit of g2(0) in the fibre",
        "one-sided 95 % upper limit of g2_zero_source; it carries no uncertainty of its own",
        low=0.0,
    ),
    Quantity(
        "g2_zero_on",
        "1",
        "g2(0)_on",
        "g2(0) of the on-state",
        "g2_zero against photons of neighbouring pulses: that of the on-state if the source blinks",
        low=0.0,
    ),
    Quantity(
        "g2_zero_source_on",
        "1",
        "g2(0)_s,on",
        "g2(0) of the on-state, in the fibre",
        "g2_zero_source of the on-state of a blinking source",
        low=0.0,
    ),
    Quantity(
        "g2_zero_corrected",
        "1",
        "g2(0)_c",
        "g2(0) without background",
        "g2_zero with the background light removed; not for a key rate",
    ),
    Quantity(
        "g2_zero_source_corrected",
        "1",
        "g2(0)_s,c",
        "g2(0) in the fibre without background",
        "g2_zero_source with the background light removed; not for a key rate",
    ),
    Quantity(
        "g2_zero_time_averaged",
        "1",
        "g2(0)_inf",
        "time-averaged g2(0)",
        "g2(0) against the product of the count rates, so that slow blinking is included",
    ),
    Quantity(
        "g2_zero_dip",
        "1",
        "g2(0)_dip",
        "bottom of the g2 dip",
        "g2 at zero delay as it is seen, detector response and background included",
    ),
    Quantity(
        "rabi_frequency",
        "Hz",
        "Ω/2π",
        "Rabi frequency",
        "frequency at which a strongly driven emitter oscillates under continuous excitation",
        low=0.0,
    ),
    Quantity(
        "antibunching_time",
        "s",
        "t1",
        "antibunching time",
        "1/e time of the g2 dip under continuous excitation",
    ),
    Quantity(
        "bunching_amplitude",
        "1",
        "a",
        "bunching amplitude",
        "bunching of the emitter's own light under continuous excitation",
    ),
    Quantity(
        "bunching_time",
        "s",
        "t2",
        "bunching time",
        "1/e time of the bunching under continuous excitation",
    ),
    Quantity(
        "g2_reexcitation",
        "1",
        "g0",
        "g2(0) from re-excitation",
        "g2(0) of the dot's own light, leaked laser light removed",
    ),
    Quantity(
        "blinking_amplitude",
        "1",
        "b",
        "blinking amplitude",
        "excess of neighbouring side peaks over uncorrelated light",
    ),
    Quantity(
        "blinking_amplitude_sent",
        "1",
        "b, sent",
        "blinking amplitude at the transmitter output",
        "blinking_amplitude of the light at the transmitter output",
    ),
    Quantity(
        "on_fraction",
        "1",
        "q",
        "on-fraction",
        "part of the time in which a blinking source is on: 1/(1 + b)",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "electronic_delay",
        "s",
        "t_0",
        "electronic delay",
        "delay of detector B against detector A at which zero delay appears",
    ),
    # excitation
    Quantity("pi_power", "W", "P_pi", "pi-pulse power", "pump power of pulse area pi", low=0.0),
    Quantity(
        "max_power",
        "W",
        "P_max",
        "power of highest brightness",
        "pump power of the highest brightness; below the pi power if the oscillation is damped",
        low=0.0,
    ),
    Quantity(
        "rabi_damping",
        "1",
        "k_phi",
        "Rabi damping",
        "k in exp(-k theta^2), the damping of the Rabi oscillation with pulse area theta",
    ),
    Quantity(
        "saturation_power",
        "W",
        "P_sat",
        "saturation power",
        "pump power P_sat in 1 - exp(-P/P_sat), pulsed, or P/(P + P_sat), continuous",
        low=0.0,
    ),
    Quantity(
        "saturated_rate",
        "Hz",
        "R_sat",
        "saturated count rate",
        "detected rate of the dot at full saturation, dead time removed",
        low=0.0,
    ),
    Quantity(
        "laser_leakage",
        "1",
        "μ_L",
        "leaked laser light",
        "laser photons per pulse in the fibre at the pi power, beside the dot's light",
    ),
    Quantity(
        "brightness_drift",
        "1/s",
        "d",
        "brightness drift",
        "relative change of the source's brightness per second, without its cavity's drift",
    ),
    Quantity(
        "brightness_fluctuation",
        "1",
        "s_b",
        "brightness fluctuation",
        "relative standard deviation of the brightness from slice to slice of the recording, "
        "counting noise and drift removed",
    ),
    # cavity
    Quantity(
        "cavity_resonance_voltage",
        "V",
        "V_c",
        "resonance voltage",
        "fine piezo voltage of the resonance, in the direction of the scan",
    ),
    Quantity(
        "cavity_count_fwhm_voltage",
        "V",
        "w_V",
        "width of the count-rate peak",
        "full width at half maximum of the count rate against piezo voltage",
    ),
    Quantity(
        "cavity_fsr_voltage",
        "V",
        "V_FSR",
        "voltage of one order",
        "piezo voltage from order to order (half a wavelength), mean over the sweep",
    ),
    Quantity(
        "cavity_metres_per_volt",
        "m/V",
        "dz/dV",
        "piezo scale",
        "mirror displacement per volt in small loops, one second after each step",
    ),
    Quantity(
        "cavity_count_fwhm",
        "m",
        "w_z",
        "width of the count-rate peak in displacement",
        "full width at half maximum of the count rate in mirror displacement: "
        "the mode's width times sqrt(1 + F_P)",
    ),
    Quantity(
        "cavity_fwhm_displacement",
        "m",
        "w_c",
        "cavity width in displacement",
        "full width at half maximum of the cavity mode in mirror displacement",
    ),
    Quantity(
        "cavity_fwhm_voltage",
        "V",
        "κ_V",
        "cavity width in voltage",
        "full width at half maximum of the cavity mode against piezo voltage, "
        "Purcell broadening removed",
    ),
    Quantity(
        "cavity_fwhm",
        "Hz",
        "kappa_c",
        "cavity width",
        "full width at half maximum of the cavity mode in frequency, kappa/(2 pi)",
        low=0.0,
    ),
    Quantity(
        "cavity_finesse",
        "1",
        "F",
        "cavity finesse",
        "half a wavelength over the mode's full width at half maximum in displacement",
        low=0.0,
    ),
    Quantity(
        "cavity_quality_factor",
        "1",
        "Q",
        "quality factor",
        "wavelength over the full width at half maximum of the cavity mode",
    ),
    Quantity(
        "cavity_wavelength", "m", "λ_c", "cavity wavelength", "vacuum wavelength of the resonance"
    ),
    Quantity(
        "cavity_fwhm_wavelength",
        "m",
        "κ_λ",
        "cavity width in wavelength",
        "full width at half maximum of the reflectivity dip, spectrometer response included",
    ),
    Quantity(
        "reflectivity_contrast",
        "1",
        "C_R",
        "reflectivity contrast",
        "depth of the dip in the cavity's reflectivity over the level beside it",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "purcell_factor",
        "1",
        "F_P",
        "Purcell factor",
        "emission rate into the mode over that into everything else, on resonance; "
        "reference: the same dot with the cavity detuned",
    ),
    Quantity(
        "beta_factor",
        "1",
        "β",
        "beta factor",
        "share of the emission that goes into the mode, on resonance",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "lifetime_on_resonance",
        "s",
        "T1_0",
        "lifetime on resonance",
        "1/e lifetime on the cavity's resonance, from the fit against detuning",
    ),
    Quantity(
        "lifetime_detuned",
        "s",
        "T_b",
        "lifetime far from resonance",
        "1/e lifetime with the cavity far from the emission line",
    ),
    Quantity(
        "cavity_detuning_square",
        "m2",
        "<d^2>",
        "mean square detuning",
        "mean square of the mirror's distance from resonance between re-locks",
    ),
    Quantity(
        "lifetime_detuning_correction",
        "1",
        "ε_T1",
        "detuning correction of the lifetime",
        "relative excess of the lifetime over that on resonance",
    ),
    Quantity(
        "transmission_detuning_correction",
        "1",
        "ε_T",
        "detuning correction of the transmission",
        "relative excess of the etalon's transmission over that on resonance",
    ),
    Quantity(
        "g2_detuning_correction",
        "1",
        "ε_g2",
        "detuning correction of g2(0)",
        "relative deficit of g2(0) against that on resonance",
    ),
    # transmitter
    Quantity(
        "transmitter_efficiency",
        "1",
        "η_T",
        "transmitter efficiency",
        "photons per pulse at the transmitter output over those in the source's fibre",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "transmitter_efficiency_chain",
        "1",
        "η_T,c",
        "transmitter efficiency from parts",
        "product of the transmissions of the transmitter's parts",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "collection_efficiency_chain",
        "1",
        "η_QD,c",
        "source efficiency from parts",
        "product of the efficiencies from emission to fibre",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "etalon_overlap",
        "1",
        "O_e",
        "etalon overlap",
        "share of the source's light that the etalon passes at its peak, its own loss aside",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "etalon_fwhm",
        "Hz",
        "kappa",
        "etalon width",
        "full width at half maximum of the etalon's transmission, for the source's mode",
        low=0.0,
    ),
    Quantity(
        "etalon_fsr", "Hz", "FSR", "etalon free spectral range", "distance between orders", low=0.0
    ),
    Quantity(
        "etalon_finesse",
        "1",
        "F_e",
        "etalon finesse",
        "free spectral range over the etalon's full width at half maximum for the source's mode",
        low=0.0,
    ),
    Quantity(
        "etalon_peak_voltage",
        "V",
        "V_e",
        "etalon peak voltage",
        "etalon piezo voltage of the highest transmission",
    ),
    Quantity(
        "misalignment",
        "1",
        "p_mis",
        "misalignment",
        "wrong clicks over all clicks, dark counts removed; mean of the prepared states",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "misalignment_worst",
        "1",
        "p_mis,w",
        "misalignment of the worst state",
        "wrong clicks over all clicks, dark counts removed; the worst of the prepared states",
        low=0.0,
        high=1.0,
    ),
    # interference
    Quantity(
        "visibility",
        "1",
        "V",
        "two-photon visibility",
        "1 - C_parallel/C_orthogonal of consecutive photons, raw; receiver's dark counts removed",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "indistinguishability",
        "1",
        "M",
        "indistinguishability",
        "overlap of two photons from consecutive pulses",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "phase_visibility",
        "1",
        "V_φ",
        "phase visibility",
        "first-order coherence of consecutive pulses",
        low=0.0,
        high=1.0,
    ),
    # receiver, detectors, link
    Quantity("channel_loss", "dB", "loss", "channel loss", "loss of the channel", low=0.0),
    Quantity(
        "fiber_optics_efficiency",
        "1",
        "η_FO",
        "receiver optics",
        "transmission of the receiver's optics, detectors excluded",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "detector_efficiency",
        "1",
        "η_D",
        "detector efficiency",
        "probability that a photon at the detector's input makes a click",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "detector_efficiency_measured",
        "1",
        "η_D,m",
        "detector efficiency by substitution",
        "probability that a photon at the detector's input makes a click, both detectors' mean",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "detector_linearity_measured",
        "s",
        "k_D,m",
        "linearity of the detectors, measured",
        "relative change of a detector's efficiency per click rate, as measured on a laser",
    ),
    Quantity(
        "dark_count_rate",
        "Hz",
        "DC",
        "dark count rate",
        "clicks per second with the light blocked, total of all detectors",
        low=0.0,
    ),
    Quantity(
        "background_count_rate",
        "Hz",
        "BC",
        "background count rate",
        "clicks per second from background light at the receiver, total of all detectors",
    ),
    Quantity("gate_width", "s", "t_GW", "gate width", "width of the receiver's time gate", low=0.0),
    Quantity(
        "gate_captured_fraction",
        "1",
        "ε_g",
        "share of the signal in the gate",
        "share of the signal's clicks that fall into the time gate",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "dark_count_probability",
        "1",
        "p_DC",
        "dark count probability",
        "dark counts per pulse within the time gate, total of all detectors",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        "dead_time",
        "s",
        "t_d",
        "dead time",
        "time after a click at which the detector's efficiency is back at one half",
        low=0.0,
    ),
    Quantity(
        "dead_pulses",
        "1",
        "m",
        "dead pulses",
        "pulses that a detector misses after a click, not whole if it recovers while one comes",
        low=0.0,
    ),
    # prediction
    Quantity("rate_per_pulse", "1", "K", "key rate", "secret key bits per sent pulse"),
    Quantity(
        "maximum_loss",
        "dB",
        "L_max",
        "largest loss with a key",
        "largest channel loss that gives a key",
    ),
    Quantity(
        "crossing_loss",
        "dB",
        "L_x",
        "crossing loss",
        "largest channel loss at which single photons give more key than coherent light",
    ),
    *CERTIFICATES,
)

_known: dict[str, Quantity] = {q.name: q for q in _BUILT_IN}

BUILT_IN: tuple[str, ...] = tuple(_known)
"""Names of the quantities that qdchar itself defines, in the order in which tables show them."""


def quantity(name: str) -> Quantity:
    """Return the definition of a quantity.

    Raises
    ------
    ValueError
        If nobody has defined it.
    """
    try:
        return _known[name]
    except KeyError:
        raise ValueError(
            f"{name!r} is not a known quantity: qdchar/quantities.py lists those of qdchar, and a "
            "lab's own measurement declares its quantities in `provides`"
        ) from None


def is_known(name: str) -> bool:
    """Say whether a quantity of this name is defined."""
    return name in _known


def define(new: Quantity) -> Quantity:
    """Add a lab's own quantity and return it; the same definition may be given twice.

    Raises
    ------
    ValueError
        If the name has another definition already.
    """
    known = _known.setdefault(new.name, new)
    if known != new:
        raise ValueError(
            f"quantity {new.name!r} is already defined as {known.definition!r} [{known.unit}]; "
            f"it cannot also be {new.definition!r} [{new.unit}]"
        )
    return known
