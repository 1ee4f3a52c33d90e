"""The page's colours: contrast after WCAG 2.2 AA in both themes, curves told apart by readers who lack a cone.

Simulated vision: Machado, Oliveira and Fernandes 2009, severity 1. Distances are CIE 1976 (L*a*b*, D65); a shift of 2.3
is just seen. Lines have dashes and points shapes besides.
"""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest

STYLE = files("interp.report").joinpath("assets", "style.css").read_text("utf-8")
SIGHT = {
    "all cones": np.eye(3),
    "no long cones": np.array(
        [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]]
    ),
    "no middle cones": np.array(
        [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]
    ),
    "no short cones": np.array(
        [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]]
    ),
}
XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])


def themes() -> dict[str, dict[str, str]]:
    """Custom properties by theme; the dark ones stand twice, for the system's setting and for the button."""
    blocks = re.findall(r":root([^{]*) \{([^}]*)\}", STYLE)
    found = {name.strip(): dict(re.findall(r"--([\w-]+): ([^;]+);", text)) for name, text in blocks}
    light, system, button = (
        found[name] for name in ("", ':not([data-theme="light"])', '[data-theme="dark"]')
    )
    assert system == button
    return {"light": light, "dark": button}


def linear(colour: str) -> np.ndarray:
    part = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    low, high = sorted(float(XYZ[1] @ linear(c)) + 0.05 for c in (one, other))
    return high / low


def lab(colour: str, sight: np.ndarray) -> np.ndarray:
    seen = np.clip(sight @ linear(colour), 0, 1)
    roots = np.cbrt(XYZ @ seen / np.array([0.9505, 1.0, 1.0888]) + 1e-9)
    return np.array([116 * roots[1], 500 * (roots[0] - roots[1]), 200 * (roots[1] - roots[2])])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_lines_have_contrast(theme):
    own = themes()[theme]
    for ground in (own["paper"], own["card"]):
        for text in ("ink", "muted", "accent", "good"):
            assert contrast(own[text], ground) >= 4.5, text
        for line in ("line", *(f"series-{i}" for i in range(1, 7))):
            assert contrast(own[line], ground) >= 3, line
    assert contrast("#000000", "#ffffff") == pytest.approx(21, abs=0.1)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("sight", list(SIGHT))
def test_no_two_curves_look_alike(theme, sight):
    own = themes()[theme]
    seen = {i: lab(own[f"series-{i}"], SIGHT[sight]) for i in range(1, 7)}
    apart = {(i, j): float(np.linalg.norm(seen[i] - seen[j])) for i, j in combinations(seen, 2)}
    assert min(apart.values()) >= 15, min(apart, key=apart.get)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_heat_map_grows_in_lightness_one_way(theme):
    """So that it is read without colour, too: from the middle of a diverging one to either end."""
    own = themes()[theme]
    grey = {name: [lab(c, np.eye(3))[0] for c in own[name].split() if c] for name in ("ramp", "diverging")}
    way = 1 if theme == "dark" else -1
    assert all(way * (b - a) > 5 for a, b in zip(grey["ramp"], grey["ramp"][1:], strict=False))
    middle = grey["diverging"][2]
    assert all(way * (end - middle) > 20 for end in (grey["diverging"][0], grey["diverging"][-1]))
