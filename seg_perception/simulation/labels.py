"""Ids of CamVid's eleven classes, as in config/classes/camvid.yaml."""

from __future__ import annotations

from enum import IntEnum


class Label(IntEnum):
    """What a rendered pixel shows. Grass is VOID: CamVid's eleven classes have none."""

    SKY = 0
    BUILDING = 1
    POLE = 2
    ROAD = 3
    PAVEMENT = 4
    TREE = 5
    SIGN = 6
    FENCE = 7
    CAR = 8
    PEDESTRIAN = 9
    BICYCLIST = 10
    VOID = 255


GROUND = (Label.ROAD, Label.PAVEMENT)
"""Classes a vehicle could stand on: the only ones that can be free in the true grid."""
