"""The products that the engine knows without being configured."""

from enum import IntEnum


class Product(IntEnum):
    """The engine's product table. Products that were added to it by its option `PRODUCTS` are
    given by their number or name instead."""

    OTHER = 0
    MOBILE_IOS = 1
    MOBILE_ANDROID = 2
    MOBILE_BACKEND = 3
    PORTAL = 4
    PCR = 5
    PDP = 6
    PCA = 7
    PCP = 8
    OHQ = 9
    CLUBS = 10

    def __str__(self) -> str:
        return self.name
