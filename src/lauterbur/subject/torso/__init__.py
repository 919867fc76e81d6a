"""The parametric trunk: shapes of our own, sized by sex, height and weight, moved by breathing and heartbeat.

Lengths in this package are millimetres of the reference man (1.76 m, 73 kg: ICRP Publication 89), x to the left, y to the
back, z to the head, from a point in the midline at the height of the xiphoid; `Frame` scales them to the patient and SI.
Millimetres, because the tables of places in here are to be read beside an atlas.
"""
