"""The invariants of reliability section 2, each a small class that looks at what changed."""

from tests.simulation.checkers.base import Checker
from tests.simulation.checkers.bounds import Bounds, NoSecrets
from tests.simulation.checkers.guarding import NoCrossedClaims, NoSelfMatch
from tests.simulation.checkers.journaling import (
    LegalEdges,
    NothingLost,
    OldEpochs,
    ReplayedState,
)
from tests.simulation.checkers.money import Inventories, LedgerIsTheBooks, Targets, Volumes
from tests.simulation.checkers.placing import (
    AtMostOneList,
    AtMostOneRequest,
    NoRequestInABan,
    OldPlacements,
    OneSlot,
    OwnKeys,
    WishedCancels,
)
from tests.simulation.checkers.prices import FreshPrices
from tests.simulation.checkers.rest import Bijection, NothingStuck, OthersUntouched

ALL: tuple[type[Checker], ...] = (
    AtMostOneRequest,  # I1
    AtMostOneList,  # I2
    Bijection,  # I3
    LedgerIsTheBooks,  # I4
    Volumes,  # I5
    Targets,  # I6
    LegalEdges,  # I7
    ReplayedState,  # I7
    NoSelfMatch,  # I8
    NoCrossedClaims,  # I9
    OldEpochs,  # I10
    OldPlacements,  # I10
    Inventories,  # I11
    OwnKeys,  # I12
    OthersUntouched,  # I12
    FreshPrices,  # I13
    NoSecrets,  # I14
    Bounds,  # I15
    NothingLost,  # I16
    NoRequestInABan,
    OneSlot,
    WishedCancels,
    NothingStuck,
)
