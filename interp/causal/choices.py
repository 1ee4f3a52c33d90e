"""What can be chosen in an intervention or a search of circuits, by name; imports nothing, so that help is quick."""

from __future__ import annotations

from typing import Literal

MetricName = Literal["loss", "score", "logit_diff", "squared_output_distance"]
Ablation = Literal["zero", "mean", "mean per position", "resample"]
Replacement = Literal["pair", "zero", "mean", "mean per position", "resample"]
Direction = Literal["denoise", "noise"]
Axis = Literal["layer", "head", "position"]
Method = Literal["exact", "EAP", "EAP-IG"]
Search = Literal["prune", "threshold", "greedy"]
