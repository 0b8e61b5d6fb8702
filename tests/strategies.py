"""Hypothesis strategies: random datasets, small but of every shape."""

from __future__ import annotations

from hypothesis import strategies as st

from dataset_doctor.dataset import Dataset
from tests.drawing import draw

NAMES = ("cat", "dog", "bird", "fish")


@st.composite
def datasets(draw_from: st.DrawFn, max_images: int = 12) -> Dataset:
    """Draw a dataset of up to `max_images` images with up to six boxes each, some degenerate, crowded, outside or undeclared."""
    k = draw_from(st.integers(1, len(NAMES)))
    lines = [f"classes: {' '.join(NAMES[:k])}"]
    coordinate = st.integers(-20, 140)
    for number in range(draw_from(st.integers(0, max_images))):
        split = draw_from(st.sampled_from(["train", "val", "train val"]))
        state = draw_from(st.sampled_from(["", "unlabeled", "background"]))
        lines.append(f"{number}.jpg 100x80 {split} {state}")
        for _ in range(draw_from(st.integers(0, 6))):
            name = draw_from(st.sampled_from([*NAMES[:k], "?"]))
            corners = " ".join(str(draw_from(coordinate)) for _ in range(4))
            flag = draw_from(st.sampled_from(["", "", "crowd", "ignore", "difficult"]))
            lines.append(f"  {name} {corners} {flag}")
    return draw("\n".join(lines))[0]
