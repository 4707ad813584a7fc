"""The look of every figure: sizes, colours, and one colour, marker and line style per method.

Okabe-Ito colours on white; a method looks the same in every figure, and differs from the others in grey as well.
Nothing here changes global state: pass STYLE to `matplotlib.rc_context`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from matplotlib import rcParamsDefault

GOLDEN = 0.618
COLUMN = (3.25, 3.25 * GOLDEN)  # inches
PAGE = (6.75, 6.75 * GOLDEN)
STYLE: Any = {  # every other size of text is a word, relative to font.size
    "font.size": 8,
    "font.family": "DejaVu Sans",
    "axes.labelsize": "medium",
    "axes.titlesize": "medium",
    "legend.fontsize": "small",
    "legend.title_fontsize": "small",
    "xtick.labelsize": "small",
    "ytick.labelsize": "small",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "svg.hashsalt": "sharpening",  # ids in an SVG file that are the same on every run
}
PADS = ("figure.constrained_layout.h_pad", "figure.constrained_layout.w_pad", "axes.labelpad")
TICKS = ("major.size", "major.width", "major.pad", "minor.size")
SCALED = ("font.size", "axes.linewidth", "lines.linewidth", "lines.markersize", *PADS)


def scaled(factor: float) -> Any:
    """The style of a figure that is `factor` times as wide: text, lines and markers go with it.

    >>> scaled(1.5)["font.size"]
    12.0
    """
    sizes: Any = rcParamsDefault | STYLE
    ticks = [f"{axis}tick.{kind}" for axis in "xy" for kind in TICKS]
    return STYLE | {name: sizes[name] * factor for name in (*SCALED, *ticks)}


class Look(NamedTuple):
    """How a method is drawn, and what it is called in a legend."""

    label: str
    color: str
    marker: str
    linestyle: str

    def line(self) -> dict[str, Any]:
        """Keyword arguments of `Axes.plot` without the label."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.linestyle}

    def points(self) -> dict[str, Any]:
        """The same for simulated points: the marker alone."""
        return {"color": self.color, "marker": self.marker, "linestyle": "none"}


LOOKS = {
    "vanilla": Look("vanilla", "#000000", "o", "-"),
    "entropy_bonus": Look("entropy bonus", "#0072B2", "s", "--"),
    "entropy_penalty": Look("entropy penalty", "#CC79A7", "v", ":"),
    "ds": Look("DS", "#D55E00", "^", "-"),
    "ds_with_charge": Look("DS + charge", "#009E73", "D", "-."),
    "reinforce": Look("REINFORCE", "#000000", "o", "-"),
    "rloo": Look("RLOO", "#000000", "o", "-"),
    "psr": Look("PSR", "#000000", "o", "-"),
    "nsr": Look("NSR", "#000000", "o", "-"),
    "w_reinforce": Look("W-REINFORCE", "#000000", "P", ":"),
    "dr_grpo": Look("Dr. GRPO", "#56B4E9", "d", "-"),
    "grpo": Look("GRPO", "#009E73", "p", "-"),
    "dapo": Look("DAPO filter", "#009E73", "p", "-"),
    "f_grpo": Look("F-GRPO", "#009E73", "h", "--"),
    "maxrl": Look("MaxRL", "#E69F00", "*", "-"),
    "pkpo": Look("PKPO", "#56B4E9", "X", "--"),
    "qae": Look("QAE", "#0072B2", "v", ":"),
    "a_grae": Look("A-GRAE", "#D55E00", "s", "-."),
    "entropic": Look("EntroPIC", "#009E73", "^", ":"),
    "pass_at_k_training": Look("pass@k training", "#CC79A7", "<", "-."),
}
TUNED = {  # contestants whose strength and learning rate were tuned, on tables and on a language model
    "plain": Look("plain RL", "#000000", "o", "-"),
    "plain gentler": Look("plain RL, gentler", "#777777", "o", ":"),
    "ds": LOOKS["ds"],
    "ds .1": Look("DS at .1", "#E69F00", "P", "--"),
    "ds centred": Look("DS centred", "#009E73", "v", "-."),
    "entropy bonus": LOOKS["entropy_bonus"],
    "entropy bonus .03": Look("entropy bonus at .03", "#56B4E9", "X", ":"),
    "rarity_maxrl": Look("rarity MaxRL", "#CC79A7", "D", "-"),
    "maxrl": LOOKS["maxrl"],
    "unlikeliness": Look("unlikeliness", "#999999", "s", ":"),
    "ips": Look("IPS", "#56B4E9", "h", "--"),
    "pkpo": Look("PKPO", "#8C510A", "X", "-."),
    "rarity, no difficulty": Look("rarity, no difficulty", "#CC79A7", "d", "--"),
}
