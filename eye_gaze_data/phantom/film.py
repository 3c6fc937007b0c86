"""One film of one patient: drawn from (seed, patient, film) alone, and rendered when asked."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .anatomy import Anatomy, Surfaces, surfaces
from .config import FINDINGS, PhantomConfig
from .findings import (
    Box,
    Finding,
    boxes_of,
    draw_finding,
    enlarged_heart,
)
from .lesions import apply_findings, collapsed_level
from .physics import MU_LUNG, Exposure, Field, Placement, detected, expose, smooth_noise, smoothstep
from .skeleton import airways, bones, vessels
from .streams import Stream, generator

_FRONTAL = 0.35  # share of AP films


@dataclass(frozen=True)
class Film:
    """All parameters of one film.

    Attributes:
        placement: how the body lies on the film.
        anatomy: without findings.
        findings: what is to be seen; at most one of a kind but for consolidations.
        frontal: AP, taken from the front with the patient sitting; PA otherwise.
        age: of the patient in years.
        label: index of the class, if classes are exclusive.
        dose: see ``Exposure``.
        scatter: see ``Exposure``.
        brightness: shift of the display window, in its widths.
        gamma: see ``Exposure``.
        noise: seed of the quantum noise.
    """

    placement: Placement
    anatomy: Anatomy
    findings: tuple[Finding, ...]
    frontal: bool
    age: int
    label: int
    dose: float
    scatter: float
    brightness: float
    gamma: float
    noise: tuple[int, ...]

    @property
    def shown(self) -> Anatomy:
        """The anatomy with its heart enlarged, if it is."""
        return with_findings(self.anatomy, self.findings)

    def severity(self, kind: str) -> float:
        """The greatest severity of a finding, 0 if it is absent."""
        return max((item.severity for item in self.findings if item.kind == kind), default=0.0)

    @property
    def conspicuity(self) -> float:
        """That of the most conspicuous finding, 0 without any."""
        return max((finding.conspicuity for finding in self.findings), default=0.0)

    def without(self, kind: str) -> "Film":
        """The same film of the same patient, had a finding not been there."""
        return replace(self, findings=tuple(f for f in self.findings if f.kind != kind))

    def boxes(self) -> list[tuple[str, Box]]:
        """The kind and the pixel box x1, y1, x2, y2 of each finding."""
        return [
            (finding.kind, self.placement.box_to_pixels(box))
            for finding in self.findings
            for box in boxes_of(finding, self.shown)
        ]


def with_findings(anatomy: Anatomy, findings: tuple[Finding, ...]) -> Anatomy:
    """The anatomy with its heart enlarged, if findings say so."""
    for finding in findings:
        if finding.kind == "Cardiomegaly":
            return replace(anatomy, heart=enlarged_heart(finding.severity))
    return anatomy


def films_of_patient(config: PhantomConfig, patient: int) -> int:
    """How many films a patient has."""
    rng = generator(Stream.COUNT, config.seed, patient)
    return 1 + int((rng.random(config.images_per_patient - 1) < 0.5).sum())


def draw_film(config: PhantomConfig, patient: int, film: int) -> Film:
    """The parameters of one film, the same whatever else is drawn before it.

    Args:
        config: the cohort's.
        patient: index of the patient.
        film: index of the film among the patient's.
    """
    base, size, age = _draw_patient(generator(Stream.PATIENT, config.seed, patient))
    base = replace(base, pattern=(config.seed, patient))
    rng = generator(Stream.FILM, config.seed, patient, film)
    sick = rng.random(len(FINDINGS) + 3)
    frontal = bool(rng.random() < _FRONTAL)
    tilt = float(np.clip(rng.normal(0, np.deg2rad(1.6)), -0.09, 0.09))
    shift = float(rng.normal(0, 0.5)), float(rng.normal(0.5, 0.5))
    kinds, label = _diagnose(config, sick, frontal=frontal)
    healthy = Film(
        placement=Placement(config.height, config.width, size, tilt, shift),
        anatomy=_position(base, rng, frontal=frontal),
        findings=(),
        frontal=frontal,
        age=age,
        label=label,
        dose=float(np.exp(rng.normal(-0.3 if frontal else 0, 0.25))),
        scatter=float(rng.uniform(0.45, 0.65) if frontal else rng.uniform(0.2, 0.35)),
        brightness=float(np.clip(rng.normal(0, 0.035), -0.1, 0.1)),
        gamma=float(np.exp(rng.normal(0.0, 0.07))),
        noise=(config.seed, patient, film),
    )
    # Last, so that with another prevalence or severity the patients stay who they are.
    return _with_kinds(healthy, kinds, rng.uniform(*config.severity, len(kinds)), rng)


def _with_kinds(
    film: Film, kinds: list[str], severities: npt.NDArray[np.float64], rng: np.random.Generator
) -> Film:
    for kind, severity in zip(kinds, severities, strict=True):
        # An enlarged heart comes first: what lies in the lung lies beside it.
        finding = draw_finding(kind, float(severity), film.shown, rng, frontal=film.frontal)
        film = replace(film, findings=(*film.findings, finding))
    return film


def render(film: Film) -> Field:
    """The pixels of a film.

    Returns:
        float32 (H, W) in [0, 1], bone bright.
    """
    x, y = film.placement.grid()
    anatomy = film.shown
    seen = surfaces(anatomy, x, y)
    attenuation = seen.attenuation() + _parenchyma(film, seen)
    attenuation += bones(anatomy, film.placement, seen)
    attenuation += airways(anatomy, film.placement, seen)
    attenuation += _vessels(film, seen)
    apply_findings(film.findings, attenuation, seen, anatomy, film.placement)
    low, high = _window(film)
    exposure = Exposure(film.dose, film.scatter, low, high, film.gamma, film.noise)
    return expose(np.maximum(attenuation, 0), exposure, film.placement)


def organ_masks(film: Film) -> Field:
    """Outlines of left lung, right lung and heart.

    Returns:
        float32 (3, H, W), 0 or 1, disjoint. A lung reaches from the chest wall to mediastinum,
        heart and diaphragm, whether or not fluid or air hides a part of it.
    """
    return surfaces(film.shown, *film.placement.grid()).organs


def _draw_patient(rng: np.random.Generator) -> tuple[Anatomy, float, int]:
    age = int(np.clip(rng.normal(58, 17), 18, 95))
    size = float(np.clip(rng.normal(1.0, 0.035), 0.91, 1.08))
    woman = rng.random() < 0.5
    heavy = float(np.clip(rng.normal(0, 1), -1.5, 2.5))
    anatomy = Anatomy(
        width=float(np.clip(rng.normal(0.985, 0.03), 0.91, 1.06)),
        apex=float(rng.normal(-13.1, 0.6)),
        diaphragm=float(rng.normal(8.4, 0.7)),
        left_drop=float(rng.uniform(0.4, 1.6)),
        depth=11.0 + 0.8 * heavy,
        wall=2.4 + 0.5 * max(heavy, -1.2),
        breast=float(rng.uniform(1.6, 3.6)) if woman else 0.0,
        heart=float(np.clip(rng.normal(0.44, 0.021), 0.39, 0.475)),
        aorta=1.45 + 0.008 * (age - 20) + float(rng.uniform(-0.1, 0.15)),
        spine=float(rng.normal(0, 0.25)),
        rib_slope=float(rng.uniform(0.8, 1.15)),
        rib_offset=float(rng.uniform(-1.1, 1.1)),
        bubble=float(rng.uniform(0, 1)),
    )
    return anatomy, size, age


def _position(base: Anatomy, rng: np.random.Generator, *, frontal: bool) -> Anatomy:
    """How the patient stood and breathed in; sitting for AP lifts the diaphragm."""
    breath = float(rng.normal(-1.3 if frontal else 0.0, 0.6))
    turn = float(np.clip(rng.normal(0, 0.6 if frontal else 0.35), -1.3, 1.3))
    cover = float(rng.uniform(0.3, 1.0) if frontal else rng.uniform(0, 0.4))
    # From the front the heart lies farther from the detector and is magnified.
    heart = min(base.heart * (1.04 if frontal else 1.0), 0.485)
    return replace(
        base,
        diaphragm=base.diaphragm + breath,
        yaw=turn,
        scapula=cover,
        heart=heart,
        aeration=float(np.clip(rng.normal(1.12 if frontal else 1.0, 0.12), 0.75, 1.5)),
        rib_slope=base.rib_slope * (0.9 if frontal else 1.0),
    )


def _diagnose(
    config: PhantomConfig, draws: npt.NDArray[np.float64], *, frontal: bool
) -> tuple[list[str], int]:
    """The findings of a film and its exclusive class; AP films are more often sick."""
    share = config.prevalence if config.labels == "multilabel" else 2 / 3
    more = share + 0.4 * share * (1 - share)
    odds = more if frontal else (share - _FRONTAL * more) / (1 - _FRONTAL)
    if config.labels == "multilabel":
        return [kind for kind, draw in zip(FINDINGS, draws, strict=False) if draw < odds], 0
    if draws[0] >= odds:
        return [], 0
    if draws[1] < 0.5:
        return ["Cardiomegaly", "Edema"] + ["Effusion"] * bool(draws[2] < 0.5), 1
    return ["Consolidation"] * (1 + bool(draws[2] < 0.4)), 2


def _parenchyma(film: Film, seen: Surfaces) -> Field:
    """Uneven aeration: smooth in space, and lung denser towards the bases."""
    rng = generator(Stream.LUNG, *film.anatomy.pattern)
    shape = (seen.x.shape[0], seen.x.shape[1])
    uneven = smooth_noise(rng, shape, 9) * np.float32(0.6) + smooth_noise(rng, shape, 56)
    denser = np.float32(MU_LUNG * (film.anatomy.aeration - 1))
    return seen.lung * (denser + np.float32(0.0016) * uneven + np.float32(0.0005) * seen.y)


def _vessels(film: Film, seen: Surfaces) -> Field:
    calibre = 1 + 0.7 * film.severity("Edema")
    excess = vessels(film.anatomy, film.placement, seen, calibre)
    for finding in film.findings:
        if finding.kind == "Pneumothorax":
            # No markings beyond the pleural line.
            level = collapsed_level(finding, seen, film.anatomy)
            excess *= 1 - smoothstep((level - 0.97) / 0.04) * (seen.side == finding.side)
    return excess


def _window(film: Film) -> tuple[float, float]:
    """The display window: what the patient's healthy film would need, as set by the machine."""
    seen = surfaces(film.anatomy, *film.placement.thumbnail(32).grid())
    log = -np.log(detected(seen.attenuation(), film.scatter))
    low = float(np.percentile(log[seen.lung > 8], 10))
    high = float(np.percentile(log[seen.trunk > 4], 90)) + 0.5
    width = (high - low) * (1.12 if film.frontal else 1.0)
    start = low - 0.20 * width - film.brightness * width
    return start, start + 1.22 * width
