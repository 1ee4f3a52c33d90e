from __future__ import annotations

import pytest

from interp.calibration.planted import PlantedSetting, confusion, spectrum
from tasks.errors import UserError


def test_the_planted_family_is_the_only_one_named():
    table = confusion(PlantedSetting(replicates=1, prompts=800)).set_index("truth")
    families = list(table.index)
    assert families == ["gd", "newton", "ridge", "gd++", "cg"]
    assert (table[[*families, "indistinguishable"]].sum(axis=1) == 1).all()
    wrong = sum(table.loc[truth, named] for truth in families for named in families if named != truth)
    assert wrong == 0
    assert sum(table.loc[truth, truth] for truth in families) >= 4


def test_three_prompts_decide_nothing():
    table = confusion(PlantedSetting(replicates=1, prompts=3, queries=1))
    assert table["indistinguishable"].sum() >= 4
    assert not table["worst pair"].str.endswith(" 0").all()


def test_the_spectrum_and_bad_settings():
    values = spectrum(4, 1000.0)
    assert sum(values) == pytest.approx(4)
    assert values[0] / values[-1] == pytest.approx(1000)
    with pytest.raises(UserError, match="prompts 2 or more"):
        PlantedSetting(prompts=1)
