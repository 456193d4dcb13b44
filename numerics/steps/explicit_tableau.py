"""The coefficients of Tsit5: an explicit Runge–Kutta method of order 5 with an embedded one of order 4.

Ch. Tsitouras, Runge–Kutta pairs of order 5(4) satisfying only the first column simplifying assumption, Computers &
Mathematics with Applications 62, 770 (2011).  Its seventh stage is the slope at the end, the first of the next step.
With Θ the part of the step, the state inside is ``(1−Θ) y_0 + Θ (y_1 + (1−Θ)(p_1 + Θ (p_2 + Θ p_3)))``, p = h D k: the
paper's polynomials b_i(Θ) in the form that the dense output of Rodas5P has.
"""

from __future__ import annotations

from typing import Final

STAGES: Final = 7

_B: Final = (0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774)
A: Final = (
    (),
    (0.161,),
    (-0.008480655492356989, 0.335480655492357),
    (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
    (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
    (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
    _B,
)
NODES: Final = (0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0)
ERROR: Final = (
    0.0017800110522257773,
    0.0008164344596567463,
    -0.007880878010261994,
    0.1447110071732629,
    -0.5823571654525552,
    0.45808210592918686,
    -0.015151515151515152,
)
DENSE: Final = (
    (1.0 - _B[0], *(-weight for weight in _B[1:]), 0.0),
    (-1.860166964092891, 0.1217, 3.450406586480252, -13.79008574103742, 40.79938293194712, -30.22123681329706, 1.5),
    (1.0530884977290216, -0.1017, -2.490627285651253, 16.548102889244902, -47.37952196281928, 34.87065786149661, -2.5),
)
